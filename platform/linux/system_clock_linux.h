// The clock port on Linux. Threads: any.
#pragma once

#include "ports/clock.h"

namespace tillsync {

class SystemClock : public Clock {
 public:
  Timestamp now() override;
  // CLOCK_MONOTONIC: stands still while the machine sleeps.
  std::chrono::steady_clock::time_point steady_now() override;
  void sleep_for(std::chrono::microseconds duration) override;
};

}  // namespace tillsync
