// Answers GET /metrics on a loopback port or a Unix socket.
//
// Purpose: whoever scrapes is on this machine. Bad clients are bounded: connections at a time, size of a request,
// seconds for all of it. One request a connection. Errors: listen(): those of the socket, with the address. Threads:
// the loop's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace tillsync {

class MetricsServer {
 public:
  // Finds the text on a thread that may wait, and hands it to `told` on the loop.
  using Told = std::function<void(Result<std::string> text)>;
  using Look = std::function<void(Told told)>;
  // address: "127.0.0.1:9469", "[::1]:9469" or "unix:/path"; port 0: any that is free.
  static Result<std::unique_ptr<MetricsServer>> listen(boost::asio::io_context& loop, const std::string& address,
                                                       Look look);
  ~MetricsServer();  // as stop()
  void stop();
  // As it is reached: with the port that was taken.
  const std::string& address() const;

 private:
  struct Core;
  explicit MetricsServer(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace tillsync
