// Makes a snapshot from a page image: packs in the spool and the bytes of the manifest.
//
// FULL: runs of 64 pages; a run whose content an earlier pack already holds is referred to and not stored again.
// INCREMENTAL: the pages that changed after the generation of the parent; DIFFERENTIAL: after that of the base.
// Memory: the blocks under way, 4 MiB of them or two (raw, and as much again compressed), the index of the pack being
// written, and for a FULL about 100 bytes a run. Never the database. Time: one thread reads, names, seals and writes
// the blocks, and as many as there are cores, two at most, compress them. Order: the packs are durable in the spool
// when it returns. Put them all, then the manifest. Errors: those of the file port and of the image; conflict when the
// page size differs from the parent's (make a FULL); cancelled when progress answers false. What was written is then
// still in the spool folder, for the sweep at start-up. Threads: one at a time.
#pragma once

#include <functional>

#include "ports/files.h"
#include "snapshot/manifest.h"
#include "snapshot/pack_index.h"
#include "snapshot/page_image.h"

namespace tillsync {

struct StoredBlock {
  std::string pack_key;
  uint32_t block = 0;
  uint64_t pack_size = 0;  // 0: not known
};
// Is the content of this name in the store already, in a run block of this lineage?
using BlockLookup = std::function<Result<std::optional<StoredBlock>>(const Digest& name)>;

struct SpooledPack {
  PackRef ref;
  std::string path;          // in the spool
  std::vector<Digest> runs;  // names of its run blocks, by block number; what to tell the lookup once it is durable
};

struct BuiltSnapshot {
  Manifest manifest;
  Bytes manifest_bytes;
  std::string manifest_key;
  std::vector<SpooledPack> packs;  // new ones only
};

struct SnapshotPlan {
  // Everything a person or the log knows; of these the builder sets packs, map, page_size, page_count, size,
  // stored_bytes and checksum. For INCREMENTAL it sets parent and base from `from`, for DIFFERENTIAL base (parent stays
  // as given).
  Manifest metadata;
  const Manifest* from = nullptr;  // the parent of an INCREMENTAL, the base FULL of a DIFFERENTIAL
  BlockLookup lookup;              // FULL only; empty: no deduplication at all
  uint64_t pack_size_target = 64 << 20;
  std::function<bool(uint64_t pages_done, uint64_t pages_total)> progress;
};

Result<BuiltSnapshot> build_snapshot(const SnapshotPlan& plan, PageImage& image, FileSystem& files,
                                     const std::string& spool_folder, Random& random);

}  // namespace tillsync
