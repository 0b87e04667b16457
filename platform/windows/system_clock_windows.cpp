#include "platform/windows/system_clock_windows.h"

#include <windows.h>

#include <thread>

namespace tillsync {

namespace {
constexpr DWORD kHighResolution = 2;  // CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, not in mingw-w64 10
}

Timestamp SystemClock::now() { return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()); }

std::chrono::steady_clock::time_point SystemClock::steady_now() { return std::chrono::steady_clock::now(); }

void SystemClock::sleep_for(std::chrono::microseconds duration) {
  if (duration.count() <= 0) return;
  const HANDLE timer = ::CreateWaitableTimerExW(nullptr, nullptr, kHighResolution, TIMER_ALL_ACCESS);
  if (!timer) return std::this_thread::sleep_for(duration);
  LARGE_INTEGER due{};
  due.QuadPart = -duration.count() * 10;  // 100 ns from now on
  if (!::SetWaitableTimer(timer, &due, 0, nullptr, nullptr, FALSE) ||
      ::WaitForSingleObject(timer, INFINITE) != WAIT_OBJECT_0)
    std::this_thread::sleep_for(duration);
  ::CloseHandle(timer);
}

}  // namespace tillsync
