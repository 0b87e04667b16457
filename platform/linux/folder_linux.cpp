#include "platform/linux/folder_linux.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/checks.h"
#include "platform/linux/errno_linux.h"
#include "platform/linux/file_system_linux.h"

namespace tillsync {

namespace {

constexpr size_t kTargetBytesMax = 4096;  // PATH_MAX

template <class Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int64_t nanoseconds(const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

timespec to_timespec(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, rest = ns % 1'000'000'000;
  if (rest < 0) {
    seconds--;
    rest += 1'000'000'000;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

FileType type_of(mode_t mode) {
  if (S_ISREG(mode)) return FileType::regular;
  if (S_ISDIR(mode)) return FileType::directory;
  return S_ISLNK(mode) ? FileType::symlink : FileType::other;
}

NodeInfo to_info(const struct stat& s) {
  NodeInfo info;
  info.type = type_of(s.st_mode);
  info.size = static_cast<uint64_t>(s.st_size);
  info.mtime_ns = nanoseconds(s.st_mtim);
  info.ctime_ns = nanoseconds(s.st_ctim);
  info.inode = s.st_ino;
  info.device = s.st_dev;
  info.mode = s.st_mode & 07777;
  info.owner = s.st_uid;
  info.group = s.st_gid;
  return info;
}

class LinuxFolder : public Folder {
 public:
  LinuxFolder(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~LinuxFolder() override { ::close(fd_); }

  Result<NodeInfo> info() override {
    struct stat s {};
    if (::fstat(fd_, &s) < 0) return errno_error(errno, "look at", path_);
    return to_info(s);
  }

  Result<std::vector<std::string>> names() override {
    // fdopendir() takes the descriptor over, and shares its position: a new one each time.
    int copy = retried([&] { return ::openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (copy < 0) return errno_error(errno, "list", path_);
    DIR* stream = ::fdopendir(copy);
    if (stream == nullptr) {
      int number = errno;
      ::close(copy);
      return errno_error(number, "list", path_);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
      errno = 0;
    }
    int number = errno;
    ::closedir(stream);
    if (number != 0) return errno_error(number, "list", path_);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<NodeInfo> stat(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    struct stat s {};
    if (::fstatat(fd_, name.c_str(), &s, AT_SYMLINK_NOFOLLOW) < 0) return failed("look at", name);
    return to_info(s);
  }

  Result<OpenedFile> open_file(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    // O_NONBLOCK: a pipe in place of the file would wait for a writer.
    int fd = retried([&] { return ::openat(fd_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); });
    if (fd < 0) return failed("open", name);
    auto file = adopt_file(fd, at(name));
    struct stat s {};
    if (::fstat(fd, &s) < 0) return failed("look at", name);
    if (!S_ISREG(s.st_mode)) return Error{ErrorKind::conflict, 0, at(name) + ": it is no regular file"};
    return OpenedFile{std::move(file), to_info(s)};
  }

  Result<std::unique_ptr<Folder>> open_folder(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    int fd = retried([&] { return ::openat(fd_, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); });
    if (fd < 0) return failed("open", name);
    return std::unique_ptr<Folder>(std::make_unique<LinuxFolder>(fd, at(name)));
  }

  Result<std::string> read_link(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    std::array<char, kTargetBytesMax> target{};
    ssize_t n = ::readlinkat(fd_, name.c_str(), target.data(), target.size());
    if (n < 0) return failed("read the link", name);
    return std::string(target.data(), static_cast<size_t>(n));
  }

  Result<std::unique_ptr<File>> make_file(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    int fd =
        retried([&] { return ::openat(fd_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600); });
    if (fd < 0) return failed("make", name);
    return adopt_file(fd, at(name));
  }

  Result<std::unique_ptr<Folder>> make_folder(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    if (::mkdirat(fd_, name.c_str(), 0700) < 0) return failed("make", name);
    return open_folder(name);
  }

  Result<void> make_link(const std::string& name, const std::string& target) override {
    TILLSYNC_TRY(check(name));
    if (::symlinkat(target.c_str(), fd_, name.c_str()) < 0) return failed("make the link", name);
    return {};
  }

  Result<void> set_attributes(const std::string& name, const NodeAttributes& attributes) override {
    TILLSYNC_TRY(check(name));
    const timespec times[2] = {{0, UTIME_OMIT}, to_timespec(attributes.mtime_ns)};
    TILLSYNC_LET(const NodeInfo there, stat(name));
    if (there.type == FileType::symlink) {
      if (attributes.owner &&
          ::fchownat(fd_, name.c_str(), attributes.owner->first, attributes.owner->second, AT_SYMLINK_NOFOLLOW) < 0)
        return failed("give away", name);
      if (::utimensat(fd_, name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0) return failed("set the time of", name);
      return {};
    }
    int fd = retried([&] { return ::openat(fd_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); });
    if (fd < 0) return failed("open", name);
    auto close_it = adopt_file(fd, at(name));
    // Owner first: giving a file away takes these bits from it.
    uint32_t mode = attributes.mode & 07777;
    if (!attributes.owner) mode &= ~06000U;
    if (attributes.owner && ::fchown(fd, attributes.owner->first, attributes.owner->second) < 0)
      return failed("give away", name);
    if (::fchmod(fd, mode) < 0) return failed("set the mode of", name);
    if (::futimens(fd, times) < 0) return failed("set the time of", name);
    return {};
  }

  Result<void> rename(const std::string& name, Folder& to, const std::string& to_name, Rename how) override {
    TILLSYNC_TRY(check(name));
    TILLSYNC_TRY(check(to_name));
    int target = descriptor_of(to);
    unsigned flag = how == Rename::exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (::renameat2(fd_, name.c_str(), target, to_name.c_str(), flag) == 0) return {};
    bool unknown = errno == EINVAL || errno == ENOSYS;
    if (!unknown) return failed("rename", name);
    if (how == Rename::exchange) return Error{ErrorKind::usage, errno, at(name) + ": names can't change places here"};
    // A file system without the flag: looked at first. Who makes the name in between loses an empty folder at most,
    // because rename() replaces neither a full folder nor one kind of file by another.
    struct stat s {};
    if (::fstatat(target, to_name.c_str(), &s, AT_SYMLINK_NOFOLLOW) == 0) {
      errno = EEXIST;
      return failed("rename", name);
    }
    if (::renameat(fd_, name.c_str(), target, to_name.c_str()) < 0) return failed("rename", name);
    return {};
  }

  Result<void> add_name(const std::string& name, Folder& to, const std::string& to_name) override {
    TILLSYNC_TRY(check(name));
    TILLSYNC_TRY(check(to_name));
    if (::linkat(fd_, name.c_str(), descriptor_of(to), to_name.c_str(), 0) == 0) return {};
    if (errno == EPERM || errno == EXDEV || errno == EMLINK || errno == ENOSYS || errno == EOPNOTSUPP)
      return Error{ErrorKind::usage, errno, at(name) + ": it can't have a second name here"};
    return failed("link", name);
  }

  Result<void> remove(const std::string& name) override {
    TILLSYNC_TRY(check(name));
    if (::unlinkat(fd_, name.c_str(), 0) == 0) return {};
    if (errno != EISDIR && errno != EPERM) return failed("remove", name);
    if (::unlinkat(fd_, name.c_str(), AT_REMOVEDIR) < 0) return failed("remove", name);
    return {};
  }

  Result<void> sync() override {
    if (::fsync(fd_) < 0 && errno != EINVAL) return errno_error(errno, "sync", path_);
    return {};
  }
  Result<void> sync_all() override {
    if (::syncfs(fd_) < 0) return errno_error(errno, "sync", path_);
    return {};
  }

 private:
  Result<void> check(const std::string& name) const {
    if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos)
      return Error{ErrorKind::usage, 0, path_ + ": a name in it was expected, not '" + name + "'"};
    return {};
  }
  std::string at(const std::string& name) const { return path_ + "/" + name; }
  Error failed(std::string_view doing, const std::string& name) const {
    // O_NOFOLLOW answers ELOOP for a link, O_DIRECTORY ENOTDIR for a file.
    if (errno == ELOOP || errno == ENOTDIR) {
      std::string what = std::string(doing) + " " + at(name);
      return Error{ErrorKind::conflict, errno, what + ": something else than expected is there"};
    }
    return errno_error(errno, doing, at(name));
  }
  static int descriptor_of(Folder& folder) {
    auto* other = dynamic_cast<LinuxFolder*>(&folder);
    TILLSYNC_CHECK(other != nullptr);
    return other->fd_;
  }
  int fd_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Folder>> LinuxFolders::open(const std::string& path) {
  int fd = retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return errno_error(errno, "open", path);
  return std::unique_ptr<Folder>(std::make_unique<LinuxFolder>(fd, path));
}

}  // namespace tillsync
