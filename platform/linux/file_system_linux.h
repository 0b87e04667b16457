// The file port on Linux.
//
// Durability: File::sync() is fdatasync (content and size, which is what the port promises); sync_directory() is fsync
// of the folder. A sync that failed once makes every later sync of that File fail: the kernel drops the pages it could
// not write, so a second fsync would answer success for data that is gone.
// Locks: flock(), which belongs to the open file, so two opens in one process exclude each other too.
// Errors: see errno_linux.h.
// Threads: the file system from any; a file by one at a time.
// Source: renameat2(2), open(2); "PostgreSQL's fsync() surprise", LWN 752063.
#pragma once

#include "ports/files.h"

namespace tillsync {

class LinuxFileSystem : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<void> remove(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  // renameat2(RENAME_NOREPLACE); where the file system does not know it, link() and unlink(), which is as exclusive.
  // usage error when the file system knows neither (FAT).
  Result<void> rename_new(const std::string& from, const std::string& to) override;
  Result<void> link_new(const std::string& from, const std::string& to) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<uint64_t> free_space(const std::string& path) override;
};

// A File of a descriptor that is open already, which it closes. path: for the words of its errors.
std::unique_ptr<File> adopt_file(int descriptor, std::string path);

}  // namespace tillsync
