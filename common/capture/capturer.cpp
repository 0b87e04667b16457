#include "capture/capturer.h"

#include <algorithm>

#include "base/checks.h"

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
constexpr milliseconds kJournalPatience{2000};

double ms_of(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }
}  // namespace

Capturer::Capturer(Setup setup) : setup_(std::move(setup)) {
  status_.name = setup_.name;
  status_.path = setup_.path;
  last_news_ = setup_.clock->steady_now();
}

Capturer::~Capturer() { stop(); }

Ingest::Setup Capturer::ingest_setup() const {
  return {setup_.files, setup_.state, setup_.clock, setup_.folder, setup_.database_id, session_id_};
}

Result<void> Capturer::open_session() {
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto insert,
               db->prepare("INSERT INTO capture_sessions(database_id, uuid, started_at) VALUES(?,?,?) RETURNING id"));
  insert.bind(1, setup_.database_id)
      .bind(2, make_uuid_v7(*setup_.clock, *setup_.random).str())
      .bind(3, to_ms(setup_.clock->now()));
  TILLSYNC_LET(bool row, insert.step());
  TILLSYNC_CHECK(row);
  session_id_ = insert.integer(0);
  return insert.run();
}

milliseconds Capturer::step() {
  auto wait = round();
  if (wait) {
    failures_ = 0;
    return *wait;
  }
  return report(std::move(wait).error());
}

milliseconds Capturer::report(Error error) {
  failures_++;
  detach();
  // An obstacle on the application's side leaves what we hold as it was at the last commit; anything else is read anew.
  bool ours_untouched =
      ingest_ && ingest_->between_batches() &&
      (error.kind == ErrorKind::transient || error.kind == ErrorKind::not_found || error.kind == ErrorKind::denied);
  if (!ours_untouched) {
    if (ingest_) ingest_->invalidate_pins();
    ingest_.reset();
  }
  if (error.kind == ErrorKind::cancelled) return milliseconds(0);
  // A checkpoint or a fast writer in the way is no problem to tell anyone about, until it lasts.
  bool tell = error.kind != ErrorKind::transient || failures_ > 20;
  fail_requests(error);
  // First everything is compared anew; where the copy itself can't be read, there is nothing to compare with.
  if (error.kind == ErrorKind::corrupt && failures_ >= 2) {
    if (rebuild_ && !copy_lost_) lose_copy(error);
    rebuild_ = true;
  }
  if (tell) {
    set_problem(capture_problem(error, setup_.path));
    publish("failed");
  }
  if (error.kind == ErrorKind::transient) return milliseconds(std::min(20 * failures_, 1000));
  if (error.kind == ErrorKind::corrupt && failures_ <= 3) return milliseconds(200);
  return milliseconds(std::min(1000 * failures_, 30000));
}

Result<milliseconds> Capturer::round() {
  if (session_id_ == 0) TILLSYNC_TRY(open_session());
  auto now = setup_.application->stat(setup_.path);
  if (!now) return std::move(now).error();
  // Replaced under its name: what we have open is the old file.
  if (tail_ && now->inode != attached_inode_) detach();

  take_requests();
  bool asked = !taken_cuts_.empty() || !taken_captures_.empty();
  if (idle_ && !asked) {
    TILLSYNC_LET(Identity current, identity());
    // The application may open and close, and make an empty -wal: no reason to come back.
    if (current == idle_identity_ || (current.same_database(idle_identity_) && current.wal_size == 0))
      return milliseconds(60000);
  }
  if (idle_ && asked && identity_or_none() == idle_identity_) {
    answer_requests();
    return milliseconds(60000);
  }
  idle_ = false;
  if (scan_mode_ && ingest_ && !asked) {
    // Events of a database without a WAL come in the middle of the application's own transaction: a look now would hold
    // a lock it needs. Only the interval counts.
    auto due = last_scan_ + setup_.scan_interval, at = setup_.clock->steady_now();
    if (at < due) return std::chrono::ceil<milliseconds>(due - at);
    // A journal is there: someone is writing this moment.
    auto journal = setup_.application->stat(setup_.path + "-journal");
    if (journal && journal->size > 0 && at < due + kJournalPatience) return milliseconds(20);
  }
  if (!ingest_) TILLSYNC_TRY(load_copy());
  if (!tail_) TILLSYNC_TRY(attach());
  if (ingest_) ingest_->log().set_dependency_floor(dependency_floor_);
  TILLSYNC_LET(milliseconds wait, scan_mode_ ? scan_round() : wal_round());
  // Let go, or a gap: nothing was captured in this round, and nobody's request is answered by it.
  if (!scan_mode_ && !idle_ && !(tail_ && continuous_)) return wait;
  set_problem(std::nullopt);
  publish(idle_ ? "idle" : scan_mode_ ? "scan" : "wal");
  answer_requests();
  return wait;
}

Result<void> Capturer::load_copy() {
  if (copy_lost_) return {};
  auto loaded = Ingest::load(ingest_setup());
  if (loaded) return ingest_ = std::move(*loaded), Result<void>();
  if (loaded.error().kind != ErrorKind::not_found && loaded.error().kind != ErrorKind::corrupt)
    return std::move(loaded).error();
  // Without it capture would stand still for ever; with a new one only the changes since the last commit have no rows.
  lose_copy(loaded.error());
  return {};
}

void Capturer::lose_copy(const Error& why) {
  copy_lost_ = true;
  if (setup_.on_copy_lost) setup_.on_copy_lost(why);
}

Result<void> Capturer::attach() {
  TILLSYNC_LET(auto info, setup_.application->stat(setup_.path));
  // Looked at first, because opening an empty or foreign file with SQLite says less about what it is.
  TILLSYNC_LET(auto probe, AppDatabase::open(setup_.path, AppDatabase::Use::read));
  TILLSYNC_TRY(probe.begin_read());
  TILLSYNC_LET(auto mode, probe.journal_mode());
  if (info.size > 0) {
    TILLSYNC_LET(auto reader, DatabaseReader::create(probe));
    if (reader->page_count() > 0) {
      TILLSYNC_LET(PageRef first, reader->page(1));
      TILLSYNC_LET(DatabaseHeader header, DatabaseHeader::parse(first.view()));
      std::lock_guard lock(mutex_);
      status_.writer_sqlite_version = header.sqlite_version;
    }
  }
  probe.end_read();
  scan_mode_ = mode != "wal";
  attached_inode_ = info.inode;
  if (scan_mode_) return {};
  TILLSYNC_LET(tail_, WalTail::attach(setup_.path));
  continuous_ = false;
  last_news_ = setup_.clock->steady_now();
  backoff_ = 0;
  if (!ingest_ || ingest_->position().source != CapturePosition::Source::wal || rebuild_) return {};
  TILLSYNC_LET(continuous_, tail_->holds(ingest_->position().wal));
  if (continuous_) return {};
  // The database file is as it was when everything had been captured and checkpointed: whatever happened since is in
  // the log, from its first frame on.
  TILLSYNC_LET(auto before, stored_identity());
  TILLSYNC_LET(Identity current, identity());
  if (before && before->same_database(current)) {
    TILLSYNC_LET(WalIndexView view, tail_->look());
    CapturePosition position = ingest_->position();
    position.wal = {{view.header.salts.salt1 - 1, 0}, 0, {}};
    TILLSYNC_TRY(ingest_->commit(position));
    // Checked again: a checkpoint between the two looks would have moved frames we have not seen.
    TILLSYNC_LET(Identity again, identity());
    continuous_ = again.same_database(current);
  }
  return {};
}

Result<void> Capturer::start_or_catch_up() {
  CapturePosition position;
  position.source = CapturePosition::Source::wal;
  TILLSYNC_LET(position.wal, tail_->advance_exactly());
  TILLSYNC_LET(auto reader, DatabaseReader::create(tail_->advanced()));
  TILLSYNC_TRY(scan_into_log(*reader, position, nullptr));
  reader.reset();
  tail_->settle();
  continuous_ = true;
  return {};
}

// Everything the read transaction sees: the baseline, or one transaction that catches up. copied: called when the read
// transaction is no longer needed.
Result<void> Capturer::scan_into_log(DatabaseReader& reader, const CapturePosition& position,
                                     std::function<void()> copied) {
  bool other_size = ingest_ && ingest_->page_size() != reader.page_size();
  bool baseline = !ingest_ || other_size || rebuild_;
  bool outgrown = false;
  uint64_t wal_before = 0;
  if (tail_) {
    TILLSYNC_LET(wal_before, tail_->wal_size());
  }
  ScanEvents events;
  events.copied = std::move(copied);
  events.progress = [&](PageNo done, PageNo all) {
    if (tail_) {
      auto wal = tail_->wal_size();
      outgrown = wal && *wal > wal_before + setup_.wal_bytes_hard;
    }
    std::lock_guard lock(mutex_);
    if (baseline) status_.baseline_percent = 100.0 * done / std::max<PageNo>(1, all);
    return !interrupted_ && !outgrown;
  };
  auto scanned = [&]() -> Result<void> {
    if (!baseline) {
      TILLSYNC_TRY(ingest_->catch_up(reader, events));
      return ingest_->commit(position);
    }
    std::unique_ptr<Ingest> previous = std::move(ingest_);
    TILLSYNC_LET(ingest_, Ingest::baseline(ingest_setup(), reader, position, previous.get(), events));
    rebuild_ = false;
    return {};
  };
  const bool followed = ingest_ != nullptr || copy_lost_;
  const TransactionNo before = ingest_ ? ingest_->log().transaction() : 0;
  auto done = scanned();
  if (!done && outgrown)
    return Error{ErrorKind::transient, 0,
                 "the application's write-ahead log grows by more than limits.wal_hard while its database is read"};
  TILLSYNC_TRY(done);
  copy_lost_ = false;
  {
    std::lock_guard lock(mutex_);
    status_.baseline_percent = 100;
    if (followed && ingest_->log().transaction() != before) status_.catch_ups++;
  }
  after_commit(true);
  return ingest_->write_back_if_large();
}

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
    while (true) {
      TILLSYNC_LET(bool more, tail_->next_transaction(position.wal, pages, page_count));
      if (!more) break;
      any = true;
      TILLSYNC_TRY(ingest_->transaction(*tail_, pages, page_count, 0));
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
  const WalPosition& position = ingest_->position().wal;
  TILLSYNC_LET(bool held, tail_->holds(position));
  TILLSYNC_LET(WalIndexView view, tail_->look());
  const bool copied = view.backfilled >= view.header.max_frame;
  if (!held || (copied && position.frame < view.header.max_frame)) continuous_ = false;
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
  TILLSYNC_TRY(ingest_->write_back());
  // What the files are while our mark still holds the log: a commit after it shows as another identity.
  TILLSYNC_LET(Identity captured, identity());
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

Result<milliseconds> Capturer::scan_round() {
  auto now = setup_.clock->steady_now();
  bool asked = !taken_cuts_.empty() || !taken_captures_.empty();
  auto due = last_scan_ == Steady::time_point{} ? now : last_scan_ + setup_.scan_interval;
  if (now < due && !asked && ingest_) return std::chrono::ceil<milliseconds>(due - now);
  TILLSYNC_LET(auto database, AppDatabase::open(setup_.path, AppDatabase::Use::read));
  TILLSYNC_LET(auto mode, database.journal_mode());
  if (mode == "wal") {
    // The application switched: the next round attaches to the log.
    scan_mode_ = false;
    return milliseconds(0);
  }
  CapturePosition position;
  position.source = CapturePosition::Source::scan;
  PageNo page_count = 0;
  // A short look, then a long one if it has to be: writers wait while either lasts.
  std::unique_ptr<DatabaseReader> reader;
  auto look = [&]() -> Result<void> {
    TILLSYNC_TRY(database.begin_read());
    TILLSYNC_LET(reader, DatabaseReader::create(database));
    page_count = reader->page_count();
    if (page_count == 0) return {};
    TILLSYNC_LET(PageRef first, reader->page(1));
    position.change_counter = be32(first.data() + 24);
    return {};
  };
  auto leave = [&] {
    reader.reset();
    database.end_read();
  };
  TILLSYNC_TRY(look());
  if (page_count == 0 && ingest_ && ingest_->replica().page_count() > 0) {
    // A file without a page is one that is being made: deleted and made anew, or put back. What it becomes is captured.
    return milliseconds(200);
  }
  last_scan_ = now;
  // The change counter alone does not tell a file that was made anew: it may have the same number of changes behind it.
  TILLSYNC_LET(Identity current, identity());
  bool same = ingest_ && !rebuild_ && ingest_->position().source == CapturePosition::Source::scan &&
              ingest_->position().change_counter == position.change_counter &&
              ingest_->replica().page_count() == page_count && scanned_ && scanned_->same_database(current);
  if (same) {
    leave();
    return setup_.scan_interval;
  }
  leave();
  // Without redo the copy is read from its files alone, and not from state.db, where another database may be
  // committing.
  if (ingest_) TILLSYNC_TRY(ingest_->write_back());
  TILLSYNC_TRY(look());
  TILLSYNC_LET(current, identity());
  TILLSYNC_TRY(scan_into_log(*reader, position, leave));
  scanned_ = current;
  return setup_.scan_interval;
}

Result<Capturer::Identity> Capturer::identity() {
  TILLSYNC_LET(auto info, setup_.application->stat(setup_.path));
  Identity identity{info.device, info.inode, info.size, info.mtime_ns};
  if (auto wal = setup_.application->stat(setup_.path + "-wal")) {
    identity.wal_size = wal->size;
    identity.wal_mtime_ns = wal->mtime_ns;
  }
  return identity;
}

std::optional<Capturer::Identity> Capturer::identity_or_none() {
  auto current = identity();
  return current ? std::optional(*current) : std::nullopt;
}

// With the place in the log it belongs to: what was captured since makes it worthless.
Result<void> Capturer::store_identity(const Identity& identity) {
  Bytes raw;
  ByteWriter w(raw);
  w.u64(identity.device);
  w.u64(identity.inode);
  w.u64(identity.size);
  w.u64(static_cast<uint64_t>(identity.mtime_ns));
  const WalPosition& position = ingest_->position().wal;
  w.u32(position.salts.salt1);
  w.u32(position.salts.salt2);
  w.u32(position.frame);
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE databases SET file_identity=? WHERE id=?"));
  return update->bind(1, ByteView(raw)).bind(2, setup_.database_id).run();
}

Result<std::optional<Capturer::Identity>> Capturer::stored_identity() {
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto query, db->cached("SELECT file_identity FROM databases WHERE id=?"));
  query->bind(1, setup_.database_id);
  TILLSYNC_LET(bool found, query->step());
  std::optional<Identity> identity;
  if (found && !query->is_null(0)) {
    ByteReader r(query->blob(0));
    Identity i;
    i.device = r.u64();
    i.inode = r.u64();
    i.size = r.u64();
    i.mtime_ns = static_cast<int64_t>(r.u64());
    WalSalts salts{r.u32(), r.u32()};
    FrameNo frame = r.u32();
    const WalPosition& position = ingest_->position().wal;
    if (r.ok() && salts == position.salts && frame == position.frame) identity = i;
  }
  query->reset();
  return identity;
}

void Capturer::detach() {
  tail_.reset();
  scan_mode_ = false;
  continuous_ = false;
}

void Capturer::stop() {
  detach();
  take_requests();
  taken_cuts_.clear();
  taken_captures_.clear();
  if (ingest_) ingest_->invalidate_pins();
  ingest_.reset();
}

}  // namespace tillsync
