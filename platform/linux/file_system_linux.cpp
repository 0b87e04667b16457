#include "platform/linux/file_system_linux.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "platform/linux/errno_linux.h"

namespace tillsync {

namespace {

template <class Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class LinuxFile : public File {
 public:
  LinuxFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  // Not repeated on EINTR: on Linux the descriptor is gone either way, and may be somebody else's by then.
  ~LinuxFile() override { ::close(descriptor_); }

  Result<size_t> read(uint64_t offset, MutableBytes out) override {
    size_t done = 0;
    while (done < out.size()) {
      ssize_t n =
          retried([&] { return ::pread(descriptor_, out.data() + done, out.size() - done, at(offset + done)); });
      if (n < 0) return errno_error(errno, "read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  Result<void> write(uint64_t offset, ByteView bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      ssize_t n =
          retried([&] { return ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, at(offset + done)); });
      if (n < 0) return errno_error(errno, "write", path_);
      if (n == 0) return errno_error(ENOSPC, "write", path_);
      done += static_cast<size_t>(n);
    }
    return {};
  }

  Result<void> truncate(uint64_t size) override {
    if (retried([&] { return ::ftruncate(descriptor_, at(size)); }) < 0) return errno_error(errno, "truncate", path_);
    return {};
  }

  Result<void> sync() override {
    if (sync_failed_ == 0 && retried([&] { return ::fdatasync(descriptor_); }) < 0) sync_failed_ = errno;
    if (sync_failed_ != 0) return errno_error(sync_failed_, "sync", path_);
    return {};
  }

  void begin_sync(uint64_t offset, uint64_t size) override {
    (void)::sync_file_range(descriptor_, at(offset), at(size), SYNC_FILE_RANGE_WRITE);
  }

  Result<uint64_t> size() override {
    struct stat info {};
    if (::fstat(descriptor_, &info) < 0) return errno_error(errno, "get the size of", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  Result<void> lock() override {
    if (retried([&] { return ::flock(descriptor_, LOCK_EX | LOCK_NB); }) == 0) return {};
    if (errno == EWOULDBLOCK) return Error{ErrorKind::conflict, errno, "lock " + path_ + ": another process holds it"};
    return errno_error(errno, "lock", path_);
  }

  Result<std::unique_ptr<File>> duplicate() override {
    const int copy = ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return errno_error(errno, "duplicate", path_);
    return adopt_file(copy, path_);
  }

  Result<uint64_t> free_space() override {
    struct statvfs info {};
    if (::fstatvfs(descriptor_, &info) < 0) return errno_error(errno, "look for free space beside", path_);
    return uint64_t{info.f_bavail} * info.f_frsize;
  }

 private:
  static off_t at(uint64_t offset) { return static_cast<off_t>(offset); }
  int descriptor_;
  int sync_failed_ = 0;
  std::string path_;
};

FileType type_of(mode_t mode) {
  if (S_ISREG(mode)) return FileType::regular;
  if (S_ISDIR(mode)) return FileType::directory;
  return S_ISLNK(mode) ? FileType::symlink : FileType::other;
}

FileType type_of(const dirent& entry, int directory) {
  switch (entry.d_type) {
    case DT_REG: return FileType::regular;
    case DT_DIR: return FileType::directory;
    case DT_LNK: return FileType::symlink;
    case DT_UNKNOWN: break;  // some file systems do not tell
    default: return FileType::other;
  }
  struct stat info {};
  return ::fstatat(directory, entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 ? type_of(info.st_mode) : FileType::other;
}

}  // namespace

std::unique_ptr<File> adopt_file(int descriptor, std::string path) {
  return std::make_unique<LinuxFile>(descriptor, std::move(path));
}

Result<std::unique_ptr<File>> LinuxFileSystem::open(const std::string& path, OpenMode mode) {
  int flags = O_CLOEXEC;
  const char* doing = "open";
  switch (mode) {
    case OpenMode::read: flags |= O_RDONLY; break;
    case OpenMode::read_write: flags |= O_RDWR; break;
    case OpenMode::create: flags |= O_RDWR | O_CREAT; break;
    case OpenMode::create_new:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      doing = "create";
      break;
  }
  int descriptor = retried([&] { return ::open(path.c_str(), flags, 0600); });
  if (descriptor < 0) return errno_error(errno, doing, path);
  return std::unique_ptr<File>(new LinuxFile(descriptor, path));
}

Result<FileInfo> LinuxFileSystem::stat(const std::string& path) {
  struct stat raw {};
  if (::lstat(path.c_str(), &raw) < 0) return errno_error(errno, "look at", path);
  FileInfo info;
  info.type = type_of(raw.st_mode);
  info.size = static_cast<uint64_t>(raw.st_size);
  info.mtime_ns = int64_t{raw.st_mtim.tv_sec} * 1'000'000'000 + raw.st_mtim.tv_nsec;
  info.inode = raw.st_ino;
  info.device = raw.st_dev;
  info.mode = raw.st_mode & 07777;
  return info;
}

Result<void> LinuxFileSystem::remove(const std::string& path) {
  if (::remove(path.c_str()) < 0) return errno_error(errno, "remove", path);
  return {};
}

Result<void> LinuxFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) < 0) return errno_error(errno, "rename " + from + " to", to);
  return {};
}

Result<void> LinuxFileSystem::rename_new(const std::string& from, const std::string& to) {
  const std::string doing = "give " + from + " the name";
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno != EINVAL && errno != ENOSYS) return errno_error(errno, doing, to);
  if (::link(from.c_str(), to.c_str()) < 0) {
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS)
      return Error{ErrorKind::usage, errno,
                   doing + " " + to + ": this file system can neither rename without replacing nor make hard links"};
    return errno_error(errno, doing, to);
  }
  if (::unlink(from.c_str()) < 0) return errno_error(errno, "remove", from);
  return {};
}

Result<void> LinuxFileSystem::link_new(const std::string& from, const std::string& to) {
  const std::string doing = "give " + from + " the further name";
  const int descriptor = retried([&] { return ::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); });
  if (descriptor < 0) return errno_error(errno, "open", from);
  const LinuxFile file(descriptor, from);
  // The time first: whoever finds the new name finds the new time.
  if (::futimens(descriptor, nullptr) < 0) return errno_error(errno, "set the time of", from);
  if (retried([&] { return ::fsync(descriptor); }) < 0) return errno_error(errno, "sync", from);
  if (::link(from.c_str(), to.c_str()) == 0) return {};
  const bool is_impossible =
      errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP || errno == ENOSYS;
  if (is_impossible) return Error{ErrorKind::usage, errno, doing + " " + to + ": not possible between these folders"};
  return errno_error(errno, doing, to);
}

Result<std::vector<DirectoryEntry>> LinuxFileSystem::list(const std::string& directory) {
  DIR* open = ::opendir(directory.c_str());
  if (!open) return errno_error(errno, "list", directory);
  std::vector<DirectoryEntry> out;
  int failed = 0;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(open);
    if (!entry) {
      failed = errno;
      break;
    }
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    FileType type = type_of(*entry, ::dirfd(open));
    out.push_back({std::move(name), type});
  }
  ::closedir(open);
  if (failed != 0) return errno_error(failed, "list", directory);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

Result<void> LinuxFileSystem::make_directories(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  if (errno == ENOENT && directory_of(path) != path) {
    TILLSYNC_TRY(make_directories(directory_of(path)));
    if (::mkdir(path.c_str(), 0700) == 0) return {};
  }
  int failed = errno;
  // EROFS and EACCES may come before EEXIST for a folder that is there.
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
  return errno_error(failed, "make the folder", path);
}

Result<void> LinuxFileSystem::sync_directory(const std::string& path) {
  int descriptor = retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) return errno_error(errno, "open the folder", path);
  int rc = retried([&] { return ::fsync(descriptor); });
  int failed = errno;
  ::close(descriptor);
  // Some network and FUSE file systems cannot sync a folder; their names are durable when the call returns, or never.
  if (rc < 0 && failed != EINVAL && failed != ENOTSUP) return errno_error(failed, "sync the folder", path);
  return {};
}

Result<uint64_t> LinuxFileSystem::free_space(const std::string& path) {
  struct statvfs info {};
  if (retried([&] { return ::statvfs(path.c_str(), &info); }) < 0)
    return errno_error(errno, "get the free space of", path);
  return uint64_t{info.f_bavail} * info.f_frsize;
}

}  // namespace tillsync
