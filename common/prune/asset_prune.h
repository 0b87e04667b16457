// Which objects of file assets a prune removes: mark and sweep over all snapshots of a terminal.
//
// Assets are the terminal's, shared by the snapshots of all its databases and epochs: the trees of every snapshot that
// stays are kept, with every chunk they name. The rest goes when it is older than orphan_age by the store's clock: it
// may belong to a backup under way. A manifest or a tree that can't be read is a problem, and then nothing goes at all.
// Order of a run: what the one who prunes knows of the objects is forgotten, durably (before_removal); the snapshots
// are listed again, and what one that came meanwhile needs stays; objects go. A crash in between leaves some for next
// time. Errors: those of the store, and cancelled; denied where the store does not let us delete. Data that does not
// parse is in `problems`. Threads: one.
#pragma once

#include "prune/prune_plan.h"

namespace tillsync {

struct AssetPruneRequest {
  Timestamp now{};
  Milliseconds orphan_age = std::chrono::days(7);
  std::set<Uuid> going;  // snapshots that a prune removes first: for a dry run
  std::function<bool()> is_wanted;
};

struct AssetPrunePlan {
  TerminalRef terminal;
  std::set<Uuid> snapshots;    // that were looked at
  std::set<std::string> kept;  // keys
  std::vector<PruneObject> remove;
  uint64_t young = 0, young_bytes = 0;
  std::vector<std::string> problems;
};

Result<AssetPrunePlan> plan_asset_prune(ObjectStore& store, const TerminalRef& terminal,
                                        const AssetPruneRequest& request);

struct AssetPruneHooks {
  // Once, before anything is removed, if anything is. Empty: nobody here knows of asset objects.
  std::function<Result<void>(const std::vector<PruneObject>&)> before_removal;
  std::function<bool(uint64_t done, uint64_t total)> progress;
};
Result<void> run_asset_prune(ObjectStore& store, AssetPrunePlan plan, const AssetPruneHooks& hooks);

// `assets` of `prune --json`: {removed, kept, objects, bytes, young: {count, bytes}, problems}.
Json to_json(const AssetPrunePlan& plan, bool removed);

}  // namespace tillsync
