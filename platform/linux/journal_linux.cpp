#include "platform/linux/journal_linux.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace tillsync {

Journal::Journal(const std::string& socket) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), path_(socket) {}

Journal::~Journal() {
  if (socket_ >= 0) ::close(socket_);
}

bool Journal::send(const Fields& fields) {
  std::string datagram;
  for (auto& [name, value] : fields) {
    datagram += name;
    if (value.find('\n') == value.npos) {
      datagram += "=" + value + "\n";
      continue;
    }
    // Of several lines: its length first, 64 bits, little-endian.
    datagram += "\n";
    for (uint64_t rest = value.size(), i = 0; i < 8; i++, rest >>= 8) datagram += static_cast<char>(rest & 0xff);
    datagram += value + "\n";
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  return ::sendto(socket_, datagram.data(), datagram.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
                  sizeof address) == static_cast<ssize_t>(datagram.size());
}

bool Journal::has_stderr() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (!stream || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == stream;
}

}  // namespace tillsync
