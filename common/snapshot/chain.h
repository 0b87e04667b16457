// From a snapshot back to its FULL, and forward again into a file.
//
// Memory: the manifests of the chain (16 bytes for every 64 pages of the FULL), one pack's index, and
// blocks_under_way() blocks.
// Errors: not_found (a manifest or a pack is missing), corrupt, and those of the store and the file; the context names
// the object's key and says what is wrong with it.
// Threads: one at a time; writing unpacks and checks blocks in worker_threads() of its own.
#pragma once

#include <functional>

#include "ports/files.h"
#include "snapshot/manifest.h"

namespace tillsync {

struct SnapshotChain {
  std::vector<Manifest> links;  // FULL first, the target last
  const Manifest& target() const { return links.back(); }
  uint64_t stored_bytes() const;  // of all packs that will be read, as far as known
};

Result<SnapshotChain> resolve_chain(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot);

// Writes the page image of the target into `out`, which is cut or grown to its exact size. Not synced. After an error
// the file holds anything. progress: raw bytes written so far and in all; false stops with cancelled. to_keep: the
// caller will sync it; the disk begins at once.
Result<void> materialize(ObjectStore& store, const SnapshotChain& chain, File& out,
                         const std::function<bool(uint64_t done, uint64_t total)>& progress = nullptr,
                         bool to_keep = false);

}  // namespace tillsync
