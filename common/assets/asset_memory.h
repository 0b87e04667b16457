// What the terminal remembers of its assets in state.db, so that an unchanged file is neither read nor sent again.
//
// Layout: docs/formats.md, "state.db". A file is known by name, size, both times, inode and device; what is kept are
// the names of its pieces. A piece is of use only while its chunk is known to be in the store, which is asked each
// time: so nothing here can make a snapshot refer to what is not there.
// Errors: those of state.db. Threads: any; each call leases state.db.
#pragma once

#include "assets/asset_reference.h"
#include "ports/folder.h"
#include "state/state_db.h"

namespace tillsync {

struct KnownPiece {
  TreeChunk chunk;
  PieceRange range;
};

class AssetMemory {
 public:
  explicit AssetMemory(StateDb& state) : state_(state) {}

  struct FileSeen {
    std::string path;
    NodeInfo info;
    std::vector<Digest> pieces;
  };
  // The pieces of a file that was read before and looks as it did then.
  Result<std::optional<std::vector<Digest>>> file(const std::string& asset, const std::string& path,
                                                  const NodeInfo& info);
  Result<void> remember(const std::string& asset, const std::vector<FileSeen>& files, Timestamp now);
  // Those of file() that are there still: of use once a day for each file, and done no more often.
  Result<void> keep(const std::string& asset, const std::vector<std::string>& paths, Timestamp now);
  Result<void> forget_unseen(Timestamp now);

  Result<std::optional<KnownPiece>> piece(const Digest& name);
  struct KnownTree {
    Digest content;
    AssetTreeRef tree;
  };
  Result<std::optional<KnownTree>> tree(const std::string& asset);

 private:
  StateDb& state_;
};

// Within the transaction that makes an upload known: the chunk is in the store with these pieces; so is the tree.
Result<void> remember_chunk(Connection& db, const TreeChunk& chunk, const std::vector<ChunkPiece>& pieces);
Result<void> remember_tree(Connection& db, const std::string& asset, const AssetMemory::KnownTree& tree);
// The object is gone from the store, or is about to be: who deletes it commits this, durably, first. Fine for one that
// is not known.
Result<void> forget_asset_object(Connection& db, const Digest& sha256);

}  // namespace tillsync
