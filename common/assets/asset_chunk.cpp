#include "assets/asset_chunk.h"

#include <algorithm>

#include "base/checks.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr size_t kIndexEntry = 48, kOpenersMax = 64;
constexpr uint64_t kReadAheadMax = 1 << 20;

Error corrupt(const std::string& key, std::string_view why) {
  return Error{ErrorKind::corrupt, 0, key + ": " + std::string(why)};
}

}  // namespace

PieceRange ChunkWriter::add(ByteView raw, const Digest& name) {
  TILLSYNC_CHECK(!raw.empty() && raw.size() <= kPieceSizeMax && has_room(raw.size()));
  if (!sealer_) {
    sealer_.emplace(ObjectKind::asset_chunk, asset_lineage(terminal_), random_);
    object_ = sealer_->head();
  }
  ByteView stored = sealer_->seal(object_.size(), compressor_.compress(raw));
  PieceRange range{static_cast<uint32_t>(object_.size()), static_cast<uint32_t>(stored.size()),
                   static_cast<uint32_t>(raw.size())};
  append(object_, stored);
  raw_ += raw.size();
  pieces_.push_back({name, range});
  return range;
}

Result<FinishedChunk> ChunkWriter::finish() {
  TILLSYNC_CHECK(sealer_.has_value());
  Bytes object = std::move(object_);
  ObjectSealer sealer = std::move(*sealer_);
  const std::vector<ChunkPiece> pieces = std::move(pieces_);
  discard();
  const uint64_t index_offset = object.size();
  Bytes index;
  ByteWriter w(index);
  w.u32(static_cast<uint32_t>(pieces.size()));
  w.u32(0);
  for (auto& piece : pieces) {
    w.bytes(piece.name.view());
    w.u32(piece.range.offset);
    w.u32(piece.range.stored);
    w.u32(piece.range.raw);
    w.u32(0);
  }
  append(object, sealer.seal_index(index_offset, index));
  const uint64_t size = object.size();
  Sha256 content;
  content.update(object);
  append(object, sealer.trailer(content, size, index_offset, static_cast<uint32_t>(size - index_offset)));
  FinishedChunk chunk;
  chunk.sha256 = sha256(object);
  chunk.size = object.size();
  chunk.path = folder_ + "/" + chunk.sha256.hex() + ".chunk";
  TILLSYNC_LET(auto file, PendingFile::create(files_, chunk.path, 0));
  TILLSYNC_TRY(file.append(object));
  TILLSYNC_TRY(file.commit());
  if (terminal_.keys && !terminal_.keys->can_open()) {
    TILLSYNC_LET(auto beside, PendingFile::create(files_, chunk_index_path(chunk.path), 0));
    TILLSYNC_TRY(beside.append(index));
    TILLSYNC_TRY(beside.commit());
  }
  return chunk;
}

void ChunkWriter::discard() {
  object_ = {};
  sealer_.reset();
  pieces_ = {};
  raw_ = 0;
}

Result<std::vector<ChunkPiece>> parse_chunk_index(ByteView index) {
  auto damaged = [](const char* why) { return Error{ErrorKind::corrupt, 0, why}; };
  ByteReader in(index);
  const uint32_t count = in.u32();
  if (in.u32() != 0 || count > kChunkPiecesMax || index.size() != 8 + uint64_t{count} * kIndexEntry)
    return damaged("its index has another length than its pieces need");
  std::vector<ChunkPiece> pieces(count);
  for (auto& piece : pieces) {
    std::ranges::copy(in.bytes(32), piece.name.bytes.begin());
    piece.range = {in.u32(), in.u32(), in.u32()};
    if (in.u32() != 0 || piece.range.raw == 0 || piece.range.raw > kPieceSizeMax)
      return damaged("its index is not one of pieces that follow each other");
  }
  return pieces;
}

namespace {

Result<std::vector<ChunkPiece>> index_of(ByteView object, const std::string& key, ObjectOpener& opener) {
  const uint64_t trailer_at = object.size() - ObjectTrailer::kSize;
  TILLSYNC_LET(auto trailer, opener.trailer(object.subspan(trailer_at), object.size()).with(key));
  if (trailer.index_offset < opener.body_at() || trailer.index_offset > trailer_at ||
      trailer.index_length != trailer_at - trailer.index_offset)
    return corrupt(key, "its index does not lie between its pieces and its trailer");
  TILLSYNC_LET(
      const ByteView index,
      opener.unseal_index(trailer.index_offset, object.subspan(trailer.index_offset, trailer.index_length)).with(key));
  TILLSYNC_LET(auto pieces, parse_chunk_index(index).with(key));
  uint64_t at = opener.body_at(), raw = 0;
  for (auto& piece : pieces) {
    if (piece.range.offset != at) return corrupt(key, "its index is not one of pieces that follow each other");
    at += piece.range.stored;
    raw += piece.range.raw;
  }
  if (at != trailer.index_offset || raw > kChunkRawMax) return corrupt(key, "its pieces do not end at its index");
  return pieces;
}

Result<ObjectOpener> open_chunk(ByteView object, const std::string& key, const TerminalRef& terminal) {
  if (object.size() < ObjectHeader::kSize + ObjectTrailer::kSize) return corrupt(key, "it is truncated");
  return ObjectOpener::open(object, ObjectKind::asset_chunk, asset_lineage(terminal)).with(key);
}

}  // namespace

Result<std::vector<ChunkPiece>> read_chunk_index(ByteView object, const std::string& key, const TerminalRef& terminal) {
  TILLSYNC_LET(ObjectOpener opener, open_chunk(object, key, terminal));
  return index_of(object, key, opener);
}

Result<std::vector<ChunkPiece>> check_chunk(ByteView object, const std::string& key, const TerminalRef& terminal,
                                            bool prove) {
  if (keys::sha256_of_asset(key) != sha256(object))
    return corrupt(key, "its bytes do not have the SHA-256 of its name");
  TILLSYNC_LET(ObjectOpener opener, open_chunk(object, key, terminal));
  TILLSYNC_LET(auto pieces, index_of(object, key, opener));
  if (!prove) return pieces;
  Bytes raw;
  for (auto& piece : pieces) {
    TILLSYNC_LET(const ByteView packed,
                 opener.unseal(piece.range.offset, object.subspan(piece.range.offset, piece.range.stored)).with(key));
    TILLSYNC_TRY(decompress(packed, piece.range.raw, raw).with(key));
    if (sha256(raw) != piece.name)
      return corrupt(key, "the piece at byte " + std::to_string(piece.range.offset) + " is not what its name says");
  }
  return pieces;
}

Result<ObjectOpener*> PieceReader::opener(const std::string& key, uint64_t chunk_size) {
  auto known = openers_.find(key);
  if (known != openers_.end()) return &known->second;
  Bytes head(std::min<uint64_t>(ObjectOpener::head_size(asset_lineage(terminal_)), chunk_size));
  auto got = store_.read(key, 0, head);
  if (!got && got.error().kind == ErrorKind::not_found)
    return std::move(got).error().with(key + ": the chunk is missing");
  if (!got) return std::move(got).error().with(key);
  head.resize(*got);
  TILLSYNC_LET(ObjectOpener opened,
               ObjectOpener::open(head, ObjectKind::asset_chunk, asset_lineage(terminal_)).with(key));
  if (openers_.size() >= kOpenersMax) openers_.clear();
  return &openers_.emplace(key, std::move(opened)).first->second;
}

Result<ByteView> PieceReader::read(const std::string& key, uint64_t chunk_size, const PieceRange& range,
                                   const Digest& name) {
  const uint64_t end = uint64_t{range.offset} + range.stored;
  if (end + ObjectTrailer::kSize > chunk_size || range.raw > kPieceSizeMax)
    return corrupt(key, "a piece outside of it is asked for");
  const bool here = key == key_ && range.offset >= begin_ && end <= begin_ + window_.size();
  if (!here) {
    const bool next = key == key_ && range.offset == begin_ + window_.size();
    ahead_ = next ? std::min(kReadAheadMax, std::max<uint64_t>(ahead_ * 2, 64 << 10)) : 0;
    const uint64_t wanted = std::min(chunk_size - ObjectTrailer::kSize, end + ahead_) - range.offset;
    key_ = key;
    begin_ = range.offset;
    window_.resize(wanted);
    auto got = store_.read(key, range.offset, window_);
    if (!got || *got != wanted) {
      key_.clear();
      if (!got && got.error().kind == ErrorKind::not_found)
        return std::move(got).error().with(key + ": the chunk is missing");
      if (!got) return std::move(got).error().with(key);
      return corrupt(key, "it is truncated");
    }
  }
  ByteView packed = ByteView(window_).subspan(range.offset - begin_, range.stored);
  if (terminal_.keys) {
    TILLSYNC_LET(ObjectOpener * sealed, opener(key, chunk_size));
    TILLSYNC_LET(packed, sealed->unseal(range.offset, packed).with(key));
  }
  TILLSYNC_TRY(decompress(packed, range.raw, raw_).with(key + ": the piece at byte " + std::to_string(range.offset)));
  if (sha256(raw_) != name)
    return corrupt(key, "the piece at byte " + std::to_string(range.offset) + " does not have the SHA-256 of its name");
  return ByteView(raw_);
}

}  // namespace tillsync
