// Merges segments that the store has into fewer, so that its log does not grow into a million objects.
//
// Purpose: with each snapshot the segments up to it become a few merged ones (docs/formats.md, "Merged segments"). They
// are made of state.db's rows, so that nothing is read from the store; each part's rows must have the digest that they
// had when they were sealed, else that part stays as it is for good. One at a time for each database: what was built is
// recorded, sent like any segment, and then stored() takes its parts' place.
// Durability: as with LogSealer: into the spool, record(), state.db durable, and only then into the store.
// Errors: what state.db reports; corrupt when it does not hold together.
// Threads: any, one merger per database at a time.
#pragma once

#include "actionlog/segment.h"
#include "state/state_db.h"

namespace tillsync {

struct MergedSegment {
  SegmentHead head;
  Digest sha256;  // of the object
  Bytes object;
  std::string key;
  size_t parts = 0;
};

class LogMerger {
 public:
  LogMerger(StateDb& state, int64_t database_id, Lineage lineage, Random& random)
      : state_(state), database_id_(database_id), lineage_(std::move(lineage)), random_(random) {}

  // The oldest that can be merged, of what is durable and lies before the newest snapshot; nullopt: nothing can, or one
  // is under way.
  Result<std::optional<MergedSegment>> build();
  // What build() found to be other than it was sealed, in words.
  const std::vector<std::string>& left_out() const { return left_out_; }
  // In the caller's state.db transaction.
  Result<void> record(Connection& state, const MergedSegment& merged);

  // In the caller's state.db transaction: the store has this object. Nothing happens if it is none that was merged.
  static Result<void> stored(Connection& state, const std::string& key, Timestamp now);
  // It will not be sent: its parts stay. False if it is none that was merged.
  static Result<bool> forget(Connection& state, const std::string& key);

 private:
  struct Part {
    SegmentHead head;  // as far as state.db knows it
    Digest link, content;
    int64_t schema_id = 0;
    std::string user_columns;
  };
  Result<Sequence> newest_snapshot(Connection& db);
  Result<std::vector<Part>> next_parts(Connection& db, Sequence from, Sequence up_to);
  Result<std::optional<Segment>> join(Connection& db, const std::vector<Part>& parts);
  Result<std::optional<Digest>> link_before(Connection& db, Sequence first);
  std::string prefix() const;
  StateDb& state_;
  int64_t database_id_;
  Lineage lineage_;
  Random& random_;
  std::vector<std::string> left_out_;
};

}  // namespace tillsync
