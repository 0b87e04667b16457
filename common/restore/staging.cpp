#include "restore/staging.h"

#include <algorithm>

namespace tillsync {

// The copy is opened without a WAL, which the application's mode would ask for.
Result<void> Staging::set_journal_mode_bytes(uint8_t value) {
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_LET(uint64_t size, file->size());
  if (size == 0) return {};
  uint8_t both[2] = {value, value};
  return file->write(18, both);
}

Result<void> Staging::fill(const RestorePlan& plan, const Progress& progress, bool to_keep) {
  // The rest of an interrupted replay would be rolled into the new content.
  TILLSYNC_TRY(remove_staged(files_, path_));
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::create_new));
  TILLSYNC_TRY(materialize(
      store_, plan.chain, *file, [&](uint64_t done, uint64_t total) { return !progress || progress(0, done, total); },
      to_keep));
  uint8_t mode[1] = {1};
  TILLSYNC_LET(size_t got, file->read(18, mode));
  journal_mode_ = got == 1 ? mode[0] : 1;
  outcome_ = {};
  durable_ = false;
  TILLSYNC_LET(outcome_.bytes, file->size());
  file.reset();
  expected_ = plan.chain.target().tables;
  std::sort(expected_.begin(), expected_.end());
  outcome_.sequence = plan.chain.target().sequence;
  outcome_.transaction = plan.chain.target().transaction;
  outcome_.page_level = plan.chain.target().is_page_level();
  // Of a damaged database no byte is ours to change.
  return outcome_.page_level ? Result<void>() : set_journal_mode_bytes(1);
}

Result<void> Staging::put_in(Connection& db) {
  if (durable_) TILLSYNC_TRY(db.execute("PRAGMA synchronous=FULL"));
  TILLSYNC_LET(const int64_t busy, db.query_integer("PRAGMA wal_checkpoint(TRUNCATE)"));
  if (busy) return Error{ErrorKind::internal, 0, path_ + ": its log could not be put into it"};
  return {};
}

// The file changes at the end alone: no checkpoint comes before, neither one by itself nor that of a close.
Result<void> Staging::write_aside(const RestorePlan& plan, StagedAs as,
                                  const std::function<Result<void>(Connection&)>& work, const Json& notes) {
  auto done = [&]() -> Result<void> {
    TILLSYNC_TRY(set_journal_mode_bytes(2));
    TILLSYNC_LET(auto db, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
    sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    TILLSYNC_TRY(
        db.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
                   "PRAGMA synchronous=OFF; PRAGMA cache_size=-8192"));
    TILLSYNC_TRY(work(db));
    if (durable_) {
      // A log that changed nothing may not be there.
      auto log = files_.open(path_ + "-wal", OpenMode::read_write);
      if (log) TILLSYNC_TRY((*log)->sync());
      if (!log && log.error().kind != ErrorKind::not_found) return std::move(log).error();
      TILLSYNC_TRY(write_state(plan, as, true, notes));
    }
    return put_in(db);
  }();
  if (!done) {
    // With a state that names the log, the log stays.
    if (auto state = files_.stat(state_path()); !durable_ || !state) (void)drop_aside().has_value();
    return done;
  }
  TILLSYNC_LET(auto info, files_.stat(path_));
  outcome_.bytes = info.size;
  if (as == StagedAs::changed) TILLSYNC_TRY(count_anew());
  // A state that names the log must not outlive it.
  if (durable_) TILLSYNC_TRY(write_state(plan, as, false, notes));
  return drop_aside();
}

Result<void> Staging::count_anew() {
  TILLSYNC_LET(expected_, count_tables(files_, path_));
  std::sort(expected_.begin(), expected_.end());
  return {};
}

Result<void> Staging::drop_aside() {
  auto removed = files_.remove(path_ + "-wal");
  if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
  return set_journal_mode_bytes(1);
}

Result<void> Staging::change(const RestorePlan& plan, const std::function<Result<void>(Connection&)>& work,
                             const Json& notes) {
  return write_aside(plan, StagedAs::changed, work, notes);
}

Result<void> remove_staged(FileSystem& files, const std::string& path) {
  bool any = false;
  for (const char* suffix : {".state", ".state.tmp", "-journal", "-wal", ""}) {
    auto removed = files.remove(path + suffix);
    if (!removed && removed.error().kind != ErrorKind::not_found) return removed;
    any = any || removed;
  }
  return any ? files.sync_directory(directory_of(path)) : Result<void>();
}

Result<void> Staging::seal() {
  if (!outcome_.page_level) TILLSYNC_TRY(set_journal_mode_bytes(journal_mode_));
  TILLSYNC_LET(auto file, files_.open(path_, OpenMode::read_write));
  TILLSYNC_TRY(file->sync());
  return files_.sync_directory(directory_of(path_));
}

}  // namespace tillsync
