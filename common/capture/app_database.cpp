#include "capture/app_database.h"

#include <algorithm>
#include <limits>

#include "base/checks.h"

namespace tillsync {

namespace {
constexpr int kWalIndexBlock = 32768;
constexpr int kCheckpointLock = 1;  // WAL-mode file format §2.3.1: 0 writer, 1 checkpointer, 2 recovery, 3 … readers

Result<sqlite3_file*> file_handle(Connection& connection, int which) {
  sqlite3_file* file = nullptr;
  int rc = sqlite3_file_control(connection.handle(), "main", which, &file);
  if (rc != SQLITE_OK) return sqlite_error(rc, "find the file handle", connection.handle());
  if (!file || !file->pMethods) return Error{ErrorKind::transient, 0, "the write-ahead log is not open yet"};
  return file;
}
}  // namespace

Result<AppDatabase> AppDatabase::open(const std::string& path, Use use) {
  AppDatabase database;
  TILLSYNC_LET(database.connection_, Connection::open(path, SQLITE_OPEN_READWRITE));
  sqlite3* handle = database.connection_.handle();
  sqlite3_busy_timeout(handle, 0);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // Its triggers, views and functions must not run in our process.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  TILLSYNC_TRY(
      database.connection_.execute("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-64"));
  // query_only would forbid the writer lock that the checkpoint section takes.
  if (use == Use::read) TILLSYNC_TRY(database.connection_.execute("PRAGMA query_only=ON"));
  return database;
}

Result<void> AppDatabase::begin_read() {
  TILLSYNC_CHECK(!reading_);
  TILLSYNC_TRY(run("BEGIN"));
  // Reads page 1 and takes the lock, but does not parse the application's schema.
  auto first = run("PRAGMA schema_version");
  if (!first) {
    rollback();
    return first;
  }
  reading_ = true;
  return {};
}

void AppDatabase::end_read() {
  if (!reading_) return;
  reading_ = false;
  rollback();
}

Result<std::string> AppDatabase::journal_mode() { return connection_.query_text("PRAGMA journal_mode"); }

Result<WalIndexView> AppDatabase::wal_index() {
  TILLSYNC_LET(sqlite3_file * file, file_handle(connection_, SQLITE_FCNTL_FILE_POINTER));
  if (file->pMethods->iVersion < 2) return Error{ErrorKind::internal, 0, "SQLite's file has no shared memory"};
  void volatile* shared = nullptr;
  int rc = file->pMethods->xShmMap(file, 0, kWalIndexBlock, 0, &shared);
  if (rc != SQLITE_OK) return sqlite_error(rc, "map the wal-index", connection_.handle());
  if (!shared) return Error{ErrorKind::transient, 0, "the wal-index is not there yet"};
  // A writer stores the second copy, a barrier, then the first: reading first, barrier, second shows a torn header as
  // two copies that differ.
  const auto* p = const_cast<const uint8_t*>(static_cast<volatile uint8_t*>(shared));
  std::array<uint8_t, kWalIndexHeaderSize> copy;
  for (int attempt = 0; attempt < 100; attempt++) {
    std::memcpy(copy.data(), p, 48);
    file->pMethods->xShmBarrier(file);
    std::memcpy(copy.data() + 48, p + 48, kWalIndexHeaderSize - 48);
    if (auto header = WalIndexHeader::parse(copy))
      return WalIndexView{*header, le32(copy.data() + kWalIndexBackfillOffset)};
  }
  return Error{ErrorKind::transient, 0, "the wal-index is being written"};
}

Result<void> AppDatabase::read_wal(uint64_t offset, MutableBytes out) {
  TILLSYNC_LET(sqlite3_file * file, file_handle(connection_, SQLITE_FCNTL_JOURNAL_POINTER));
  // xRead takes a C int; a log can be longer than that.
  constexpr size_t kChunk = 1 << 20;
  for (size_t done = 0; done < out.size(); done += kChunk) {
    size_t n = std::min(kChunk, out.size() - done);
    int rc =
        file->pMethods->xRead(file, out.data() + done, static_cast<int>(n), static_cast<sqlite3_int64>(offset + done));
    if (rc == SQLITE_IOERR_SHORT_READ)
      return Error{ErrorKind::corrupt, rc, "the write-ahead log ends before its committed frames"};
    if (rc != SQLITE_OK) return sqlite_error(rc, "read the write-ahead log", connection_.handle());
  }
  return {};
}

Result<uint64_t> AppDatabase::wal_size() {
  TILLSYNC_LET(sqlite3_file * file, file_handle(connection_, SQLITE_FCNTL_JOURNAL_POINTER));
  sqlite3_int64 size = 0;
  int rc = file->pMethods->xFileSize(file, &size);
  if (rc != SQLITE_OK) return sqlite_error(rc, "size of the write-ahead log", connection_.handle());
  return static_cast<uint64_t>(size);
}

Result<void> AppDatabase::begin_immediate() { return run("BEGIN IMMEDIATE"); }
void AppDatabase::rollback() { (void)run("ROLLBACK").has_value(); }

// With each commit of the application several of these run: prepared once.
Result<void> AppDatabase::run(const char* sql) {
  TILLSYNC_LET(Statement * statement, connection_.cached(sql));
  return statement->run();
}

Result<bool> AppDatabase::others_checkpoint() {
  TILLSYNC_LET(sqlite3_file * file, file_handle(connection_, SQLITE_FCNTL_FILE_POINTER));
  if (file->pMethods->iVersion < 2) return Error{ErrorKind::internal, 0, "SQLite's file has no shared memory"};
  int rc = file->pMethods->xShmLock(file, kCheckpointLock, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
  if (rc == SQLITE_BUSY) return true;
  if (rc != SQLITE_OK) return sqlite_error(rc, "ask for the checkpoint lock", connection_.handle());
  file->pMethods->xShmLock(file, kCheckpointLock, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
  return false;
}

Result<std::pair<int, int>> AppDatabase::checkpoint() {
  int log = -1, copied = -1;
  int rc = sqlite3_wal_checkpoint_v2(connection_.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &log, &copied);
  if (rc != SQLITE_OK) return sqlite_error(rc, "checkpoint", connection_.handle());
  return std::pair(log, copied);
}

Result<bool> AppDatabase::truncate_log(std::chrono::milliseconds patience) {
  using clock = std::chrono::steady_clock;
  struct Waiting {
    clock::time_point until;
    bool asked = false;
  } waiting{clock::now() + patience};
  sqlite3_busy_handler(
      connection_.handle(),
      [](void* raw, int) {
        auto& wait = *static_cast<Waiting*>(raw);
        wait.asked = true;
        return clock::now() < wait.until ? 1 : 0;
      },
      &waiting);
  int rc = sqlite3_wal_checkpoint_v2(connection_.handle(), "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_handler(connection_.handle(), nullptr, nullptr);
  // SQLite asks its handler about writers and readers, and never about another checkpointer.
  if (rc == SQLITE_BUSY && !waiting.asked) return false;
  if (rc != SQLITE_OK) return sqlite_error(rc, "empty the write-ahead log", connection_.handle());
  return true;
}

Result<std::unique_ptr<DatabaseReader>> DatabaseReader::create(AppDatabase& database) {
  TILLSYNC_CHECK(database.reading());
  auto reader = std::make_unique<DatabaseReader>();
  Connection& connection = database.connection();
  TILLSYNC_LET(int64_t page_size, connection.query_integer("PRAGMA page_size"));
  TILLSYNC_LET(int64_t page_count, connection.query_integer("PRAGMA page_count"));
  reader->page_size_ = static_cast<uint32_t>(page_size);
  reader->page_count_ = static_cast<PageNo>(page_count);
  TILLSYNC_LET(reader->query_, connection.prepare("SELECT data FROM sqlite_dbpage WHERE pgno=?"));
  return reader;
}

Result<void> DatabaseReader::read(PageNo number, MutableBytes out) {
  query_.bind(1, number);
  TILLSYNC_LET(bool found, query_.step());
  ByteView data = found ? query_.blob(0) : ByteView();
  if (data.size() != out.size()) {
    query_.reset();
    return Error{ErrorKind::corrupt, 0, "page " + std::to_string(number) + " can't be read from the database"};
  }
  std::memcpy(out.data(), data.data(), out.size());
  query_.reset();
  return {};
}

Result<PageRef> DatabaseReader::page(PageNo number) {
  PageRef page = PageRef::allocate(page_size_);
  TILLSYNC_TRY(read(number, page.mutable_view()));
  return page;
}

}  // namespace tillsync
