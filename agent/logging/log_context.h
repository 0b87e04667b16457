// What the messages of a thread are about, for whoever filters them.
//
// Purpose: fields that come with every message of this thread while the object lives. Threads: each its own;
// set_terminal() any, once.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tillsync {

class LogContext {
 public:
  // name: lower case, such as "database".
  LogContext(std::string name, std::string value);
  ~LogContext();
  LogContext(const LogContext&) = delete;
  LogContext& operator=(const LogContext&) = delete;

  using Fields = std::vector<std::pair<std::string, std::string>>;
  static const Fields& of_this_thread();
};

}  // namespace tillsync
