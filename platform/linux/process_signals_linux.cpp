#include "platform/linux/process_signals_linux.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/checks.h"

namespace tillsync {

namespace {

// Of the handler, which has no object.
std::atomic<int> write_end{-1};
std::atomic<bool> somebody_listens{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int number) {
  const int saved = errno;
  if (!somebody_listens && number != SIGHUP) {
    // What it does to any process, once this handler is left.
    ::signal(number, SIG_DFL);
    ::raise(number);
  } else {
    const auto byte = static_cast<unsigned char>(number);
    // A full pipe holds more of them than anybody needs.
    [[maybe_unused]] const auto n = ::write(write_end, &byte, 1);
  }
  errno = saved;
}

}  // namespace

LinuxProcessSignals::LinuxProcessSignals() {
  TILLSYNC_CHECK(write_end == -1);
  TILLSYNC_CHECK(::pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) == 0);
  write_end = pipe_[1];
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int number : {SIGTERM, SIGINT, SIGHUP}) TILLSYNC_CHECK(::sigaction(number, &action, nullptr) == 0);
}

LinuxProcessSignals::~LinuxProcessSignals() {
  for (int number : {SIGTERM, SIGINT, SIGHUP}) ::signal(number, SIG_DFL);
  write_end = -1;
  ::close(pipe_[0]);
  ::close(pipe_[1]);
}

void LinuxProcessSignals::listen(bool whether) { somebody_listens = whether; }

std::optional<ProcessSignal> LinuxProcessSignals::next() {
  unsigned char byte;
  if (::read(pipe_[0], &byte, 1) != 1) return std::nullopt;
  return byte == SIGHUP ? ProcessSignal::reload : ProcessSignal::stop;
}

}  // namespace tillsync
