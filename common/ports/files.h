// Files of ours, as a port: state.db, replica, spool, staging and the directory store all go through it, so that a test
// can count, fail or forget every call. The application's database does not: SQLite's own handles read it (see
// capture/).
//
// Units: sizes and offsets in bytes. Paths are UTF-8, absolute.
// Errors: not_found, conflict (it exists already, or is locked), denied, no_space, transient, internal; the context
// names the path.
// Durability: nothing is durable before sync() (content and size of that file) and, for a name that was made, renamed
// or removed, sync_directory() of its folder. Threads: a FileSystem may be used from any thread; one File by one thread
// at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace tillsync {

class File {
 public:
  virtual ~File() = default;  // closes; releases the lock
  // Reads as much as there is from offset on; fewer bytes than asked for means the end of the file.
  virtual Result<size_t> read(uint64_t offset, MutableBytes out) = 0;
  // All bytes or an error; after an error any part of them may have been written. Extends the file, zero-filled.
  virtual Result<void> write(uint64_t offset, ByteView bytes) = 0;
  virtual Result<void> truncate(uint64_t size) = 0;
  virtual Result<void> sync() = 0;
  // Lets the disk begin with these bytes, so that a later sync() has less to wait for. Promises nothing.
  virtual void begin_sync(uint64_t /*offset*/, uint64_t /*size*/) {}
  virtual Result<uint64_t> size() = 0;
  // Exclusive, advisory, whole file, across processes, until close. conflict: someone else holds it.
  virtual Result<void> lock() = 0;
  // The same open file for another thread. usage: not offered.
  virtual Result<std::unique_ptr<File>> duplicate();
  // Of the file system that it is on. usage: not offered.
  virtual Result<uint64_t> free_space();
};

enum class FileType { regular, directory, symlink, other };

struct FileInfo {
  FileType type = FileType::other;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
  uint32_t mode = 0;  // permission bits
};

struct DirectoryEntry {
  std::string name;
  FileType type = FileType::other;
};

enum class OpenMode {
  read,        // must exist
  read_write,  // must exist
  create,      // made if missing
  create_new,  // conflict if it exists
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // New files get mode 0600.
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<FileInfo> stat(const std::string& path) = 0;                       // does not follow a final symlink
  virtual Result<void> remove(const std::string& path) = 0;                         // a file or an empty directory
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;  // replaces `to`, atomically
  // Gives `from` the name `to` if that name is free, atomically, and removes the name `from`. conflict: `to` exists.
  virtual Result<void> rename_new(const std::string& from, const std::string& to) = 0;
  // Gives the file `from`, which is durable and which nobody writes to any more, the further name `to` if that name is
  // free; the time of its content becomes that of the call, durably. conflict: `to` exists. usage: not possible here
  // (two file systems, or one without hard links).
  virtual Result<void> link_new(const std::string& from, const std::string& to) = 0;
  virtual Result<std::vector<DirectoryEntry>> list(
      const std::string& directory) = 0;                               // sorted by name, without . and ..
  virtual Result<void> make_directories(const std::string& path) = 0;  // with parents, mode 0700; fine if it is there
  virtual Result<void> sync_directory(const std::string& path) = 0;
  virtual Result<uint64_t> free_space(const std::string& path) = 0;
};

// A new file that appears under its name whole or not at all. What is appended goes to the disk by and by, not all at
// its commit, which other programs' syncs would have to wait for.
// commit() is: sync the file, rename, sync the directory. The destructor removes what was not committed. A commit_new()
// whose directory cannot be synced takes the name back.
class PendingFile {
 public:
  // Writes to `<path>.<8 hex digits>.tmp` in the same folder.
  static Result<PendingFile> create(FileSystem& files, const std::string& path, uint32_t unique);
  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  ~PendingFile();
  File& file() { return *file_; }
  Result<void> append(ByteView bytes);
  uint64_t size() const { return size_; }
  Result<void> commit() { return finish(false); }     // replaces what is there
  Result<void> commit_new() { return finish(true); }  // conflict if the name is taken

 private:
  PendingFile(FileSystem& files, std::string path, std::string temporary, std::unique_ptr<File> file)
      : files_(&files), path_(std::move(path)), temporary_(std::move(temporary)), file_(std::move(file)) {}
  Result<void> finish(bool create_only);
  FileSystem* files_;
  std::string path_, temporary_;
  std::unique_ptr<File> file_;
  uint64_t size_ = 0;
  uint64_t on_its_way_ = 0;  // bytes that the disk was told to begin with
};

// Folder part of a path: "/a/b" → "/a".
std::string directory_of(const std::string& path);
// Whole content; for small files (configuration, keys). corrupt when larger than limit.
Result<Bytes> read_file(FileSystem& files, const std::string& path, uint64_t limit = 16 << 20);

}  // namespace tillsync
