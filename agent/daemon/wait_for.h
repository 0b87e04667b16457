// A step of a workflow waits for what another thread will say.
//
// Errors: cancelled; timeout when a limit is given and passes. Threads: any.
#pragma once

#include <chrono>
#include <future>
#include <optional>

#include "workflow/context.h"

namespace tillsync {

template <class T>
Result<T> wait_for(StepContext& context, std::future<T> future,
                   std::optional<std::chrono::milliseconds> limit = std::nullopt) {
  const auto start = std::chrono::steady_clock::now();
  // Looked at again and again because a cancellation has no event of its own.
  while (future.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (context.cancelled()) return context.cancelled_error();
    if (limit && std::chrono::steady_clock::now() - start > *limit)
      return Error{ErrorKind::timeout, 0, "no answer in " + std::to_string(limit->count()) + " ms"};
  }
  return future.get();
}

}  // namespace tillsync
