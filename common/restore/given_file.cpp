#include "restore/given_file.h"

namespace tillsync {

Result<std::unique_ptr<File>> WithGivenFile::open(const std::string& path, OpenMode mode) {
  if (path != path_) return files_.open(path, mode);
  if (mode == OpenMode::create_new) {
    TILLSYNC_LET(const uint64_t size, given_->size());
    if (size > 0) return Error{ErrorKind::conflict, 0, "the file to restore to is not empty"};
  }
  return given_->duplicate();
}

Result<FileInfo> WithGivenFile::stat(const std::string& path) {
  if (path != path_) return files_.stat(path);
  FileInfo info;
  info.type = FileType::regular;
  TILLSYNC_LET(info.size, given_->size());
  return info;
}

Result<void> WithGivenFile::remove(const std::string& path) {
  if (path != path_) return files_.remove(path);
  TILLSYNC_LET(const uint64_t size, given_->size());
  if (size == 0) return Error{ErrorKind::not_found, 0, path + ": the file to restore to is empty"};
  return given_->truncate(0);
}

// Nobody else has its name.
Result<void> WithGivenFile::check_not_given(const std::string& from, const std::string& to) const {
  if (from == path_ || to == path_) return Error{ErrorKind::usage, 0, path_ + ": the file to restore to has no name"};
  return {};
}

Result<void> WithGivenFile::rename(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(check_not_given(from, to));
  return files_.rename(from, to);
}

Result<void> WithGivenFile::rename_new(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(check_not_given(from, to));
  return files_.rename_new(from, to);
}

Result<void> WithGivenFile::link_new(const std::string& from, const std::string& to) {
  TILLSYNC_TRY(check_not_given(from, to));
  return files_.link_new(from, to);
}

Result<uint64_t> WithGivenFile::free_space(const std::string& path) {
  return path == path_ ? given_->free_space() : files_.free_space(path);
}

}  // namespace tillsync
