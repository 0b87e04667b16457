// Keeps a message that comes again and again from filling the log.
//
// Purpose: messages that differ in their numbers only are one. Of one, kShown are passed on within kSpan; what comes
// beyond that is counted, and the count is told when the time is over and the log goes on. At most kKinds are told
// apart at a time. Threads: one at a time; the sink that has it has the lock.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tillsync {

class RepeatLimit {
 public:
  using Time = std::chrono::system_clock::time_point;
  static constexpr int kShown = 5;
  static constexpr std::chrono::seconds kSpan{60};
  static constexpr size_t kKinds = 128;

  struct Left {
    std::string message;  // the newest of those that were left out
    int level = 0;
    int count = 0;
  };
  // Whether to pass it on; `over`: what was left out and is to be told before.
  bool passes(Time at, int level, std::string_view message, std::vector<Left>& over);
  // All that was left out, at the end.
  std::vector<Left> rest();

 private:
  struct Kind {
    Time since;
    int seen = 0;
    Left left;
  };
  std::map<std::string, Kind> kinds_;
};

}  // namespace tillsync
