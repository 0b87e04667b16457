// Does what a plan says, in an order that a crash may cut anywhere.
//
// Order: what the one who prunes knows of blocks and snapshots is made right and durable (before_removal); then, epoch
// by epoch, anchors are put; manifests go, each before what it goes on from, and their marks; the manifests are listed
// again, and what one that came meanwhile refers to stays; packs go; segments and old anchors go. What is left by a
// crash between two of these can't be found by a reader, and the next prune sweeps it.
// Errors: those of the store and of before_removal; denied when the store does not let us delete; conflict when a
// manifest came meanwhile that can't be read. What went before is gone.
// Threads: one; no backup step of the same terminal may run meanwhile in this process.
#pragma once

#include "prune/prune_plan.h"

namespace tillsync {

struct PruneHooks {
  // Once, before anything is removed, if anything is. Empty: nobody here knows of blocks.
  std::function<Result<void>(const PrunePlan&)> before_removal;
  // Objects removed so far and in all; false stops with cancelled.
  std::function<bool(uint64_t done, uint64_t total)> progress;
};

Result<void> run_prune(ObjectStore& store, const PrunePlan& plan, Random& random, const PruneHooks& hooks);

// What `prune --json` shows of one database; removed: by run_prune(), else it would be.
Json to_json(const PrunePlan& plan, bool removed);

}  // namespace tillsync
