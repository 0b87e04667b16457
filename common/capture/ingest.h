// The commit point: one transaction of the application after another goes into log and replica, and a batch of them
// into state.db, whole or not at all.
//
// Purpose: owns what belongs together at one position (replica, owner map, log, schema). transaction() takes the
// changed pages of one transaction; commit() writes the batch with its position in one state.db transaction. Errors:
// after any error the batch is lost and the object is of no further use: drop it and load() again, which is the state
// of the last commit. corrupt: a page does not parse; schema: the application's schema can't be understood. Threads:
// one; SnapshotCut::image may be read by another.
#pragma once

#include <functional>

#include "actionlog/activations.h"
#include "actionlog/log_writer.h"
#include "capture/pairing_spill.h"
#include "capture/replica.h"
#include "capture/tree_walk.h"
#include "capture/wal_tail.h"
#include "capture/work_pulse.h"
#include "ports/random.h"

namespace tillsync {

// Where capture stands in the application's files.
struct CapturePosition {
  enum class Source { none, wal, scan } source = Source::none;
  WalPosition wal;
  uint32_t change_counter = 0;  // rollback-journal databases
};

// Everything a snapshot says about its moment.
struct SnapshotCut {
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  uint32_t generation = 0;
  Timestamp captured_at{};
  uint32_t user_version = 0;
  std::shared_ptr<const Schema> schema;
  std::vector<TableDigest> tables;
  std::unique_ptr<PageImage> image;
};

// What the owner of a read transaction is told while all of a database is read.
struct ScanEvents {
  // Pages done and pages in all; false stops with cancelled.
  std::function<bool(PageNo, PageNo)> progress;
  // Everything was copied: the read transaction may end. Set where it keeps writers out.
  std::function<void()> copied;
};

class Ingest {
 public:
  ~Ingest();
  struct Setup {
    FileSystem* files = nullptr;
    StateDb* state = nullptr;
    Clock* clock = nullptr;
    std::string folder;  // of this database, in state_dir
    int64_t database_id = 0;
    int64_t session_id = 0;
    WorkPulse* pulse = nullptr;  // told to stop from another thread: long work ends with cancelled
  };

  // What state.db and the replica hold; nullptr when there is no whole baseline yet. not_found, corrupt: a file of the
  // replica is missing or does not parse.
  static Result<std::unique_ptr<Ingest>> load(const Setup& setup);
  // A new baseline from a read transaction. previous: what was captured before, of which the difference becomes one
  // transaction marked catch-up (another page size); nullptr for the first, or when it is lost: then the log gets a
  // SCHEMA action without content, which replay does not cross.
  static Result<std::unique_ptr<Ingest>> baseline(const Setup& setup, DatabaseReader& source,
                                                  const CapturePosition& position, Ingest* previous,
                                                  const ScanEvents& events);

  Result<void> transaction(PageSource& source, std::vector<SourcePage>& pages, PageNo page_count, uint32_t flags,
                           std::optional<CommitSpan> committed = std::nullopt);
  // The transaction that is the agent's own restore in place will come.
  void expect_activation(std::optional<PendingActivation> pending) { pending_ = std::move(pending); }
  // The same for a scan: finds the pages that differ from the replica.
  Result<void> catch_up(DatabaseReader& source, const ScanEvents& events);

  // Ends the batch here: it is large, or a change of schema must be followed by a snapshot.
  bool batch_full() const {
    return batch_transactions_ >= 256 || batch_actions_ >= 20000 || replica_->pending_pages() >= 4096 || barrier_;
  }
  bool between_batches() const { return !batch_; }
  // Commits the batch and the position; without a batch, only a position that moved.
  Result<void> commit(const CapturePosition& position);
  const CapturePosition& position() const { return position_; }
  // True once after a commit that ended in a change of schema or a renumbering.
  bool take_barrier() { return std::exchange(barrier_committed_, false); }

  // corrupt: the replica does not parse, or its tables are not what the log has counted. Reads all of it.
  Result<void> check_copy();

  // Replica files up to date when the overlay has grown, or anyway.
  Result<void> write_back_if_large();
  Result<void> write_back() { return replica_->write_back(); }
  // Between batches.
  Result<SnapshotCut> cut();
  void invalidate_pins() { replica_->invalidate_pins(); }

  Replica& replica() { return *replica_; }
  LogWriter& log() { return *log_; }
  uint32_t page_size() const { return replica_->page_size(); }

 private:
  struct OpenBatch;
  explicit Ingest(const Setup& setup);
  Result<void> begin_batch();
  StateDb::Lease& batch_lease();
  // before.page_count 0: nothing was there. whole: every page counts as changed, the owner map as empty (another page
  // size).
  Result<void> diff(const Image& before, const Image& after, std::span<const PageNo> changed, bool whole,
                    TreeDiff& trees);
  Result<void> diff_schema(const Image& before, const Image& after, TreeDiff& trees, bool whole,
                           std::shared_ptr<const Schema>& next, bool& changed);
  Result<int64_t> record_schema(const Schema& schema);
  Result<void> count_table(const Image& image, const Table& table);
  Result<void> mark_activation(const Image& after);
  Result<void> record_marked();

  Setup setup_;
  PairingSpill::Place spill_;
  std::shared_ptr<Replica> replica_;
  std::unique_ptr<LogWriter> log_;
  std::unique_ptr<TreeDiff> trees_;
  std::shared_ptr<const Schema> schema_;
  CapturePosition position_;
  uint32_t generation_ = 1;
  std::unique_ptr<OpenBatch> batch_;
  std::optional<PendingActivation> pending_;
  std::optional<Sequence> marked_;           // the RESTORE action of the transaction under way
  std::unique_ptr<PageSource> scan_source_;  // of a catch-up that is not committed yet
  size_t batch_transactions_ = 0;
  uint64_t batch_actions_ = 0;
  bool barrier_ = false, barrier_committed_ = false;
};

}  // namespace tillsync
