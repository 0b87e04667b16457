#include "snapshot/pack_reader.h"

#include "compression/zstd.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {
Error corrupt(const std::string& key, std::string_view why) {
  return Error{ErrorKind::corrupt, 0, key + ": " + std::string(why)};
}

Result<void> read_exactly(ObjectStore& store, const std::string& key, uint64_t offset, MutableBytes out) {
  TILLSYNC_LET(size_t got, store.read(key, offset, out));
  if (got != out.size()) return corrupt(key, "it is truncated: it ends at byte " + std::to_string(offset + got));
  return {};
}
}  // namespace

Result<PackReader> PackReader::open(ObjectStore& store, const std::string& key, const Lineage& lineage, uint64_t size) {
  auto info = store.head(key);
  if (!info && info.error().kind == ErrorKind::not_found)
    return std::move(info).error().with(key + ": the pack is missing");
  if (!info) return std::move(info).error().with(key);
  if (size != 0 && size != info->size)
    return corrupt(key,
                   "it has " + std::to_string(info->size) + " bytes and the manifest says " + std::to_string(size));
  size = info->size;
  if (size < ObjectHeader::kSize + ObjectTrailer::kSize)
    return corrupt(key, "it is truncated: " + std::to_string(size) + " bytes are no pack");
  Bytes head(std::min<uint64_t>(ObjectOpener::head_size(lineage), size)), trailer(ObjectTrailer::kSize);
  TILLSYNC_TRY(read_exactly(store, key, 0, head));
  TILLSYNC_LET(ObjectOpener opener, ObjectOpener::open(head, ObjectKind::pack, lineage).with(key));
  const uint64_t trailer_at = size - ObjectTrailer::kSize;
  TILLSYNC_TRY(read_exactly(store, key, trailer_at, trailer));
  TILLSYNC_LET(auto t, opener.trailer(trailer, size).with(key));
  if (t.index_offset < opener.body_at() || t.index_offset > trailer_at || t.index_length != trailer_at - t.index_offset)
    return corrupt(key, "its index does not lie between its blocks and its trailer");
  Bytes stored(t.index_length);
  TILLSYNC_TRY(read_exactly(store, key, t.index_offset, stored));
  TILLSYNC_LET(const ByteView packed, opener.unseal_index(t.index_offset, stored).with(key));
  TILLSYNC_LET(auto index, PackIndex::decode(packed, t.index_offset, opener.body_at()).with(key));
  return PackReader(store, key, size, std::move(index), std::move(opener));
}

static std::string where(const PackBlock& block) { return "block at byte " + std::to_string(block.offset); }

Result<void> BlockOpener::open(const PackBlock& block, ByteView stored, Bytes& plain, Bytes& raw) const {
  if (short_check(sha256(stored)) != block.stored_check) return corrupt(key_, where(block) + " is not what was stored");
  TILLSYNC_LET(const ByteView frame, opener_.unseal(block.offset, stored, plain).with(key_));
  TILLSYNC_TRY(decompress(frame, block.raw_length, raw).with(key_ + ": " + where(block)));
  if (sha256(raw) != block.name) return corrupt(key_, where(block) + " does not have the SHA-256 of its name");
  return {};
}

Result<void> PackReader::stored(uint32_t number, Bytes& out) {
  if (number >= index_.blocks.size()) return corrupt(key_, "it has no block " + std::to_string(number));
  const PackBlock& block = index_.blocks[number];
  out.resize(block.stored_length);
  return read_exactly(*store_, key_, block.offset, out);
}

Result<ByteView> PackReader::block(uint32_t number) {
  TILLSYNC_TRY(stored(number, stored_));
  TILLSYNC_TRY(blocks_->open(index_.blocks[number], stored_, plain_, raw_));
  return ByteView(raw_);
}

Result<uint64_t> verify_pack_object(ObjectStore& store, const std::string& key,
                                    const std::function<bool(uint64_t)>& progress) {
  auto name = keys::sha256_of_pack(key);
  if (!name) return Error{ErrorKind::usage, 0, key + " is not the key of a pack"};
  TILLSYNC_LET(auto info, store.head(key));
  Bytes piece(std::min<uint64_t>(1 << 20, std::max<uint64_t>(info.size, 1)));
  Sha256 hash;
  for (uint64_t at = 0; at < info.size;) {
    MutableBytes part(piece.data(), std::min<uint64_t>(piece.size(), info.size - at));
    TILLSYNC_TRY(read_exactly(store, key, at, part));
    hash.update(part);
    at += part.size();
    if (progress && !progress(at)) return Error{ErrorKind::cancelled, 0, "cancelled"};
  }
  if (hash.finish() != *name) return corrupt(key, "its bytes do not have the SHA-256 of its name");
  return info.size;
}

}  // namespace tillsync
