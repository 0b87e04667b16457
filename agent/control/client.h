// The command line's end of local control: blocking calls to the agent.
//
// Errors: what the agent answers; of its own: offline for an agent that is not there or went away (is_agent_absent()
// tells it from a store that is offline), denied for a socket of somebody else, timeout, cancelled. Threads: one at a
// time.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "agent/control/message.h"
#include "agent/control/unique_fd.h"
#include "base/result.h"

namespace tillsync {

// True for the error of a client that could not reach its agent, or lost it.
bool is_agent_absent(const Error& error);

class ControlClient {
 public:
  using OnNotification = std::function<void(const std::string& method, const Json& params)>;
  struct CallOptions {
    int fd = -1;  // a descriptor to send along; stays the caller's
    OnNotification on_notification;
    std::optional<std::chrono::steady_clock::time_point> deadline;  // none: waits as long as it takes
  };
  // is_cancelled is asked several times a second while a call waits (Ctrl-C).
  static Result<ControlClient> connect(const std::string& path, std::function<bool()> is_cancelled = nullptr);

  // After timeout or cancelled the connection is of no further use.
  Result<Json> call(const std::string& method, const Json& params, const CallOptions& options);
  Result<Json> call(const std::string& method, const Json& params = Json::object());

 private:
  ControlClient(std::string path, UniqueFd fd, std::function<bool()> is_cancelled)
      : path_(std::move(path)), fd_(std::move(fd)), is_cancelled_(std::move(is_cancelled)) {}
  Result<void> send(const std::string& line, const CallOptions& options);
  Result<std::string> receive_line(const CallOptions& options);
  Result<void> wait_for(short events, const CallOptions& options);
  std::string path_;
  UniqueFd fd_;
  std::function<bool()> is_cancelled_;
  std::string incoming_;
  int64_t last_id_ = 0;
};

}  // namespace tillsync
