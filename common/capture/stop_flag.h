// How long work is told to end early: a flag that another thread sets.
//
// Purpose: a stop of the agent must not wait until millions of rows are compared or logged. Whoever loops over pages or
// rows asks; what was not committed is done another time. Errors: cancelled.
#pragma once

#include <atomic>

#include "base/result.h"

namespace tillsync {

using StopFlag = std::atomic<bool>;

// stop may be nullptr: nobody can.
inline Result<void> unless_stopped(const StopFlag* stop, const char* while_what) {
  if (!stop || !*stop) return {};
  return Error{ErrorKind::cancelled, 0, std::string("stopped while ") + while_what};
}

}  // namespace tillsync
