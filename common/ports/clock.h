// Time, as a port.
//
// Threads: all calls are safe from any thread.
#pragma once

#include <chrono>

#include "base/types.h"

namespace tillsync {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock. May jump in both directions: never used to order things.
  virtual Timestamp now() = 0;
  // Never runs backwards; for durations and deadlines.
  virtual std::chrono::steady_clock::time_point steady_now() = 0;
  // Blocks the calling thread; a fake advances itself instead.
  virtual void sleep_for(std::chrono::microseconds duration) = 0;
};

}  // namespace tillsync
