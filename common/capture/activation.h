// A restore in place as capture sees it: one transaction of the application's database that the agent itself commits,
// and that the log marks.
//
// Purpose: the content of the live database is replaced in one transaction, with everything before it captured. How its
// transaction is recognised afterwards: actionlog/activations.h. Threads: Capturer::request_activation() from any;
// `write` and `cancelled` are called on the capture thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "actionlog/activations.h"

namespace tillsync {

struct ActivationRequest {
  Uuid workflow;
  Sequence restored_sequence = 0;
  Digest state{};
  std::string description;  // JSON, shown as the action's data
  // In the open write transaction of the live database: replaces its content and writes the cookie. What it leaves on
  // disk must be durable when it returns.
  std::function<Result<void>(Connection& live, uint32_t schema_cookie)> write;
  uint32_t schema_cookie_min = 0;  // of the content to come
  std::chrono::milliseconds patience{60000};
  std::function<bool()> cancelled = [] { return false; };
};

}  // namespace tillsync
