// A program that the demo starts, and that does not outlive it.
//
// Errors: internal when it can't be started; wait(): timeout.
// Threads: one at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace tillsync {

class ChildProcess {
 public:
  // Its output goes to the end of `output`; no input. Killed when this process dies, or this object does.
  static Result<ChildProcess> start(const std::vector<std::string>& words, const std::string& output);
  ChildProcess() = default;
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  bool is_running();
  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Its exit status, 128 + the signal when it was killed.
  Result<int> wait(std::chrono::milliseconds limit, const std::function<bool()>& is_interrupted);
  void kill();  // SIGKILL, and gone when this returns

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  bool collect();
  pid_t pid_ = 0;  // 0: none, or ended
  int status_ = 0;
};

}  // namespace tillsync
