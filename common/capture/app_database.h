// A connection to the application's database that leaves no trace.
//
// Purpose: read transactions, the wal-index and the WAL through SQLite's own handles. Never opens the database, -wal or
// -shm a second time in this process: on POSIX, closing any descriptor of such a file drops every lock the process
// holds on it, SQLite's included. What it never does: commit, checkpoint on close, checkpoint by itself, wait in
// SQLite's busy handler. Errors: not_found (no such file, or its folder), denied, corrupt (not SQLite, encrypted),
// transient (locked). Threads: one. Source: SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER,
// sqlite3_io_methods.xShmMap; WAL-mode file format §2.
#pragma once

#include <chrono>

#include "dbfile/page.h"
#include "dbfile/wal.h"
#include "sqlite/connection.h"

namespace tillsync {

struct WalIndexView {
  WalIndexHeader header;
  FrameNo backfilled = 0;  // frames that a checkpoint has copied to the database file
};

class AppDatabase {
 public:
  enum class Use { read, checkpoint };
  static Result<AppDatabase> open(const std::string& path, Use use);

  Result<void> begin_read();
  void end_read();
  bool reading() const { return reading_; }
  // "wal", "delete", "truncate", "persist", "memory", "off"
  Result<std::string> journal_mode();

  // Needs a read transaction now or before. transient: a writer is changing the header at this moment.
  Result<WalIndexView> wal_index();
  Result<void> read_wal(uint64_t offset, MutableBytes out);
  Result<uint64_t> wal_size();

  // Writer lock without writing, without waiting. transient: someone else has it.
  Result<void> begin_immediate();
  void rollback();
  // Somebody else is at a checkpoint, or waits in one. Asks through the lock that checkpointers take, not the writers'.
  Result<bool> others_checkpoint();
  // PASSIVE. transient: the application's own checkpointer is at work. Returns frames in the log and frames copied.
  Result<std::pair<int, int>> checkpoint();

  // TRUNCATE: the same, then an empty log, if nobody reads or writes just now. transient: someone does, for longer than
  // the patience, which is waited out without a pause: one who sleeps is starved by a fast writer. False:
  // another checkpointer is at work, for which SQLite does not wait; nobody has waited for us.
  Result<bool> truncate_log(std::chrono::milliseconds patience = std::chrono::milliseconds(0));

  Connection& connection() { return connection_; }

 private:
  Result<void> run(const char* sql);
  Connection connection_;
  bool reading_ = false;
};

// All pages as one read transaction of the connection sees them, WAL included.
class DatabaseReader : public PageReader {
 public:
  static Result<std::unique_ptr<DatabaseReader>> create(AppDatabase& database);
  uint32_t page_size() const { return page_size_; }
  PageNo page_count() const { return page_count_; }
  Result<PageRef> page(PageNo number) override;
  Result<void> read(PageNo number, MutableBytes out);

 private:
  Statement query_;
  uint32_t page_size_ = 0;
  PageNo page_count_ = 0;
};

}  // namespace tillsync
