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
  PackReader pack(store, key);
  auto info = store.head(key);
  if (!info && info.error().kind == ErrorKind::not_found)
    return std::move(info).error().with(key + ": the pack is missing");
  if (!info) return std::move(info).error().with(key);
  pack.size_ = info->size;
  if (size != 0 && size != pack.size_)
    return corrupt(key,
                   "it has " + std::to_string(pack.size_) + " bytes and the manifest says " + std::to_string(size));
  if (pack.size_ < ObjectHeader::kSize + ObjectTrailer::kSize)
    return corrupt(key, "it is truncated: " + std::to_string(pack.size_) + " bytes are no pack");
  Bytes header(ObjectHeader::kSize), trailer(ObjectTrailer::kSize);
  TILLSYNC_TRY(read_exactly(store, key, 0, header));
  TILLSYNC_TRY(ObjectHeader::decode(header, ObjectKind::pack, lineage).with(key));
  uint64_t trailer_at = pack.size_ - ObjectTrailer::kSize;
  TILLSYNC_TRY(read_exactly(store, key, trailer_at, trailer));
  TILLSYNC_LET(auto t, ObjectTrailer::decode(trailer, pack.size_).with(key));
  if (t.index_offset < ObjectHeader::kSize || t.index_offset > trailer_at ||
      t.index_length != trailer_at - t.index_offset)
    return corrupt(key, "its index does not lie between its blocks and its trailer");
  Bytes index(t.index_length);
  TILLSYNC_TRY(read_exactly(store, key, t.index_offset, index));
  TILLSYNC_LET(pack.index_, PackIndex::decode(index, t.index_offset).with(key));
  return pack;
}

Result<ByteView> PackReader::block(uint32_t number) {
  if (number >= index_.blocks.size()) return corrupt(key_, "it has no block " + std::to_string(number));
  const PackBlock& block = index_.blocks[number];
  std::string where = "block " + std::to_string(number) + " at byte " + std::to_string(block.offset);
  stored_.resize(block.stored_length);
  TILLSYNC_TRY(read_exactly(*store_, key_, block.offset, stored_));
  if (short_check(sha256(stored_)) != block.stored_check) return corrupt(key_, where + " is not what was stored");
  TILLSYNC_TRY(decompress(stored_, block.raw_length, raw_).with(key_ + ": " + where));
  if (sha256(raw_) != block.name) return corrupt(key_, where + " does not have the SHA-256 of its name");
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
