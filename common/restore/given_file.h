// A file system in which one path is a file that somebody has open and gave us.
//
// Purpose: a restore to a file fills, replays and proves in the very file that was asked for, which we may have no
// right to open by its name; what SQLite writes beside it (its log) lies under that path in the real file system. A
// restored database is written once, and needs its space once. The path: open() gives a duplicate of the file, in any
// mode; create_new wants it empty; remove() empties it, and not_found means that it was. Every other path is passed on.
// Errors: those of the file and of the file system beneath. Threads: as FileSystem, if the file can be duplicated.
#pragma once

#include "ports/files.h"

namespace tillsync {

class WithGivenFile : public FileSystem {
 public:
  // given: open for reading and writing. usage: it can't be duplicated.
  WithGivenFile(FileSystem& files, std::string path, std::shared_ptr<File> given)
      : files_(files), path_(std::move(path)), given_(std::move(given)) {}

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<void> remove(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> rename_new(const std::string& from, const std::string& to) override;
  Result<void> link_new(const std::string& from, const std::string& to) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override { return files_.list(directory); }
  Result<void> make_directories(const std::string& path) override { return files_.make_directories(path); }
  Result<void> sync_directory(const std::string& path) override { return files_.sync_directory(path); }
  // Of the given file's file system for its path.
  Result<uint64_t> free_space(const std::string& path) override;

 private:
  Result<void> check_not_given(const std::string& from, const std::string& to) const;
  FileSystem& files_;
  std::string path_;
  std::shared_ptr<File> given_;
};

}  // namespace tillsync
