// The tree of one asset: its folders, files and links, and where the content of each file is.
//
// Layout: docs/formats.md, "File assets". An entry has the last part of its name and a depth, so that no tree, however
// hostile, can name a place outside of itself or behind a link.
// Memory: one section (64 KiB as we write them, at most 64 MiB as we read them), the names above the entry, 40 bytes a
// chunk. Errors: corrupt, with the object's key in front; those of store and files. Threads: one at a time.
#pragma once

#include <map>
#include <optional>

#include "assets/asset_chunk.h"

namespace tillsync {

enum class AssetEntryKind : uint8_t { folder = 1, file = 2, link = 3 };

struct AssetPiece {
  uint32_t chunk = 0;  // index into the tree's chunks
  PieceRange range;
  Digest name;
};

struct AssetEntry {
  AssetEntryKind kind = AssetEntryKind::folder;
  uint32_t depth = 0;  // 0: the asset's own folder, whose name is empty
  std::string name;
  uint32_t mode = 0;
  int64_t mtime_ns = 0;
  uint32_t owner = 0, group = 0;
  bool changed_while_read = false;
  uint64_t size = 0;               // file
  std::vector<AssetPiece> pieces;  // file
  std::string target;              // link
};

struct TreeChunk {
  Digest sha256;      // of the object: its name
  uint64_t size = 0;  // of the object
};

inline constexpr uint32_t kAssetDepthMax = 128;

struct FinishedTree {
  std::string path;  // in the spool
  Digest sha256;     // of the object: its name
  uint64_t size = 0;
  Digest content;  // SHA-256 of entries and index: equal trees have equal contents, but not the same object
};

class AssetTreeWriter {
 public:
  static Result<AssetTreeWriter> create(FileSystem& files, const std::string& folder, const TerminalRef& terminal,
                                        Random& random);
  // In the order of the format.
  Result<void> add(const AssetEntry& entry);
  // Durable in the spool afterwards.
  Result<FinishedTree> finish(const std::vector<TreeChunk>& chunks);

 private:
  AssetTreeWriter(PendingFile file, std::string path, ObjectSealer sealer)
      : file_(std::move(file)), path_(std::move(path)), sealer_(std::move(sealer)) {}
  Result<void> append(ByteView bytes);
  Result<void> append_section(ByteView raw, bool is_index);
  Result<void> end_section();
  PendingFile file_;
  std::string path_;
  ObjectSealer sealer_;
  Sha256 content_, body_, whole_;
  Bytes section_;
  uint64_t entries_ = 0, raw_bytes_ = 0;
};

// Reads a tree in a store, entry by entry. What it gives is of the right form; that it is what was written is known
// when the last entry was read, so nothing may be made final before next() has answered nullopt.
class AssetTreeReader {
 public:
  // size: as the manifest says.
  static Result<AssetTreeReader> open(ObjectStore& store, const TerminalRef& terminal, const Digest& sha256,
                                      uint64_t size);
  const std::vector<TreeChunk>& chunks() const { return chunks_; }
  uint64_t entries() const { return entries_; }
  Result<std::optional<AssetEntry>> next();
  // Of the entry that next() gave last: its parts joined by '/', empty for the asset's folder.
  std::string path() const;

 private:
  AssetTreeReader(ObjectStore& store, std::string key) : store_(&store), key_(std::move(key)) {}
  Error corrupt(std::string_view why) const;
  Result<void> read_exactly(uint64_t offset, MutableBytes out);
  Result<void> next_section();
  Result<void> finish();
  Result<AssetEntry> decode();
  Result<void> place(const AssetEntry& entry);
  ObjectStore* store_;
  std::string key_;
  std::optional<ObjectOpener> opener_;
  Digest sha256_;
  uint64_t at_ = 0, index_offset_ = 0;
  Bytes index_and_trailer_, section_;
  size_t position_ = 0;  // in the section
  Sha256 whole_;
  std::vector<TreeChunk> chunks_;
  uint64_t entries_ = 0, raw_bytes_ = 0;  // as the index says
  uint64_t entries_read_ = 0, read_ = 0;
  // The folders above what comes next, the asset's own first, and the last name read in each of them.
  std::vector<std::string> folders_, last_;
  std::string name_;  // of the entry that was read last
  bool is_folder_ = true;
};

// The whole object against its name, read in pieces: who acts on a tree looks first, so that damage of the tree is not
// taken for damage of what it names.
Result<void> check_tree_object(ObjectStore& store, const Uuid& terminal, const Digest& sha256, uint64_t size);

}  // namespace tillsync
