#include "agent/control/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace tillsync {

namespace {

Error errno_error(int code, const std::string& doing) {
  const ErrorKind kind = code == EACCES || code == EPERM || code == EROFS ? ErrorKind::denied
                         : code == ENOSPC                                 ? ErrorKind::no_space
                                                                          : ErrorKind::internal;
  return Error{kind, code, doing + ": " + std::generic_category().message(code)};
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return Error{ErrorKind::usage, ENAMETOOLONG, "socket " + path + ": the path is longer than 107 bytes"};
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

// True: the socket that lies there is left over from an agent that is gone.
Result<bool> is_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return errno == ENOENT ? Result<bool>(false) : errno_error(errno, path);
  if (!S_ISSOCK(info.st_mode))
    return Error{ErrorKind::conflict, 0, path + " is there and is no socket: move it away, or configure another path"};
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), generic(address), sizeof address) != 0 && errno == ECONNREFUSED) return true;
  return Error{ErrorKind::conflict, 0, "another agent answers on " + path};
}

}  // namespace

Result<UniqueFd> listen_on_unix_socket(const std::string& path, mode_t mode) {
  TILLSYNC_LET(const sockaddr_un address, address_of(path));
  std::error_code failed;
  const auto folder = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(folder, failed);
  if (failed) return errno_error(failed.value(), "make " + folder.string());
  TILLSYNC_LET(const bool stale, is_stale(path, address));
  if (stale && ::unlink(path.c_str()) != 0) return errno_error(errno, "replace " + path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error(errno, "make a socket");
  // Linux gives the name the mode of the unbound socket, so that it is at no moment open to others.
  if (::fchmod(fd.get(), 0600) != 0 || ::bind(fd.get(), generic(address), sizeof address) != 0 ||
      ::chmod(path.c_str(), mode) != 0 || ::listen(fd.get(), 128) != 0)
    return errno_error(errno, "listen on " + path);
  return fd;
}

}  // namespace tillsync
