// How a Capturer reads a whole database: for the baseline, after a gap, and where there is no write-ahead log.
#include "capture/capturer.h"

#include <algorithm>

#include "capture/count_tables.h"

namespace tillsync {

using std::chrono::milliseconds;

// The replica grows to the size of the database, and stays.
Result<void> Capturer::check_room() {
  TILLSYNC_LET(auto info, setup_.application->stat(setup_.path));
  TILLSYNC_TRY(setup_.files->make_directories(setup_.folder));
  TILLSYNC_LET(uint64_t free, setup_.files->free_space(setup_.folder));
  if (free >= info.size + setup_.free_space_min) return {};
  return Error{ErrorKind::no_space, 0,
               setup_.folder + ": the first copy of the database needs " + std::to_string(info.size) + " bytes, " +
                   std::to_string(free) + " are free, of which " + std::to_string(setup_.free_space_min) +
                   " are the till's (limits.min_free)"};
}

Result<void> Capturer::start_or_catch_up() {
  // What it holds is not captured frame by frame any more, and it grows while the database is read.
  TILLSYNC_LET(uint64_t used, log_bytes_used());
  TILLSYNC_LET(WalIndexView view, tail_->look());
  if (used > setup_.wal_bytes_max && view.backfilled < view.header.max_frame &&
      setup_.clock->steady_now() >= next_relief_)
    TILLSYNC_TRY(let_go_of_log());
  CapturePosition position;
  position.source = CapturePosition::Source::wal;
  // The first copy is no sign of a fast writer.
  if (ingest_) last_catch_up_ = setup_.clock->steady_now();
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
  if (!ingest_) TILLSYNC_TRY(check_room());
  // Looked through before a new copy is written: it may be as damaged as it was.
  if (damage_) TILLSYNC_TRY(count_tables(reader, reader.page_count(), &pulse_));
  uint64_t log_before = 0;
  if (tail_) {
    TILLSYNC_LET(log_before, log_bytes_used());
  }
  ScanEvents events;
  events.copied = std::move(copied);
  events.progress = [&](PageNo done, PageNo all) {
    if (tail_) {
      auto log = log_bytes_used();
      outgrown = log && *log > log_before + let_go_at();
    }
    std::lock_guard lock(mutex_);
    if (baseline) status_.baseline_percent = 100.0 * done / std::max<PageNo>(1, all);
    pulse_.beat();
    return !pulse_.is_stopped() && !outgrown;
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

}  // namespace tillsync
