// How a Capturer follows the write-ahead log, keeps it bounded, and lets it go when nothing comes.
#include "capture/capturer.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace tillsync {

using std::chrono::milliseconds;

namespace {
// After an event, and while a checkpoint is outstanding: look again soon, then rarer. The commit becomes visible after
// the file event, and a checkpoint by the application causes none.
constexpr milliseconds kLookAgain[] = {milliseconds(1),  milliseconds(2),  milliseconds(5),  milliseconds(10),
                                       milliseconds(20), milliseconds(50), milliseconds(100)};
constexpr milliseconds kQuietBeforeCheckpoint{1000};
constexpr milliseconds kWriterLockPatience{50};
constexpr milliseconds kWriterLockPatienceHard{500};  // the till's disk is at stake; nothing is held meanwhile
constexpr milliseconds kTruncatePatience{100};        // while it waits for a reader, writers wait
constexpr milliseconds kReliefPause{100};
constexpr milliseconds kPauseBetweenTries{100};
// What may be left to capture, and to copy, when writers begin to wait: a few milliseconds of work.
constexpr FrameNo kFramesUnderLock = 256;
constexpr FrameNo kCopiedUnderLock = 2048;
// Each time over what is left shrinks, or the writer is faster than we are.
constexpr int kReliefAttempts = 8;
// The application's own checkpointer is waited for, in steps of this: it does our work, and under the writer lock it is
// the writer itself, at the end of its commit.
constexpr std::chrono::microseconds kCheckpointStep{200};
constexpr int kCheckpointSteps = 50, kCheckpointStepsHard = 2500;
constexpr int kCopiedRounds = 2;
constexpr size_t kLooksBeforeBreath = 5;
constexpr std::chrono::microseconds kBreathStep{50};
constexpr int kBreathSteps = 3000;  // SQLite's own waiting looks every 100 ms
// So far behind, the rest can't be captured before the log has grown by as much again.
constexpr FrameNo kFramesWithinReach = 4096;

double ms_of(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }
}  // namespace

Result<void> Capturer::capture_frames(bool& any, bool may_write_back) {
  any = false;
  behind_ = false;
  CapturePosition position = ingest_->position();
  TILLSYNC_LET(WalTail::Step step, tail_->advance(position.wal));
  if (step == WalTail::Step::gap) {
    tail_->withdraw();
    continuous_ = false;
    any = true;
    return {};
  }
  if (step != WalTail::Step::nothing) {
    std::vector<SourcePage> pages;
    PageNo page_count = 0;
    const auto committed = commit_span();
    while (true) {
      TILLSYNC_LET(bool more, tail_->next_transaction(position.wal, pages, page_count));
      if (!more) break;
      pulse_.beat();
      any = true;
      // Only of the last one is it known when it was written.
      const bool last = position.wal.frame == tail_->view().header.max_frame;
      TILLSYNC_TRY(ingest_->transaction(*tail_, pages, page_count, 0, last ? committed : std::nullopt));
      // Far behind, with a log that has grown too large: the round decides. Our mark still holds what is left.
      auto used = log_bytes_used();
      const bool too_large = used && *used > let_go_at() && setup_.clock->steady_now() >= next_relief_;
      if (!ingest_->batch_full() && !too_large && !pulse_.is_stopped()) continue;
      TILLSYNC_TRY(ingest_->commit(position));
      after_commit(true);
      if (too_large || pulse_.is_stopped()) {
        tail_->withdraw();
        behind_ = true;
        return {};
      }
      if (may_write_back) TILLSYNC_TRY(ingest_->write_back_if_large());
    }
    TILLSYNC_TRY(ingest_->commit(position));
    if (any) after_commit(true);
  } else if (tail_->view().header.max_frame == 0 && position.wal.frame != 0) {
    // Emptied: by its first frame the log may get any salts, and our mark on the empty log says that it is the next
    // one.
    position.wal = {tail_->view().header.salts, 0, {}};
    TILLSYNC_TRY(ingest_->commit(position));
  }
  tail_->settle();
  return {};
}

// Of the commit that the log ends with. The file's time is the kernel's, of the last write: the writer's own, whatever
// this thread was doing meanwhile.
std::optional<CommitSpan> Capturer::commit_span() {
  if (!setup_.note_commit_times) return std::nullopt;
  auto wal = setup_.application->stat(setup_.path + "-wal");
  if (!wal) return std::nullopt;
  // The clock counts whole milliseconds.
  CommitSpan span{wal->mtime_ns / 1000000, to_ms(setup_.clock->now()) + 1};
  if (span.seen_at < span.written_at || span.seen_at - span.written_at > kCommitSpanMax) return std::nullopt;
  return span;
}

Result<uint64_t> Capturer::log_bytes_used() {
  TILLSYNC_LET(WalIndexView view, tail_->look());
  return wal_frame_offset(view.header.max_frame + 1, view.header.page_size);
}

Result<milliseconds> Capturer::wal_round() {
  if (!ingest_ || !continuous_) TILLSYNC_TRY(start_or_catch_up());
  TILLSYNC_LET(const WalIndexView at_first, tail_->look());
  if (is_nothing_new(at_first)) return wait_for_news(false, false);
  nothing_after_.reset();
  bool any = false;
  TILLSYNC_TRY(capture_frames(any));
  if (!continuous_) return milliseconds(0);
  TILLSYNC_TRY(ingest_->write_back_if_large());
  auto now = setup_.clock->steady_now();
  TILLSYNC_LET(uint64_t wal_bytes, tail_->wal_size());
  {
    std::lock_guard lock(mutex_);
    status_.wal_bytes = wal_bytes;
  }
  TILLSYNC_LET(WalIndexView view, tail_->look());
  // A log that is copied whole does not grow: the next writer begins it anew.
  if (view.backfilled < view.header.max_frame && now >= next_relief_) {
    TILLSYNC_TRY(bound_log());
    if (!continuous_) return milliseconds(0);
  }
  if (any) {
    last_news_ = now;
    backoff_ = 0;
    return milliseconds(0);
  }
  // Nothing new. On a mark other than 0 the application's checkpoint can't finish: look soon whether it is done
  // otherwise.
  TILLSYNC_LET(view, tail_->look());
  bool backfilled = view.backfilled >= view.header.max_frame;
  if (!backfilled && now - last_news_ > kQuietBeforeCheckpoint) {
    auto done = tail_->checkpointer().checkpoint();
    if (!done && done.error().kind != ErrorKind::transient) return std::move(done).error();
    TILLSYNC_TRY(capture_frames(any));
    TILLSYNC_LET(view, tail_->look());
    backfilled = view.backfilled >= view.header.max_frame;
  }
  // What a burst left behind: the file stays as long as it ever was.
  bool file_too_large = wal_bytes > 2 * setup_.wal_bytes_max;
  if (backfilled && file_too_large && now - last_news_ > kQuietBeforeCheckpoint) {
    auto emptied = tail_->checkpointer().truncate_log();
    const bool is_empty = emptied && *emptied;
    if (is_empty) file_too_large = false;
    if (!emptied && emptied.error().kind != ErrorKind::transient) return std::move(emptied).error();
    // Seen empty before the next writer comes, so that its frames are known to be the next ones.
    if (is_empty) TILLSYNC_TRY(capture_frames(any));
    if (!continuous_) return milliseconds(0);
  }
  if (now - last_news_ >= setup_.idle_release && backfilled) {
    TILLSYNC_TRY(release_when_idle());
    if (idle_) return milliseconds(60000);
    // Something was written while the files were let go.
    if (!tail_) return milliseconds(0);
  }
  nothing_after_ = tail_->view();  // of the mark: a later look may show a commit that came meanwhile
  // A mark begins in slot 0 only where all was copied before, and where no checkpoint is just ending. One that does not
  // keeps the application from emptying its log, and is held for no longer than a moment.
  const bool copied_before = at_first.header == view.header && at_first.backfilled >= at_first.header.max_frame;
  if (backoff_ >= std::size(kLookAgain)) copied_rounds_ = backfilled && copied_before ? copied_rounds_ + 1 : 0;
  return wait_for_news(backfilled, file_too_large);
}

// Whether the log is as it was when everything in it had been captured and our mark was set on its end: most looks
// after a commit, and for those nothing but the index is read. A log that is copied, or can be, needs more: the mark
// is to move to slot 0, and the log to be emptied.
bool Capturer::is_nothing_new(const WalIndexView& view) const {
  if (!nothing_after_ || !(view.header == nothing_after_->header) || view.backfilled != nothing_after_->backfilled)
    return false;
  const bool asked = !taken_cuts_.empty() || !taken_captures_.empty() || !taken_activations_.empty();
  const bool copied = view.backfilled >= view.header.max_frame;
  const bool large = wal_frame_offset(view.header.max_frame + 1, view.header.page_size) > setup_.wal_bytes_max;
  const bool quiet = setup_.clock->steady_now() - last_news_ > kQuietBeforeCheckpoint;
  return !asked && !copied && !large && !quiet && tail_->holding();
}

// backfilled: nothing is left to copy.
Result<milliseconds> Capturer::wait_for_news(bool backfilled, bool file_too_large) {
  if (!backfilled && backoff_ >= kLooksBeforeBreath) {
    TILLSYNC_TRY(make_way_for_checkpoint());
    if (!continuous_) return milliseconds(0);
  }
  if (backoff_ < std::size(kLookAgain)) return kLookAgain[backoff_++];
  auto until_idle = std::chrono::ceil<milliseconds>(setup_.idle_release - (setup_.clock->steady_now() - last_news_));
  if (!backfilled) copied_rounds_ = 0;
  if (copied_rounds_ < kCopiedRounds) backfilled = false;
  // No file event tells when either can be done.
  const milliseconds again = !backfilled      ? milliseconds(100)
                             : file_too_large ? kQuietBeforeCheckpoint
                                              : milliseconds(60000);
  return std::clamp(until_idle, milliseconds(1), again);
}

// A checkpoint of the application that waits for readers (TRUNCATE) waits for a slot, not for what was in it when it
// looked: the slot that our newest mark has taken meanwhile, it would wait for until its patience ends. Everything is
// captured and the checkpointer keeps writers out, so our mark goes, and comes back at the next sign of life. The
// writer lock is not asked for: a till without patience of its own would notice.
Result<void> Capturer::make_way_for_checkpoint() {
  TILLSYNC_LET(bool waited_for, tail_->checkpointer().others_checkpoint());
  if (!waited_for) return {};
  nothing_after_.reset();
  TILLSYNC_LET(const WalIndexView before, tail_->look());
  CapturePosition position = ingest_->position();
  if (!(before.header.salts == position.wal.salts) || before.header.max_frame != position.wal.frame) return {};
  tail_->release();
  for (int i = 0; i < kBreathSteps; i++) {
    std::this_thread::sleep_for(kBreathStep);
    auto seen = tail_->look();
    if (seen && (!(seen->header == before.header) || seen->backfilled >= seen->header.max_frame)) break;
  }
  TILLSYNC_TRY(tail_->hold());
  TILLSYNC_LET(const WalIndexView after, tail_->look());
  if (after.header.salts == position.wal.salts) return {};
  // Begun anew: the counter of commits says whether one was before that, and so was never seen.
  const bool emptied = after.header.salts.salt1 == position.wal.salts.salt1 + 1 && after.header.max_frame == 0 &&
                       after.header.change == before.header.change;
  if (!emptied) return continuous_ = false, Result<void>();
  position.wal = {after.header.salts, 0, {}};
  return ingest_->commit(position);
}

Result<void> Capturer::bound_log() {
  TILLSYNC_LET(uint64_t used, log_bytes_used());
  if (used <= setup_.wal_bytes_max) return {};
  TILLSYNC_LET(FrameNo left, frames_left());
  if (used <= let_go_at() || left <= kFramesWithinReach) {
    TILLSYNC_TRY(relieve_wal());
    // Done or not: each try syncs the application's files, and the till needs the disk more than we do.
    if (used <= let_go_at()) next_relief_ = std::max(next_relief_, setup_.clock->steady_now() + kPauseBetweenTries);
    if (!continuous_ || setup_.clock->steady_now() < next_relief_) return {};
    TILLSYNC_LET(used, log_bytes_used());
    // Captured and copied whole: the next writer begins it anew.
    TILLSYNC_LET(left, frames_left());
    TILLSYNC_LET(const WalIndexView view, tail_->look());
    if (left == 0 && view.backfilled >= view.header.max_frame) return {};
  }
  return used > let_go_at() ? let_go_of_log() : Result<void>();
}

// Not captured yet.
Result<FrameNo> Capturer::frames_left() {
  TILLSYNC_LET(WalIndexView view, tail_->look());
  const WalPosition& position = ingest_->position().wal;
  return view.header.max_frame - (view.header.salts == position.salts ? position.frame : 0);
}

namespace {
Result<std::pair<int, int>> checkpoint_patiently(AppDatabase& by, int steps) {
  while (true) {
    auto done = by.checkpoint();
    if (done || done.error().kind != ErrorKind::transient || steps-- == 0) return done;
    std::this_thread::sleep_for(kCheckpointStep);
  }
}
}  // namespace

// Copies without the writer lock until what is left is little, or no longer shrinks. False: it can't all be copied,
// because a reader holds an older state.
Result<bool> Capturer::copy_most(AppDatabase& by) {
  FrameNo before = ~FrameNo{0};
  for (int attempt = 0; attempt < kReliefAttempts; attempt++) {
    TILLSYNC_LET(auto copied, checkpoint_patiently(by, kCheckpointStepsHard));
    TILLSYNC_LET(WalIndexView view, tail_->look());
    // A writer that began a moment ago reads a state a little older, and soon ends.
    if (copied.first - copied.second > static_cast<int>(kFramesUnderLock)) return false;
    const FrameNo left = view.header.max_frame - view.backfilled;
    // Every further time over the log has grown again by what the writers wrote meanwhile.
    if (wal_frame_offset(view.header.max_frame + 1, view.header.page_size) >= empty_at()) break;
    if (left <= kCopiedUnderLock || left > before / 2) break;
    before = left;
  }
  return true;
}

// Waits for the application's own checkpointer, which nobody waits for; then under the writer lock, for readers.
Result<void> Capturer::empty_patiently() {
  for (int steps = kCheckpointStepsHard;; steps--) {
    const auto start = setup_.clock->steady_now();
    auto emptied = tail_->spare().truncate_log(kTruncatePatience);
    if (!emptied || *emptied) {
      count_blocked(start);
      return emptied ? Result<void>() : std::move(emptied).error();
    }
    if (steps == 0) return Error{ErrorKind::transient, 0, "the application's own checkpoints never end"};
    std::this_thread::sleep_for(kCheckpointStep);
  }
}

// The till's disk comes first: frames that were not captured yet may be overwritten, and are caught up by a scan.
Result<void> Capturer::let_go_of_log() {
  tail_->release();
  auto done = [&]() -> Result<void> {
    TILLSYNC_LET(bool free, copy_most(tail_->spare()));
    if (!free) return {};
    // Without the lock a writer without pause leaves always something to copy, and the log goes on. The next writer
    // begins it anew, but for one that has begun to read: where that has happened, it is emptied here, which is dearer.
    TILLSYNC_LET(uint64_t used, log_bytes_used());
    if (used < empty_at()) {
      return while_writers_wait(kWriterLockPatienceHard, [&]() -> Result<void> {
        TILLSYNC_TRY(checkpoint_patiently(tail_->spare(), kCheckpointStepsHard));
        return tail_->hold();
      });
    }
    return empty_patiently();
  }();
  if (!tail_->holding()) TILLSYNC_TRY(tail_->hold());
  if (!done && done.error().kind != ErrorKind::transient) return done;
  // One look, after the new mark: what it shows can't be begun anew while frames of it are not copied.
  TILLSYNC_LET(WalIndexView view, tail_->look());
  const bool copied = view.backfilled >= view.header.max_frame;
  if (ingest_) {
    const WalPosition& position = ingest_->position().wal;
    const bool captured = position.frame >= view.header.max_frame;
    continuous_ = continuous_ && view.header.salts == position.salts && (captured || !copied);
  }
  // A reader of the application's own is in the way: letting go again at once would not help.
  if (!copied) next_relief_ = setup_.clock->steady_now() + kReliefPause;
  return {};
}

// Runs `work` under the application's writer lock, and counts the time. transient: it was never free.
Result<void> Capturer::while_writers_wait(milliseconds patience, const std::function<Result<void>()>& work) {
  // Before the writer lock, so that no writer waits for another database's commit, nor for our disk.
  auto lease = setup_.state->lease();
  auto start = setup_.clock->steady_now();
  // A sleeping waiter is starved by a fast writer; a short spin is not.
  while (true) {
    auto locked = tail_->checkpointer().begin_immediate();
    if (locked) break;
    if (locked.error().kind != ErrorKind::transient) return locked;
    if (setup_.clock->steady_now() - start > patience) return locked;
  }
  auto locked_at = setup_.clock->steady_now();
  setup_.state->allow_checkpoints(false);
  auto done = work();
  tail_->checkpointer().rollback();
  setup_.state->allow_checkpoints(true);
  count_blocked(locked_at);
  return done;
}

void Capturer::count_blocked(Steady::time_point since) {
  double blocked = ms_of(setup_.clock->steady_now() - since);
  std::lock_guard lock(mutex_);
  status_.pos_blocked_ms += blocked;
  status_.pos_blocked_ms_max = std::max(status_.pos_blocked_ms_max, blocked);
}

// Lets a writer restart a log that a writer without pause keeps from being restarted. Everything that takes long comes
// before the lock: copying and its syncs, then what was written meanwhile.
Result<void> Capturer::relieve_wal() {
  bool relieved = false, reader = false;
  auto attempt = [&]() -> Result<void> {
    TILLSYNC_TRY(checkpoint_patiently(tail_->checkpointer(), kCheckpointSteps));
    TILLSYNC_LET(WalIndexView view, tail_->look());
    const WalPosition& position = ingest_->position().wal;
    // Someone else reads an older state: nothing is gained by keeping writers waiting.
    reader = view.header.salts == position.salts && view.backfilled < position.frame;
    if (reader) return {};
    for (FrameNo before = ~FrameNo{0};;) {
      TILLSYNC_LET(FrameNo left, frames_left());
      if (left <= kFramesUnderLock / 2 || left > before / 2) break;
      before = left;
      bool any = false;
      TILLSYNC_TRY(capture_frames(any, false));
      if (!continuous_) return {};
    }
    TILLSYNC_LET(FrameNo left, frames_left());
    if (left > kFramesUnderLock) return {};
    return while_writers_wait(kWriterLockPatience, [&]() -> Result<void> {
      TILLSYNC_LET(left, frames_left());
      TILLSYNC_LET(view, tail_->look());
      // Too much to be done while writers wait: once more without the lock.
      if (left > kFramesUnderLock || view.header.max_frame > view.backfilled + kCopiedUnderLock) return {};
      bool any = false;
      TILLSYNC_TRY(capture_frames(any, false));
      if (!continuous_) return {};
      // It ends early where the log is too large. Frames that are left need our mark: the log would go on without them.
      TILLSYNC_LET(left, frames_left());
      if (left > 0) return {};
      relieved = true;
      tail_->release();
      auto done = checkpoint_patiently(tail_->spare(), kCheckpointSteps);
      // Begins in slot 0 when all is copied, so that the next writer may start the log anew.
      TILLSYNC_TRY(tail_->hold());
      if (!done) return std::move(done).error();
      return {};
    });
  };
  for (int i = 0; i < kReliefAttempts; i++) {
    TILLSYNC_LET(FrameNo left, frames_left());
    if (i > 0 && left > kFramesWithinReach) break;
    auto done = attempt();
    // The application's own checkpointer is at work, or the writer lock was never free.
    if (!done && done.error().kind == ErrorKind::transient && tail_->holding()) return {};
    TILLSYNC_TRY(done);
    if (reader) next_relief_ = setup_.clock->steady_now() + kReliefPause;
    if (relieved || reader || !continuous_) return {};
  }
  return {};
}

Result<void> Capturer::release_when_idle() {
  // What the files are while our mark still holds the log: a commit after it shows as another identity, unless it comes
  // within the same tick of the file system's clock. So not before that is over.
  TILLSYNC_LET(Identity captured, identity());
  if (is_recent(captured)) return {};
  TILLSYNC_TRY(ingest_->write_back());
  bool any = false;
  TILLSYNC_TRY(capture_frames(any));
  if (any || !continuous_) return {};
  TILLSYNC_LET(WalIndexView view, tail_->look());
  if (!(view.header == tail_->view().header) || view.backfilled < view.header.max_frame) return {};
  WalTail::close_cleanly(std::move(tail_));
  continuous_ = false;
  TILLSYNC_LET(Identity now, identity());
  bool log_untouched =
      now.wal_size == 0 || (now.wal_size == captured.wal_size && now.wal_mtime_ns == captured.wal_mtime_ns);
  if (!now.same_database(captured) || !log_untouched) return {};
  TILLSYNC_TRY(store_identity(captured));
  idle_identity_ = now;
  idle_ = true;
  ingest_->replica().forget_pages();
  if (setup_.on_idle) setup_.on_idle();
  return {};
}

}  // namespace tillsync
