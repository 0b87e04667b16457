// An SQLite VFS over the file port, for our own databases (state.db, staging, downloads), so that crash and power-loss
// tests reach every byte SQLite writes for us. Never for the application's database.
//
// Our databases are opened by one connection of one process at a time: PRAGMA locking_mode=EXCLUSIVE, so that WAL needs
// no shared memory; the VFS offers none. xLock takes File::lock() at the first lock and keeps it until close. The first
// sync of an opened file also syncs its folder: the name may be younger than the last power cut. The frames that a
// commit appends to a write-ahead log are written at once, up to 256 KiB of them, before it returns. Files without a
// name (temporary tables, sorting) are held in memory. Threads: registration in any; connections as SQLite allows.
#pragma once

#include <memory>
#include <string>

#include "ports/clock.h"
#include "ports/files.h"
#include "ports/random.h"

namespace tillsync {

// Registers a VFS under a process-wide unique name while it lives. All connections must be closed before it goes.
// SQLite's codes do not say which file it was, nor all kinds of errors. sqlite3_file_control() with this operation
// gives a const Error*: what the port said when a call of this thread failed last; SQLITE_NOTFOUND from another VFS.
constexpr int kWhatThePortSaid = 0x7469'6c6c;

class FileVfs {
 public:
  FileVfs(FileSystem& files, Clock& clock, Random& random);
  ~FileVfs();
  FileVfs(const FileVfs&) = delete;
  FileVfs& operator=(const FileVfs&) = delete;
  const char* name() const;

  struct Impl;  // seen by the callbacks SQLite calls

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillsync
