// The clock port on Windows. Threads: any.
#pragma once

#include "ports/clock.h"

namespace tillsync {

class SystemClock : public Clock {
 public:
  Timestamp now() override;
  // QueryPerformanceCounter.
  std::chrono::steady_clock::time_point steady_now() override;
  // As exact as a high resolution timer is (Windows 10 1803 and later); else to 16 ms, never shorter than asked for.
  void sleep_for(std::chrono::microseconds duration) override;
};

}  // namespace tillsync
