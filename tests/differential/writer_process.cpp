#include "differential/writer_process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace tillsync::test {

WriterProcess::WriterProcess(const Options& options) : options_(options) {
  std::array<int, 2> in{}, out{};
  REQUIRE(::pipe2(in.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(out.data(), O_CLOEXEC) == 0);
  // A writer that died is seen by the read that follows.
  ::signal(SIGPIPE, SIG_IGN);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "random_writer";
  std::vector<std::string> words{program,
                                 options.database,
                                 std::to_string(options.seed),
                                 std::to_string(options.first_name),
                                 std::to_string(options.rows_max),
                                 options.pragmas};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {  // only what is safe between fork and exec
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int errors = ::open(options.errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (errors < 0 || ::dup2(in[0], 0) < 0 || ::dup2(out[1], 1) < 0 || ::dup2(errors, 2) < 0) ::_exit(127);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  to_ = in[1];
  from_ = out[0];
}

WriterProcess::~WriterProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  ::close(to_);
  ::close(from_);
}

int WriterProcess::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  pid_ = 0;
  return status;
}

void WriterProcess::send(const std::string& request) {
  const std::string line = request + "\n";
  (void)!::write(to_, line.data(), line.size());
}

bool WriterProcess::has_answered(int wait_ms) const {
  pollfd poll{from_, POLLIN, 0};
  return ::poll(&poll, 1, wait_ms) > 0;
}

bool WriterProcess::read_exactly(void* out, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::read(from_, static_cast<char*>(out) + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

WriterAnswer WriterProcess::receive() {
  uint32_t size = 0;
  Bytes message;
  bool whole = read_exactly(&size, sizeof size);
  if (whole) {
    message.resize(size);
    whole = read_exactly(message.data(), size);
  }
  if (!whole) {
    std::ifstream in(options_.errors);
    std::stringstream errors;
    errors << in.rdbuf();
    FAIL("the writer ended: " << errors.str());
  }
  return WriterAnswer::decode(message);
}

WriterAnswer WriterProcess::ask(const std::string& request) {
  send(request);
  return receive();
}

void WriterProcess::ask_and_die(const std::string& death, const std::string& request) {
  send("die " + death);
  send(request);
  const int status = wait();
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;
  std::ifstream in(options_.errors);
  std::stringstream errors;
  errors << in.rdbuf();
  FAIL("the writer did not die as it was told: " << errors.str());
}

void WriterProcess::quit() {
  send("quit");
  const int status = wait();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace tillsync::test
