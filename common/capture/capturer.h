// Follows one database: attaches, captures, lets go, comes back.
//
// Purpose: the loop body of a capture thread. step() does what there is to do and says how long to sleep at most; a
// file event or a request ends the sleep. It chooses the source (WalTail, PageScan), keeps the WAL bounded, releases
// the application's files when nothing comes, and turns every error into a problem a person can read while it keeps
// trying. Errors: step() has none; they are in status().problem. Threads: step() by one thread; status(), request_*()
// by any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <vector>

#include "capture/activation.h"
#include "capture/ingest.h"
#include "capture/work_pulse.h"
#include "ports/change_notifier.h"

namespace tillsync {

struct Problem {
  std::string code, text, remedy;
};

// Why nothing is captured for now: what requests fail with, and what a person reads.
struct CaptureHold {
  Error error;
  Problem problem;
};

struct CaptureStatus {
  std::string name, path;
  std::string mode = "starting";  // wal, idle, scan, paused, failed; starting until the first attach
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  std::optional<Timestamp> last_capture_at;
  uint32_t writer_sqlite_version = 0;
  uint64_t wal_bytes = 0;
  double pos_blocked_ms = 0;  // time under the writer lock that checkpoints took, since start
  double pos_blocked_ms_max = 0;
  uint64_t catch_ups = 0;
  PageNo page_count = 0;
  uint32_t page_size = 0;
  double baseline_percent = 100;  // while the first copy is made
  std::optional<Problem> problem;
};

class Capturer {
 public:
  struct Setup {
    std::string name, path;
    int64_t database_id = 0;
    FileSystem* files = nullptr;        // ours
    FileSystem* application = nullptr;  // stat of the application's files only
    StateDb* state = nullptr;
    Clock* clock = nullptr;
    Random* random = nullptr;
    std::string folder;
    std::chrono::milliseconds scan_interval{60000};
    std::chrono::milliseconds idle_release{10000};
    bool note_commit_times = false;  // several databases are followed (actionlog/coincidence.h)
    uint64_t wal_bytes_max = 16 << 20;
    uint64_t wal_bytes_hard = 256 << 20;
    uint64_t free_space_min = 0;  // what the first copy leaves free in `folder`
    // Called on the capture thread after a change of schema was committed: a snapshot must follow.
    std::function<void()> on_barrier;
    // Called on the capture thread when our copy of the database can't be read: a new one is made, and marked in the
    // log.
    std::function<void(const Error& why)> on_copy_lost;
    // Called on the capture thread when the application's database is found damaged, once until it is sound again.
    std::function<void(const Error& why)> on_damaged;
    // Whether the database may be opened by this process without keeping the application out of it; asked before each
    // attach. Empty: always.
    std::function<Result<void>(const std::string& path)> may_open;
    // Which processes hold locks on the database, in words, for a person; may be empty.
    std::function<std::string(const std::string& path)> who_holds;
    // Called on the capture thread when all is captured and the application's files were let go of.
    std::function<void()> on_idle;
    // Called after every commit that logged something.
    std::function<void()> on_commit;
  };
  explicit Capturer(Setup setup);
  ~Capturer();

  std::chrono::milliseconds step();
  // A file event came: the commit it belongs to may become visible only a little later, without another event.
  void changed() { backoff_ = 0; }
  // Lets go of the application's files; state.db has everything committed.
  void stop();

  CaptureStatus status() const;
  // The cut is made on the capture thread, after everything committed by the application before the call was captured.
  using CutCallback = std::function<void(Result<SnapshotCut>)>;
  void request_cut(CutCallback callback);
  // The same without a cut: answers with the last sequence.
  void request_capture(std::function<void(Result<Sequence>)> callback);
  // The content of the database is replaced on the capture thread, in one transaction of the application's database,
  // with everything before it captured. The callback comes after the commit; the log has it after the next capture.
  // Errors: timeout (someone keeps writing; says who, where that can be told), cancelled, what `write` and SQLite
  // report: nothing is changed then.
  void request_activation(ActivationRequest request, std::function<void(Result<void>)> callback);
  void set_dependency_floor(Sequence floor) { dependency_floor_ = floor; }
  // While there is a reason, nothing of the application's is open and nothing is captured; requests fail with it. What
  // happened meanwhile is captured afterwards, as one transaction where the log did not keep it. From any thread; what
  // runs ends early, and the next step() sees it. released: called on the capture thread when all is let go; by stop()
  // at the latest.
  void hold(std::optional<CaptureHold> why, std::function<void()> released = {});
  // Ends what runs early, for good.
  void interrupt();
  // Shows that step() goes on.
  WorkPulse& pulse() { return pulse_; }

 private:
  using Steady = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kTooFastFor{5};
  struct Identity {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t mtime_ns = 0;
    uint64_t wal_size = 0;  // 0 also when there is none
    int64_t wal_mtime_ns = 0;
    bool operator==(const Identity&) const = default;
    bool same_database(const Identity& o) const {
      return device == o.device && inode == o.inode && size == o.size && mtime_ns == o.mtime_ns;
    }
  };
  Result<std::chrono::milliseconds> round();
  Result<void> load_copy();
  void lose_copy(const Error& why);
  std::optional<bool> copy_is_sound();
  void find_damaged(const Error& why);
  std::optional<std::chrono::milliseconds> rest_while_damaged(const FileInfo& now);
  Result<void> attach();
  Result<void> open_session();
  Result<std::chrono::milliseconds> wal_round();
  bool is_nothing_new(const WalIndexView& view) const;
  Result<std::chrono::milliseconds> wait_for_news(bool backfilled, bool file_too_large);
  Result<std::chrono::milliseconds> scan_round();
  Result<void> capture_frames(bool& any, bool may_write_back = true);
  std::optional<CommitSpan> commit_span();
  Result<void> check_room();
  Result<void> start_or_catch_up();
  Result<void> scan_into_log(DatabaseReader& reader, const CapturePosition& position, std::function<void()> copied);
  Result<void> make_way_for_checkpoint();
  Result<void> bound_log();
  Result<FrameNo> frames_left();
  Result<bool> copy_most(AppDatabase& by);
  Result<void> let_go_of_log();
  Result<void> empty_patiently();
  Result<void> relieve_wal();
  Result<void> while_writers_wait(std::chrono::milliseconds patience, const std::function<Result<void>()>& work);
  void count_blocked(Steady::time_point since);
  Result<uint64_t> log_bytes_used();
  // Before limits.wal_hard, because while the log is copied, or a scan compares rows, a writer without pause adds much
  // more; sooner still where it was too fast for us a moment ago.
  uint64_t let_go_at() const {
    const bool too_fast = setup_.clock->steady_now() - last_catch_up_ < kTooFastFor;
    return setup_.wal_bytes_hard / (too_fast ? 4 : 2);
  }
  // From here on the log is emptied at once, and copied once without the writer lock.
  uint64_t empty_at() const { return setup_.wal_bytes_hard / 4 * 3; }
  struct TakenActivation {
    ActivationRequest request;
    std::function<void(Result<void>)> callback;
    Steady::time_point until{};
  };
  Result<std::chrono::milliseconds> try_activation();
  Result<bool> capture_all_under_lock();
  Result<void> replace_content(AppDatabase& live, const ActivationRequest& request);
  void end_activation(Result<void> outcome);
  Result<void> release_when_idle();
  Result<Identity> identity();
  std::optional<Identity> identity_or_none();
  bool is_recent(const Identity& identity) const;
  Result<void> store_identity(const Identity& identity);
  Result<std::optional<Identity>> stored_identity();
  void after_commit(bool any);
  void take_requests();
  void answer_requests();
  void fail_requests(const Error& error);
  void detach();
  void tell_released();
  std::chrono::milliseconds report(Error error);
  std::chrono::milliseconds rest_while_held(const CaptureHold& why);
  void set_problem(std::optional<Problem> problem);
  void publish(const std::string& mode);
  Ingest::Setup ingest_setup();

  Setup setup_;
  int64_t session_id_ = 0;
  std::unique_ptr<Ingest> ingest_;
  std::unique_ptr<WalTail> tail_;
  bool behind_ = false;      // the last look at the log ended before its last transaction
  bool continuous_ = false;  // every frame since the position is still in the log
  bool scan_mode_ = false;
  bool idle_ = false;
  bool rebuild_ = false;    // the owner map is in doubt: next time, compare everything
  bool copy_lost_ = false;  // the replica can't be read: next time, a new one without a difference
  // Neither side's fault but the application's: its database does not parse. Looked at again ever more rarely.
  std::optional<Error> damage_;
  uint64_t damaged_inode_ = 0;
  Steady::time_point damage_seen_{};
  std::chrono::milliseconds damage_wait_{0};
  Identity idle_identity_;
  uint64_t attached_inode_ = 0;
  std::optional<Identity> scanned_;
  Steady::time_point last_news_, last_scan_{}, next_relief_{}, last_catch_up_{};
  size_t backoff_ = 0;
  std::optional<WalIndexView> nothing_after_;  // how the log was when all of it was captured
  int copied_rounds_ = 0;                      // one after the other that found everything copied
  int failures_ = 0;
  WorkPulse pulse_;
  std::atomic<Sequence> dependency_floor_ = 0;
  mutable std::mutex mutex_;  // guards what comes from other threads: status_, the hold, the requests
  CaptureStatus status_;
  std::optional<CaptureHold> held_;
  std::vector<std::function<void()>> on_released_;
  bool interrupted_ = false;
  std::vector<CutCallback> cuts_;
  std::vector<std::function<void(Result<Sequence>)>> captures_;
  std::vector<TakenActivation> activations_;
  // Requests that came before the running round began, and so are answered at its end.
  std::vector<CutCallback> taken_cuts_;
  std::vector<std::function<void(Result<Sequence>)>> taken_captures_;
  std::vector<TakenActivation> taken_activations_;
};

// What a person should do about an error of a followed database.
Problem capture_problem(const Error& error, const std::string& path);

}  // namespace tillsync
