// A clock that stands still until it is told to move. sleep_for() moves it, so nothing waits. Threads: any.
#pragma once

#include <mutex>

#include "ports/clock.h"

namespace tillsync::test {

class FakeClock : public Clock {
 public:
  // 2026-01-01T00:00:00Z
  explicit FakeClock(Timestamp start = from_ms(1767225600000)) : now_(start) {}
  Timestamp now() override {
    std::lock_guard lock(mutex_);
    return now_ + std::chrono::floor<Milliseconds>(rest_);
  }
  std::chrono::steady_clock::time_point steady_now() override {
    std::lock_guard lock(mutex_);
    return steady_;
  }
  void sleep_for(std::chrono::microseconds duration) override { advance(duration); }

  void advance(std::chrono::microseconds duration) {
    std::lock_guard lock(mutex_);
    rest_ += duration;
    steady_ += duration;
  }
  // The wall clock jumps, in either direction; the steady one does not notice.
  void jump_to(Timestamp wall) {
    std::lock_guard lock(mutex_);
    now_ = wall;
    rest_ = {};
  }

 private:
  std::mutex mutex_;
  Timestamp now_;
  std::chrono::microseconds rest_{0};
  std::chrono::steady_clock::time_point steady_{std::chrono::hours(1)};
};

}  // namespace tillsync::test
