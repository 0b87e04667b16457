// How a Capturer follows the write-ahead log, keeps it bounded, and lets it go when nothing comes.
#include "capture/capturer.h"

#include <algorithm>
#include <iterator>

namespace tillsync {

using std::chrono::milliseconds;

namespace {
// After an event, and while a checkpoint is outstanding: look again soon, then rarer. The commit becomes visible after
// the file event, and a checkpoint by the application causes none.
constexpr milliseconds kLookAgain[] = {milliseconds(1),  milliseconds(2),  milliseconds(5),  milliseconds(10),
                                       milliseconds(20), milliseconds(50), milliseconds(100)};
constexpr milliseconds kQuietBeforeCheckpoint{1000};
constexpr milliseconds kWriterLockPatience{50};
constexpr milliseconds kReliefPause{100};
constexpr FrameNo kFramesUnderLock = 32;

double ms_of(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }
}  // namespace

Result<void> Capturer::capture_frames(bool& any, bool may_write_back) {
  any = false;
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
      any = true;
      // Only of the last one is it known when it was written.
      const bool last = position.wal.frame == tail_->view().header.max_frame;
      TILLSYNC_TRY(ingest_->transaction(*tail_, pages, page_count, 0, last ? committed : std::nullopt));
      if (!ingest_->batch_full()) continue;
      TILLSYNC_TRY(ingest_->commit(position));
      after_commit(true);
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

Result<milliseconds> Capturer::wal_round() {
  if (!ingest_ || !continuous_) TILLSYNC_TRY(start_or_catch_up());
  bool any = false;
  TILLSYNC_TRY(capture_frames(any));
  if (!continuous_) return milliseconds(0);
  TILLSYNC_TRY(ingest_->write_back_if_large());
  auto now = setup_.clock->steady_now();
  TILLSYNC_LET(uint64_t wal_bytes, tail_->wal_size());
  uint64_t used = wal_frame_offset(tail_->view().header.max_frame + 1, tail_->view().header.page_size);
  {
    std::lock_guard lock(mutex_);
    status_.wal_bytes = wal_bytes;
  }
  TILLSYNC_LET(WalIndexView view, tail_->look());
  // A log that is copied whole does not grow: the next writer begins it anew.
  if (view.backfilled < view.header.max_frame && now >= next_relief_) {
    if (used > setup_.wal_bytes_hard) {
      TILLSYNC_TRY(let_go_of_log());
    } else if (used > setup_.wal_bytes_max) {
      TILLSYNC_TRY(relieve_wal());
    }
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
  if (backfilled && wal_bytes > 2 * setup_.wal_bytes_max && now - last_news_ > kQuietBeforeCheckpoint) {
    auto emptied = tail_->checkpointer().truncate_log();
    if (!emptied && emptied.error().kind != ErrorKind::transient) return std::move(emptied).error();
    // Seen empty before the next writer comes, so that its frames are known to be the next ones.
    if (emptied) TILLSYNC_TRY(capture_frames(any));
    if (!continuous_) return milliseconds(0);
  }
  if (now - last_news_ >= setup_.idle_release && backfilled) {
    TILLSYNC_TRY(release_when_idle());
    if (idle_) return milliseconds(60000);
    // Something was written while the files were let go.
    if (!tail_) return milliseconds(0);
  }
  if (backoff_ < std::size(kLookAgain)) return kLookAgain[backoff_++];
  auto until_idle = std::chrono::ceil<milliseconds>(setup_.idle_release - (now - last_news_));
  return std::clamp(until_idle, milliseconds(1), backfilled ? milliseconds(60000) : milliseconds(100));
}

// The till's disk comes first: frames that were not captured yet may be overwritten, and are caught up by a scan.
Result<void> Capturer::let_go_of_log() {
  tail_->release();
  auto done = tail_->spare().checkpoint();
  TILLSYNC_TRY(tail_->hold());
  if (!done && done.error().kind != ErrorKind::transient) return std::move(done).error();
  // One look, after the new mark: what it shows can't be begun anew while frames of it are not copied.
  TILLSYNC_LET(WalIndexView view, tail_->look());
  const WalPosition& position = ingest_->position().wal;
  const bool copied = view.backfilled >= view.header.max_frame;
  const bool captured = position.frame >= view.header.max_frame;
  continuous_ = view.header.salts == position.salts && (captured || !copied);
  // A reader of the application's own is in the way: letting go again at once would not help.
  if (!copied) next_relief_ = setup_.clock->steady_now() + kReliefPause;
  return {};
}

// Lets a writer restart a log that a writer without pause keeps from being restarted.
Result<void> Capturer::relieve_wal() {
  auto most = tail_->checkpointer().checkpoint();
  if (!most) return most.error().kind == ErrorKind::transient ? Result<void>() : Result<void>(std::move(most).error());
  {
    // Someone else reads an older state: nothing is gained by keeping writers waiting.
    TILLSYNC_LET(WalIndexView view, tail_->look());
    const WalPosition& position = ingest_->position().wal;
    if (view.header.salts == position.salts && view.backfilled < position.frame) {
      next_relief_ = setup_.clock->steady_now() + kReliefPause;
      return {};
    }
  }
  // Before the writer lock, so that no writer waits for another database's commit, nor for our disk.
  auto lease = setup_.state->lease();
  auto start = setup_.clock->steady_now();
  // A sleeping waiter is starved by a fast writer; a short spin is not.
  while (true) {
    auto locked = tail_->checkpointer().begin_immediate();
    if (locked) break;
    if (locked.error().kind != ErrorKind::transient) return std::move(locked).error();
    if (setup_.clock->steady_now() - start > kWriterLockPatience) return {};
  }
  auto locked_at = setup_.clock->steady_now();
  setup_.state->allow_checkpoints(false);
  auto rest = [&]() -> Result<void> {
    TILLSYNC_LET(WalIndexView view, tail_->look());
    const WalPosition& position = ingest_->position().wal;
    const FrameNo first = view.header.salts == position.salts ? position.frame : 0;
    // Too much to be captured while writers wait: once more without the lock.
    if (view.header.max_frame > first + kFramesUnderLock) return {};
    bool any = false;
    TILLSYNC_TRY(capture_frames(any, false));
    if (!continuous_) return {};
    tail_->release();
    auto done = tail_->spare().checkpoint();
    // Begins in slot 0 when all is copied, so that the next writer may start the log anew.
    TILLSYNC_TRY(tail_->hold());
    if (!done && done.error().kind != ErrorKind::transient) return std::move(done).error();
    return {};
  }();
  tail_->checkpointer().rollback();
  setup_.state->allow_checkpoints(true);
  double blocked = ms_of(setup_.clock->steady_now() - locked_at);
  std::lock_guard lock(mutex_);
  status_.pos_blocked_ms += blocked;
  status_.pos_blocked_ms_max = std::max(status_.pos_blocked_ms_max, blocked);
  return rest;
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
  return {};
}

}  // namespace tillsync
