// Where the metrics go: a listener, a file for node_exporter, or nowhere (docs/operations.md).
//
// Purpose: [metrics] of the configuration. The file is replaced as a whole, every kFileInterval. Errors: problem();
// sales are kept whether anybody counts them or not. Threads: the loop's; problem() any.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <optional>

#include "agent/config/config.h"
#include "agent/daemon/metrics_server.h"

namespace tillsync {

class MetricsExport {
 public:
  static constexpr std::chrono::seconds kFileInterval{30};
  MetricsExport(boost::asio::io_context& loop, const MetricsConfig& config, MetricsServer::Look look)
      : loop_(loop), config_(config), look_(std::move(look)), timer_(loop) {}
  void start();
  void stop();
  std::optional<Error> problem() const;

 private:
  void write_file();
  void set_problem(std::optional<Error> problem);
  boost::asio::io_context& loop_;
  const MetricsConfig config_;
  const MetricsServer::Look look_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<MetricsServer> server_;
  bool stopped_ = false;
  mutable std::mutex mutex_;
  std::optional<Error> problem_;
};

}  // namespace tillsync
