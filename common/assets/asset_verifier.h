// Looks whether the assets of snapshots can be restored: quickly by what is there, or by reading everything.
//
// Purpose: check() reads the index of each tree and asks the store for the chunks it names; prove() reads every tree
// and every chunk whole, compares each piece with its name, and each file of a tree with the pieces of its chunks. What
// several snapshots share is read once.
// Memory: one chunk, 48 bytes a piece of all trees, 150 bytes an asset object of the store.
// Errors: corrupt or not_found, with the object's key and the asset's name; those of the store; cancelled when progress
// answers false.
// Threads: one.
#pragma once

#include <functional>
#include <map>

#include "assets/asset_reference.h"

namespace tillsync {

class AssetVerifier {
 public:
  // Bytes read for this call.
  using Progress = std::function<bool(uint64_t bytes)>;
  AssetVerifier(ObjectStore& store, const TerminalRef& terminal) : store_(store), terminal_(terminal) {}

  Result<void> check(const Manifest& manifest);
  // Bytes of trees and chunks of this snapshot, also of those that were read for another one.
  Result<uint64_t> prove(const Manifest& manifest, const Progress& progress);

 private:
  using ChunkIndex = std::vector<ChunkPiece>;  // by offset
  Result<void> check_tree(const AssetReference& asset);
  Result<void> prove_tree(const AssetReference& asset, uint64_t& bytes, const Progress& progress);
  Result<const ChunkIndex*> chunk(const TreeChunk& chunk);
  ObjectStore& store_;
  TerminalRef terminal_;
  std::optional<std::map<std::string, uint64_t>> listed_;  // every asset object and its size
  std::map<Digest, Result<ChunkIndex>> chunks_;
  struct Proven {
    Result<void> outcome;
    uint64_t bytes;
  };
  std::map<Digest, Proven> trees_;
};

// That all these trees, and the chunks they name, are in the store with their sizes: one listing of the terminal's
// assets. The objects that are not there, or have another size; empty: all is there.
Result<std::vector<Digest>> missing_asset_objects(ObjectStore& store, const TerminalRef& terminal,
                                                  const std::vector<AssetReference>& assets);

}  // namespace tillsync
