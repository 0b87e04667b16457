// Which objects bring a database to the asked moment.
//
// Purpose: the newest snapshot at or before the moment, and the log segments from there on; in the lineage that is
// given, or, where the moment lies before all it has, in the epoch before. Replay never crosses a
// change of schema: a moment after one and before its snapshot is found out by the replay (restore/staging.h). Errors:
// not_found (no snapshot, no such moment), corrupt with the object's key (a manifest does not
// parse, a segment is missing). A damaged manifest is never passed over in silence: choose another snapshot by uuid.
// Threads: one.
#pragma once

#include "actionlog/log_reader.h"
#include "snapshot/chain.h"

namespace tillsync {

struct RestoreMoment {
  std::optional<Uuid> snapshot;
  std::optional<Timestamp> at;  // every transaction captured at or before
  std::optional<Sequence> sequence;
  std::optional<TransactionNo> transaction;
  // The snapshot to start from, if it is there and before the moment; else the newest before it.
  std::optional<Uuid> start;
};

struct RestorePlan {
  Lineage lineage;
  SnapshotChain chain;
  std::vector<SegmentObject> all_segments;  // of the log
  std::vector<SegmentObject> segments;      // to be replayed, at least in part
  TransactionNo transaction = 0;            // where the restored database will be
  Sequence sequence = 0;
  bool newest = false;  // no moment was asked for: as far as it goes
  std::string note;     // what was rounded, for a person; empty for nothing
};

Result<RestorePlan> plan_restore(ObjectStore& store, const Lineage& lineage, const RestoreMoment& moment);

// From the snapshot `from` to the snapshot `to` by the log alone; nullopt when the log does not reach so far (yet), or
// nothing lies between them.
Result<std::optional<RestorePlan>> plan_between(ObjectStore& store, const Lineage& lineage, SnapshotChain from,
                                                const Manifest& to);

}  // namespace tillsync
