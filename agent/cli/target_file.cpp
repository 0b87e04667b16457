#include "agent/cli/target_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace tillsync {

namespace {

Error refused(std::string why) { return Error{ErrorKind::denied, 0, std::move(why)}; }

Error errno_error(int code, const std::string& doing) {
  ErrorKind kind = ErrorKind::internal;
  if (code == EACCES || code == EPERM || code == EROFS) kind = ErrorKind::denied;
  if (code == ENOENT || code == ENOTDIR) kind = ErrorKind::not_found;
  if (code == ENOSPC || code == EDQUOT) kind = ErrorKind::no_space;
  return Error{kind, code, doing + ": " + std::generic_category().message(code)};
}

Error exists(const std::string& path) {
  return refused(path + " is there already: choose another name, or replace it with --force");
}

Result<void> check_target(const std::string& path, bool force, const std::vector<std::string>& followed) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    for (const auto& database : followed) {
      struct stat live {};
      if (::stat(database.c_str(), &live) == 0 && live.st_dev == info.st_dev && live.st_ino == info.st_ino)
        return refused(path + " is the followed database itself: an application may have it open");
    }
    if (!force) return exists(path);
    if (!S_ISREG(info.st_mode)) return refused(path + " is no regular file");
  } else if (errno != ENOENT) {
    return errno_error(errno, path);
  }
  // SQLite would take these for the new file's own and play them into it.
  for (const char* suffix : {"-wal", "-journal"}) {
    const std::string beside = path + suffix;
    if (::lstat(beside.c_str(), &info) == 0 && info.st_size > 0)
      return refused(beside +
                     " is there: a database of that name is in use, or was not closed; choose another name, or move "
                     "that file away");
  }
  return {};
}

Result<void> sync_folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  UniqueFd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || (::fsync(fd.get()) != 0 && errno != EINVAL)) return errno_error(errno, "sync the folder of " + path);
  return {};
}

// Atomic and without replacing, in the ways that file systems offer.
int rename_new(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from, to) != 0) return errno;
  ::unlink(from);
  return 0;
}

}  // namespace

Result<TargetFile> TargetFile::open(const std::string& path, bool force, const std::vector<std::string>& followed) {
  TILLSYNC_TRY(check_target(path, force, followed));
  uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) return errno_error(errno, "get random bytes");
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, ".%08x.tillsync-part", random);
  const std::string part = path + suffix;
  UniqueFd fd(::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, "make " + part);
  return TargetFile(path, part, std::move(fd), force);
}

TargetFile::~TargetFile() {
  if (fd_) ::unlink(part_.c_str());
}

Result<void> TargetFile::commit() {
  if (::fsync(fd_.get()) != 0) return errno_error(errno, "sync " + part_);
  const int code =
      force_ ? (::rename(part_.c_str(), path_.c_str()) == 0 ? 0 : errno) : rename_new(part_.c_str(), path_.c_str());
  if (code == EEXIST) return exists(path_);
  if (code != 0) return errno_error(code, "rename to " + path_);
  fd_.reset();
  return sync_folder_of(path_);
}

}  // namespace tillsync
