#include "agent/logging/log_context.h"

namespace tillsync {

namespace {
LogContext::Fields& fields() {
  thread_local LogContext::Fields of_thread;
  return of_thread;
}
}  // namespace

LogContext::LogContext(std::string name, std::string value) {
  fields().emplace_back(std::move(name), std::move(value));
}
LogContext::~LogContext() { fields().pop_back(); }
const LogContext::Fields& LogContext::of_this_thread() { return fields(); }

}  // namespace tillsync
