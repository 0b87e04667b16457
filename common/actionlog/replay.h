// Replay: applies logged transactions to a staged database.
//
// Purpose: whole transactions in sequence order. A transaction's net changes may have no valid order row by row, so
// first the before rows of all DELETEs and UPDATEs go, then all after rows come. Triggers are off, and foreign keys
// must be (inside a transaction their pragma has no effect): what they did is in the log. Idempotent: transactions up
// to position() are skipped, and within a transaction a CREATE of an equal row, a DELETE of a missing row and an UPDATE
// that was made already are no-ops. A different row is a conflict, reported with both images; the replay stops there
// unless keep_going. After an error the target holds half a transaction of the log, which the caller's own rolls back;
// not so after a barrier, before which nothing of its transaction was touched. Nothing is kept for a way back here: of
// a transaction that changed 50 MB of pages, that would be 50 MB of memory. Hidden rows (statistics of the query
// planner) are put down by rowid in their order, whatever is there: several of a row may wait for one transaction, and
// a snapshot that was made meanwhile holds some of them already. Proof: digests() follows the log's own rows from the
// start digests on, for comparison with what the target then holds. Errors: conflict (with sequence, table, entity,
// both images), schema (the target's SQL can't be written), corrupt. Threads: one.
#pragma once

#include <functional>
#include <map>

#include "actionlog/segment.h"
#include "sqlite/connection.h"

namespace tillsync {

struct ReplayFailure {
  Sequence sequence = 0;
  std::string table, entity, reason;
};

class Replayer {
 public:
  // target: a connection to the staged database, in a transaction of the caller's; schema: of the target. start: table
  // digests of the target as it is.
  static Result<std::unique_ptr<Replayer>> create(Connection& target, std::shared_ptr<const Schema> schema,
                                                  std::vector<TableDigest> start, TransactionNo position,
                                                  bool keep_going);
  ~Replayer();

  // Applies the transactions of a segment that lie after position() and up to `last`, and that end in it. progress gets
  // actions applied.
  Result<void> apply(const Segment& segment, TransactionNo last,
                     const std::function<bool(uint64_t)>& progress = nullptr);
  // Applies one transaction that is spread over several segments: the last one of part 0, the first of the others, up
  // to the part that it ends in. Each part is asked for twice, so that one of them is in memory at a time. Says how
  // many parts there are.
  using PartReader = std::function<Result<Segment>(size_t part)>;
  Result<size_t> apply_spread(const PartReader& part, const std::function<bool(uint64_t)>& progress = nullptr);

  TransactionNo position() const { return position_; }
  Sequence sequence() const { return sequence_; }
  // Where apply() met a change of schema, which replay does not cross (error kind schema). All before it is applied.
  std::optional<Sequence> barrier() const { return barrier_; }
  uint64_t actions_applied() const { return applied_; }
  std::vector<TableDigest> digests() const;
  const std::vector<ReplayFailure>& failures() const { return failures_; }

 private:
  class Target;
  struct Pending {
    const SegmentAction* action;  // of the segment that is being applied
    Target* target;
  };
  struct Hidden {
    std::string table;
    int64_t rowid;
    Bytes after;  // empty: the row goes
  };
  Replayer(Connection& target, std::shared_ptr<const Schema> schema);
  Result<Target*> target_of(const std::string& table);
  Result<void> collect(const Segment& segment, size_t t, size_t& next, size_t& next_hidden, bool wanted);
  void begin_transaction();
  Result<void> remove_all();
  Result<void> save_counters();
  Result<void> insert_all();
  Result<void> count(const SegmentAction& row, Target& target);
  Result<void> end_transaction(TransactionNo number);
  Result<void> remove_before(const SegmentAction& row, Target& target);
  Result<void> insert_after(const SegmentAction& row, Target& target);
  Result<void> put_hidden(const Hidden& row);
  Result<void> failed(const SegmentAction& row, Target& target, const std::string& reason);
  bool has_failed(Sequence sequence) const;
  bool dependency_failed(const SegmentAction& row) const;
  std::string shown(int64_t rowid, ByteView record, Target& target) const;
  std::string another_row(int64_t rowid, ByteView found, ByteView expected, Target& target) const;

  Connection& db_;
  std::shared_ptr<const Schema> schema_;
  TransactionNo position_ = 0;
  Sequence sequence_ = 0;
  uint64_t applied_ = 0;
  std::optional<Sequence> barrier_;
  bool keep_going_ = false;
  std::map<std::string, std::unique_ptr<Target>> targets_;
  std::map<std::string, TableDigest> digests_;
  std::vector<Pending> pending_;
  std::vector<SegmentAction> sequence_rows_;  // of sqlite_sequence: they wait for the end of their transaction
  std::optional<std::vector<std::pair<int64_t, Bytes>>> counters_;  // of sqlite_sequence, in this transaction
  std::vector<Hidden> hidden_;
  std::vector<ReplayFailure> failures_;
  std::vector<Sequence> failed_sequences_;  // sorted
};

}  // namespace tillsync
