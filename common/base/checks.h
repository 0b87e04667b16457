// Checks that stay on in release builds.
//
// Purpose: TILLSYNC_CHECK states what must hold if the program is right. A failed check is a bug: it throws LogicError,
// which the task roots catch, log once and answer by restarting the task with back-off.
#pragma once

#include <stdexcept>
#include <string>

namespace tillsync {

class LogicError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  throw LogicError(std::string(file) + ":" + std::to_string(line) + ": this must hold: " + condition);
}

#define TILLSYNC_CHECK(condition)                               \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::tillsync::check_failed(#condition, __FILE__, __LINE__); \
  } while (0)

}  // namespace tillsync
