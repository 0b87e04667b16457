// What a prune keeps and removes, and why: mark and sweep over the manifests of one database, all epochs of it.
//
// Marked: the snapshots that [retention] keeps (snapshot/retention.h), those that moments within retention.log are
// replayed from, those they go on from, and the packs of all these. Of each log: what lies within retention.log, and
// what leads there from its snapshot. Swept: everything else that has a name of ours. Whatever does not parse is never
// a reason to remove something: with a manifest that can't be read, or a chain that is broken, nothing of the database
// goes, and with a hole in a log nothing of that log. `problems` says so.
// Segments that others took the place of go a day later, for those who have listed them, and not while a restore is
// under way.
// Packs that no manifest refers to may belong to a backup that is under way: they go when they are older than
// orphan_age by the store's clock, and not pinned. Those of snapshots that are removed here go at once.
// Errors: those of the store, and cancelled. Data that does not parse is in `problems`.
// Threads: one.
#pragma once

#include <functional>

#include "actionlog/log_anchor.h"
#include "snapshot/retention.h"

namespace tillsync {

// A snapshot, as far as a prune needs it. Manifests never change, so what was read once may be handed in again.
struct KnownSnapshot {
  RestorePoint point;
  std::vector<std::string> packs;
};
using SnapshotCache = std::map<std::string, KnownSnapshot>;  // by the manifest's key

struct PruneRequest {
  RetentionPolicy policy;
  Timestamp now{};
  Milliseconds orphan_age = std::chrono::days(7);
  Milliseconds merged_age = std::chrono::days(1);  // for so long a merged segment lies beside its parts
  // What backups under way count on: snapshots they go on from, packs they refer to.
  std::set<Uuid> pinned_snapshots;
  std::set<std::string> pinned_packs;
  // What restores under way go by: it stays, and the log that follows it.
  std::set<Uuid> replayed_snapshots;
  bool can_sign = true;             // else no log begins later than it does: its anchor is the terminal's to sign
  std::function<bool()> is_wanted;  // asked now and then; false: stop with cancelled
};

enum class PruneKind { snapshot, verified, pack, segment, anchor, asset };
std::string_view to_string(PruneKind kind);

struct PruneObject {
  PruneKind kind = PruneKind::snapshot;
  std::string key;
  uint64_t size = 0;
  std::string reason;
  std::optional<std::pair<Sequence, Sequence>> range = std::nullopt;  // of a segment
};

struct LineagePrune {
  Lineage lineage;
  std::vector<RestorePoint> keep;  // oldest first
  std::set<Uuid> remove;
  std::optional<LogAnchor> anchor;     // to be put before segments go
  std::vector<PruneObject> manifests;  // in the order in which they go: each before what it goes on from
  std::vector<PruneObject> packs;
  std::vector<PruneObject> log;
};

struct PrunePlan {
  TerminalRef terminal;
  std::string database;
  RetentionPolicy policy;
  std::vector<LineagePrune> lineages;  // oldest epoch first
  Kept kept;
  std::set<std::string> kept_packs;
  uint64_t young_packs = 0, young_bytes = 0;  // nobody refers to them; they are younger than orphan_age, or pinned
  std::vector<std::string> problems;
  std::vector<std::string> notes;  // what stays though it need not
};

Result<PrunePlan> plan_prune(ObjectStore& store, const TerminalRef& terminal, const std::string& database,
                             const PruneRequest& request, SnapshotCache* cache = nullptr);

}  // namespace tillsync
