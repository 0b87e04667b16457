#include "state/state_db.h"

#include "state/migrations.h"

namespace tillsync {

namespace {
constexpr int kCheckpointPages = 2000;
}

int state_schema_version_latest() { return state_migrations().back().version; }

Result<std::unique_ptr<StateDb>> StateDb::open(const std::string& path, const char* vfs, Clock& clock) {
  std::unique_ptr<StateDb> state(new StateDb);
  TILLSYNC_LET(auto connection,
               Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs).with("open " + path));
  state->connection_ = std::move(connection);
  state->vfs_ = vfs;
  auto prepare = [&]() -> Result<void> {
    // EXCLUSIVE before WAL: the wal-index then lives in our memory and no shared memory is needed.
    TILLSYNC_TRY(state->connection_.execute(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2048;"
        "PRAGMA foreign_keys=ON; PRAGMA journal_size_limit=16777216"));
    state->allow_checkpoints(true);
    return migrate(state->connection_, state_migrations(), clock);
  };
  auto ready = prepare();
  if (!ready) {
    if ((ready.error().code & 0xff) == SQLITE_BUSY)
      return Error{ErrorKind::conflict, ready.error().code,
                   path + " is held by another process; is another agent running on this state_dir?"};
    return std::move(ready).error().with(path);
  }
  return state;
}

StateDb::Lease StateDb::lease() { return Lease(std::unique_lock(mutex_), connection_); }

void StateDb::allow_checkpoints(bool allowed) {
  auto db = lease();
  sqlite3_wal_autocheckpoint(db->handle(), allowed ? kCheckpointPages : 0);
}

Result<void> StateDb::make_durable() {
  auto db = lease();
  // A commit with synchronous=FULL syncs the write-ahead log, and with it every earlier commit. It has to change
  // something: SQLite does not dirty a page for a value that is equal to the old one, and then syncs nothing. (A
  // counter kept in memory began at 1 again with each start, and the first call of a start was without effect.)
  durable_syncs_++;
  TILLSYNC_TRY(db->execute("PRAGMA synchronous=FULL"));
  auto done = db->execute(
      "INSERT INTO settings(key, value) VALUES('durable_syncs', '1')"
      " ON CONFLICT(key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)");
  TILLSYNC_TRY(db->execute("PRAGMA synchronous=NORMAL"));
  return done;
}

Result<std::optional<std::string>> StateDb::setting(const std::string& key) {
  auto db = lease();
  TILLSYNC_LET(auto query, db->cached("SELECT value FROM settings WHERE key=?"));
  query->bind(1, key);
  TILLSYNC_LET(bool found, query->step());
  std::optional<std::string> value;
  if (found) value = query->text(0);
  query->reset();
  return value;
}

Result<void> StateDb::set_setting(const std::string& key, std::string_view value) {
  auto db = lease();
  TILLSYNC_LET(
      auto put,
      db->cached("INSERT INTO settings(key, value) VALUES(?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value"));
  return put->bind(1, key).bind(2, value).run();
}

}  // namespace tillsync
