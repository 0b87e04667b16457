#include "bench/measured.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/temporary_directory.h"

namespace tillsync::test {

namespace fs = std::filesystem;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

double seconds(timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; }

}  // namespace

static Took run(const std::vector<std::string>& words,
                const std::vector<std::pair<std::string, std::string>>& variables, std::string* output) {
  const TemporaryDirectory folder;
  const std::string out = folder / "out", err = folder / "err";
  std::vector<char*> argv;
  std::string line;
  for (auto& word : words) {
    argv.push_back(const_cast<char*>(word.c_str()));
    line += word + " ";
  }
  argv.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  const pid_t pid = fork();
  if (pid < 0) throw std::logic_error("fork failed for " + line);
  if (pid == 0) {
    for (auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int to = open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const int errors = open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (in < 0 || to < 0 || errors < 0 || dup2(in, 0) < 0 || dup2(to, 1) < 0 || dup2(errors, 2) < 0) _exit(126);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (wait4(pid, &status, 0, &usage) != pid) throw std::logic_error("wait4 failed for " + line);
  Took took;
  took.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  took.cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  took.peak_kib = static_cast<double>(usage.ru_maxrss);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::string said = text_of(out) + text_of(err);
    if (said.size() > 2000) said.erase(0, said.size() - 2000);
    throw std::logic_error(line + "failed (" +
                           (WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                                              : "signal " + std::to_string(WTERMSIG(status))) +
                           "):\n" + said);
  }
  if (output) *output = text_of(out);
  return took;
}

Took run_measured(const std::vector<std::string>& words,
                  const std::vector<std::pair<std::string, std::string>>& variables) {
  return run(words, variables, nullptr);
}

std::string output_of(const std::vector<std::string>& words,
                      const std::vector<std::pair<std::string, std::string>>& variables) {
  std::string output;
  run(words, variables, &output);
  return output;
}

double bytes_below(const std::string& folder) {
  double sum = 0;
  std::error_code gone;
  for (fs::recursive_directory_iterator at(folder, gone), end; !gone && at != end; at.increment(gone)) {
    std::error_code renamed;
    if (const auto size = at->is_regular_file(renamed) ? at->file_size(renamed) : 0; !renamed)
      sum += static_cast<double>(size);
  }
  return sum;
}

void settle_disk() { sync(); }

}  // namespace tillsync::test
