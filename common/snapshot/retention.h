// Which snapshots are kept, and why. Pure: no store, no clock.
//
// Purpose: the windows of [retention] over all snapshots of one database, older epochs included. A window counts
// buckets that have a snapshot, the newest first, and keeps the newest snapshot of each: `hourly = 24` is the last 24
// hours in which one was made, however long ago. So a till that stood still for a month, or whose clock is wrong, loses
// nothing to it: only newer snapshots push older ones out.
// Units: hours, days, weeks (Monday to Sunday) and months are those of UTC, by Manifest::created_at.
// Page-level snapshots (Manifest::damage) have the same windows to themselves: a database that stays damaged for a week
// must not push out the last sound state of it. Nothing is based on them.
// Threads: values.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "snapshot/manifest.h"

namespace tillsync {

struct RetentionPolicy {
  int last = 3, hourly = 24, daily = 7, weekly = 5, monthly = 12;
  Milliseconds log = std::chrono::days(90);  // how far back every moment can be restored
};
Json to_json(const RetentionPolicy& policy);
// usage: a field is missing or not a number from 0 on.
Result<RetentionPolicy> retention_from_json(const Json& document);

// What the policy has to know of a snapshot.
struct RestorePoint {
  uint64_t epoch = 1;
  Uuid uuid;
  std::optional<Uuid> predecessor;  // Manifest::predecessor()
  bool full = true, page_level = false;
  Timestamp created_at{}, captured_at{};
  Sequence sequence = 0;
  uint32_t generation = 0;

  static RestorePoint of(const Manifest& manifest);
  // By epoch, then by place in the log: the order in which they were made, whatever the clock did.
  bool operator<(const RestorePoint& other) const;
};

// Snapshot to reasons; one that is not in it is not kept.
using Kept = std::map<Uuid, std::vector<std::string>>;

class RetentionRules {
 public:
  explicit RetentionRules(std::vector<RestorePoint> points);  // in any order

  // The windows. The newest sound snapshot of all is always among them, and the newest FULL of its epoch, from which
  // the next DIFFERENTIAL goes on.
  void apply_windows(const RetentionPolicy& policy);
  // Snapshots that let every moment at or after `since` be replayed, in one epoch: the newest one captured at or before
  // it, and after each barrier (a sequence that replay does not cross) the first one there is. barriers: increasing.
  void keep_for_log(uint64_t epoch, Timestamp since, const std::vector<Sequence>& barriers);
  void keep(const Uuid& snapshot, const std::string& reason);
  // Everything the kept ones go on from, down to their FULL. Last, after all that keeps. corrupt: a predecessor of any
  // snapshot, kept or not, is missing: then nothing must be removed at all.
  Result<void> close_chains();

  // The newest sound snapshot captured at or before `since` in the epoch; nullptr for none.
  const RestorePoint* base_at(uint64_t epoch, Timestamp since) const;
  // Sound, and the newest of all; nullptr for none.
  const RestorePoint* newest() const;
  const std::vector<RestorePoint>& points() const { return points_; }  // oldest first
  const Kept& kept() const { return kept_; }

 private:
  void window(const RetentionPolicy& policy, bool page_level);
  const RestorePoint* find(const Uuid& uuid) const;
  std::vector<RestorePoint> points_;
  std::map<Uuid, size_t> places_;
  Kept kept_;
};

}  // namespace tillsync
