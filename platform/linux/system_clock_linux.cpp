#include "platform/linux/system_clock_linux.h"

#include <thread>

namespace tillsync {

Timestamp SystemClock::now() { return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()); }

std::chrono::steady_clock::time_point SystemClock::steady_now() { return std::chrono::steady_clock::now(); }

void SystemClock::sleep_for(std::chrono::microseconds duration) { std::this_thread::sleep_for(duration); }

}  // namespace tillsync
