#include "platform/linux/systemd_notifier_linux.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace tillsync {

namespace {

std::optional<uint64_t> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text) return std::nullopt;
  uint64_t number = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, number);
  return error == std::errc() && stopped == end ? std::optional(number) : std::nullopt;
}

// One line: a second one would be a statement of its own.
std::string status_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return "STATUS=" + text + "\n";
}

}  // namespace

SystemdNotifier::SystemdNotifier() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  if (!address || (address[0] != '/' && address[0] != '@') || std::strlen(address) >= sizeof(sockaddr_un::sun_path))
    return;
  address_ = address;
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto pid = number_in("WATCHDOG_PID");
  const auto usec = number_in("WATCHDOG_USEC");
  if (usec && (!pid || *pid == static_cast<uint64_t>(::getpid())))
    patience_ = std::chrono::milliseconds(static_cast<int64_t>(*usec / 1000));
}

SystemdNotifier::~SystemdNotifier() {
  if (socket_ >= 0) ::close(socket_);
}

void SystemdNotifier::tell(const std::string& lines) {
  if (socket_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::copy(address_.begin(), address_.end(), to.sun_path);
  if (address_[0] == '@') to.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // A manager that does not read must not hold up the agent.
  (void)::sendto(socket_, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to),
                 size);
}

void SystemdNotifier::ready(const std::string& status) { tell("READY=1\n" + status_line(status)); }
void SystemdNotifier::status(const std::string& status) { tell(status_line(status)); }

void SystemdNotifier::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1000) + "\n");
}

void SystemdNotifier::stopping() { tell("STOPPING=1\n" + status_line("stopping: what was captured is made durable")); }
void SystemdNotifier::alive() { tell("WATCHDOG=1\n"); }

}  // namespace tillsync
