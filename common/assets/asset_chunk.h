// Chunks: objects that hold pieces of files.
//
// Layout: docs/formats.md, "File assets". A piece is found by its range, so a small file costs one small read.
// Memory: the writer holds one chunk (at most 4 MiB and a little), a reader one piece and what it reads ahead.
// Errors: corrupt, with the object's key in front; those of store and files. Durability: finish() leaves the chunk
// durable in the spool. Threads: one at a time.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "compression/zstd.h"
#include "crypto/sealed_object.h"
#include "ports/files.h"
#include "ports/object_store.h"

namespace tillsync {

inline constexpr uint32_t kPieceSizeMax = 1 << 20, kChunkRawMax = 4 << 20, kChunkPiecesMax = 16384;
// What is within these bounds, with what zstd adds to bytes that do not compress, and the index.
inline constexpr uint64_t kChunkObjectMax = 8 << 20;

// Assets belong to the terminal, whatever databases and epochs it has.
inline Lineage asset_lineage(const TerminalRef& terminal) { return {terminal.id, "", 0, terminal.keys}; }

// Where a piece is in its chunk.
struct PieceRange {
  uint32_t offset = 0, stored = 0, raw = 0;  // bytes; offset from the start of the object
  auto operator<=>(const PieceRange&) const = default;
};
struct ChunkPiece {
  Digest name;  // SHA-256 of the raw bytes
  PieceRange range;
};

struct FinishedChunk {
  std::string path;  // in the spool
  Digest sha256;     // of the whole object: its name
  uint64_t size = 0;
};

class ChunkWriter {
 public:
  ChunkWriter(FileSystem& files, std::string folder, const TerminalRef& terminal, Random& random)
      : files_(files), folder_(std::move(folder)), terminal_(terminal), random_(random) {}
  bool has_room(size_t raw_size) const { return raw_ + raw_size <= kChunkRawMax && pieces_.size() < kChunkPiecesMax; }
  bool is_empty() const { return pieces_.empty(); }
  // raw: 1 to kPieceSizeMax bytes, for which there is room.
  PieceRange add(ByteView raw, const Digest& name);
  // Into the spool; empty again in any case.
  Result<FinishedChunk> finish();
  void discard();

 private:
  FileSystem& files_;
  std::string folder_;
  TerminalRef terminal_;
  Random& random_;
  Compressor compressor_;
  std::optional<ObjectSealer> sealer_;
  Bytes object_;
  uint64_t raw_ = 0;
  std::vector<ChunkPiece> pieces_;
};

// What finish() leaves beside a chunk in the spool when its terminal can't open it again: the plain index.
inline std::string chunk_index_path(const std::string& chunk_path) { return chunk_path + ".index"; }
// Of such a file, without the object.
Result<std::vector<ChunkPiece>> parse_chunk_index(ByteView index);
// The index of a whole chunk object, everything about its form checked. key: for the words.
Result<std::vector<ChunkPiece>> read_chunk_index(ByteView object, const std::string& key, const TerminalRef& terminal);
// Of a chunk in the spool, or in the store: as above, its SHA-256 compared with `name`, and for `prove` every piece
// with its own.
Result<std::vector<ChunkPiece>> check_chunk(ByteView object, const std::string& key, const TerminalRef& terminal,
                                            bool prove);

// Reads pieces out of chunks in a store.
class PieceReader {
 public:
  PieceReader(ObjectStore& store, const TerminalRef& terminal) : store_(store), terminal_(terminal) {}
  // The raw bytes, compared with the name; valid until the next call. chunk_size: of the object.
  Result<ByteView> read(const std::string& key, uint64_t chunk_size, const PieceRange& range, const Digest& name);

 private:
  Result<ObjectOpener*> opener(const std::string& key, uint64_t chunk_size);
  ObjectStore& store_;
  TerminalRef terminal_;
  std::map<std::string, ObjectOpener> openers_;  // of sealed chunks that were read; bounded
  // What was read last. Neighbours are asked for one after the other, and each such time more is read ahead; a piece
  // that is asked for alone costs its own bytes.
  std::string key_;
  uint64_t begin_ = 0, ahead_ = 0;
  Bytes window_, raw_;
};

}  // namespace tillsync
