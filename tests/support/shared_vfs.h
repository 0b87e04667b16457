// The application's database in a file system of a test: what FileVfs leaves out, locks between connections and the
// shared memory of a WAL.
//
// Purpose: an application and the agent as two processes on one machine, each with a SharedVfs over its own FileVfs, so
// that one of them can be killed, or both lose their power, at any call. Locks and wal-index belong to the Computer and
// go with the connections that hold them, as the kernel does it. Every lock that is asked for is a call of the file
// port too (a stat of the database), so that a process can die between its frames and their being seen.
// Threads: one.
#pragma once

#include <memory>
#include <string>

#include "sqlite/file_vfs.h"

namespace tillsync::test {

// What the processes of a machine share besides its files.
class Computer {
 public:
  Computer();
  ~Computer();
  struct Impl;

 private:
  friend class SharedVfs;
  std::unique_ptr<Impl> impl_;
};

class SharedVfs {
 public:
  // inner: a VFS over `files`. is_default: connections that name no VFS go through this one while it lives.
  SharedVfs(const FileVfs& inner, FileSystem& files, Computer& computer, bool is_default);
  ~SharedVfs();
  SharedVfs(const SharedVfs&) = delete;
  SharedVfs& operator=(const SharedVfs&) = delete;
  const char* name() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillsync::test
