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
  PackReader pack(store, key, std::move(opener));
  pack.size_ = size;
  uint64_t trailer_at = size - ObjectTrailer::kSize;
  TILLSYNC_TRY(read_exactly(store, key, trailer_at, trailer));
  TILLSYNC_LET(auto t, pack.opener_.trailer(trailer, size).with(key));
  if (t.index_offset < pack.opener_.body_at() || t.index_offset > trailer_at ||
      t.index_length != trailer_at - t.index_offset)
    return corrupt(key, "its index does not lie between its blocks and its trailer");
  Bytes stored(t.index_length);
  TILLSYNC_TRY(read_exactly(store, key, t.index_offset, stored));
  TILLSYNC_LET(const ByteView index, pack.opener_.unseal_index(t.index_offset, stored).with(key));
  TILLSYNC_LET(pack.index_, PackIndex::decode(index, t.index_offset, pack.opener_.body_at()).with(key));
  return pack;
}

static std::string where(const PackBlock& block) { return "block at byte " + std::to_string(block.offset); }

Result<ByteView> PackReader::packed(uint32_t number) {
  if (number >= index_.blocks.size()) return corrupt(key_, "it has no block " + std::to_string(number));
  const PackBlock& block = index_.blocks[number];
  stored_.resize(block.stored_length);
  TILLSYNC_TRY(read_exactly(*store_, key_, block.offset, stored_));
  if (short_check(sha256(stored_)) != block.stored_check)
    return corrupt(key_, where(block) + " is not what was stored");
  return opener_.unseal(block.offset, stored_).with(key_);
}

Result<void> PackReader::unpack(const PackBlock& block, ByteView packed, Bytes& raw) {
  TILLSYNC_TRY(decompress(packed, block.raw_length, raw).with(where(block)));
  if (sha256(raw) != block.name)
    return Error{ErrorKind::corrupt, 0, where(block) + " does not have the SHA-256 of its name"};
  return {};
}

Result<ByteView> PackReader::block(uint32_t number) {
  TILLSYNC_LET(const ByteView frame, packed(number));
  TILLSYNC_TRY(unpack(index_.blocks[number], frame, raw_).with(key_));
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
