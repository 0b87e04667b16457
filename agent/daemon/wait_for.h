// A step of a workflow waits for what another thread will say.
//
// Errors: cancelled; timeout when a limit is given and passes. Threads: any.
#pragma once

#include <chrono>
#include <future>
#include <optional>

#include "agent/daemon/services.h"
#include "workflow/context.h"

namespace tillsync {

// Waits a little. Looked at again and again because a cancellation has no event of its own.
template <class T>
bool answered(const Services& services, std::future<T>& future) {
  if (services.while_waiting && future.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    services.while_waiting();
  const std::chrono::milliseconds patience(services.while_waiting ? 0 : 50);
  return future.wait_for(patience) == std::future_status::ready;
}

template <class T>
Result<T> wait_for(const Services& services, StepContext& context, std::future<T> future,
                   std::optional<std::chrono::milliseconds> limit = std::nullopt) {
  const auto start = services.clock->steady_now();
  while (!answered(services, future)) {
    if (context.cancelled()) return context.cancelled_error();
    if (limit && services.clock->steady_now() - start > *limit)
      return Error{ErrorKind::timeout, 0, "no answer in " + std::to_string(limit->count()) + " ms"};
  }
  return future.get();
}

}  // namespace tillsync
