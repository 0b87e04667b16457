// Captures file assets into the spool: chunks of what the store does not have yet, and the tree of each asset.
//
// Purpose: what is the same as last time (name, size, times, inode) is not read; what the store has is not sent. A file
// that changes while it is read is read again, and after kReadsMax times kept as it was read last, which the tree and a
// note say. What can't be read, vanishes or is no file, folder or link is a note of its asset, and the rest goes on.
// Links are kept as links and never followed; nothing outside the asset's folder is looked at.
// What is off limits (off_limits.h) is left out, without a note.
// Memory: one chunk, one piece, one section of a tree, the names in one folder a level, about 8 MB of piece names.
// Durability: what finish() names is durable in the spool.
// Errors: those of the spool and of state.db; cancelled when progress answers false. A spool without room is a note of
// the asset: the snapshot of the database goes on. What is not finished leaves nothing in the spool.
// Threads: one.
#pragma once

#include <functional>
#include <map>

#include "assets/asset_memory.h"
#include "assets/include_rules.h"
#include "assets/off_limits.h"

namespace tillsync {

struct AssetRequest {
  std::string name, path;
  std::vector<std::string> include;
};

struct SpooledAssetObject {
  std::string key, path;
  uint64_t size = 0;
};

struct CapturedAssets {
  std::vector<AssetReference> assets;
  std::vector<SpooledAssetObject> chunks, trees;                        // new ones; to be put in this order
  std::vector<std::pair<std::string, AssetMemory::KnownTree>> content;  // of the new trees, by asset
  uint64_t files_read = 0, bytes_read = 0;
};

class AssetCapture {
 public:
  static constexpr int kReadsMax = 3;
  struct Environment {
    Folders& folders;
    FileSystem& files;  // of the spool
    std::string spool_folder;
    AssetMemory& memory;
    Random& random;
    Clock& clock;
    TerminalRef terminal;
    OffLimits off_limits;
    bool deduplicate = true;      // false: everything is read and stored again
    uint64_t free_space_min = 0;  // what the spool leaves free
    std::function<bool(uint64_t files, uint64_t bytes)> progress;
  };
  explicit AssetCapture(Environment environment);
  ~AssetCapture();

  Result<void> capture(const AssetRequest& request);
  Result<CapturedAssets> finish();

 private:
  // Where a piece is: in a chunk of the store, or in one that this capture makes.
  struct Place {
    std::optional<uint32_t> made;  // index into made_
    TreeChunk stored;
    PieceRange range;
  };
  struct NamedPlace {
    Place place;
    Digest name;
  };
  struct Made {
    FinishedChunk chunk;
    bool wanted = false;  // by a tree that was finished
  };
  struct Open;  // the asset that is being captured

  Result<void> walk(Open& asset, Folder& folder, const std::string& path, uint32_t depth);
  Result<void> visit_folder(Open& asset, Folder& parent, const std::string& name, const std::string& path,
                            const NodeInfo& info, uint32_t depth);
  Result<void> visit_file(Open& asset, Folder& parent, const std::string& name, const std::string& path, NodeInfo info,
                          uint32_t depth);
  Result<std::optional<std::vector<NamedPlace>>> unchanged(Open& asset, const std::string& path, const NodeInfo& info);
  // False: the file is to be left out, and a note says why.
  Result<bool> read_file(Open& asset, Folder& parent, const std::string& name, const std::string& path, NodeInfo& info,
                         AssetEntry& entry, std::vector<NamedPlace>& pieces);
  Result<NamedPlace> place(ByteView raw);
  Result<void> end_chunk();
  Result<void> emit(Open& asset, AssetEntry entry);
  Result<void> end_asset(Open& asset);
  Result<void> flush_seen(Open& asset, size_t at_least);
  Result<void> tell();
  void drop(const std::string& path);

  Environment environment_;
  ChunkWriter writer_;
  Bytes buffer_;
  std::vector<Made> made_;
  std::map<Digest, Place> placed_;  // by this capture; bounded, so that it may miss a piece and store it twice
  CapturedAssets captured_;
  bool finished_ = false;
};

// A text of any bytes as UTF-8 that can be shown.
std::string path_text(std::string_view bytes);

}  // namespace tillsync
