#include "agent/daemon/metrics_export.h"

#include "agent/logging/log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <system_error>

namespace tillsync {

namespace {
// No sync: what a power cut takes is written anew half a minute later.
Result<void> replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + "." + std::to_string(::getpid()) + ".tmp";
  {
    std::ofstream out(fresh, std::ios::trunc | std::ios::binary);
    out << text << std::flush;
    if (out && std::rename(fresh.c_str(), path.c_str()) == 0) return {};
  }
  const int code = errno;
  std::remove(fresh.c_str());
  return Error{ErrorKind::denied, code, "[metrics] textfile " + path + ": " + std::generic_category().message(code)};
}
}  // namespace

void MetricsExport::start() {
  if (!config_.listen.empty()) {
    auto server = MetricsServer::listen(loop_, config_.listen, look_);
    if (server) {
      server_ = std::move(*server);
      log::info("metrics on {}", server_->address());
    } else {
      log::error("{}", server.error().context);
      set_problem(server.error());
    }
  }
  if (!config_.textfile.empty()) write_file();
}

void MetricsExport::write_file() {
  look_([this](Result<std::string> text) {
    if (stopped_) return;
    auto written = text ? replace_file(config_.textfile, *text) : Result<void>(text.error());
    if (!written && !problem()) log::error("{}", written.error().context);
    if (!server_ && !config_.listen.empty() && written) return;  // what is said stays the listener's
    set_problem(written ? std::nullopt : std::optional(written.error()));
  });
  timer_.expires_after(kFileInterval);
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) write_file();
  });
}

void MetricsExport::stop() {
  stopped_ = true;
  timer_.cancel();
  if (server_) server_->stop();
}

std::optional<Error> MetricsExport::problem() const {
  std::lock_guard lock(mutex_);
  return problem_;
}

void MetricsExport::set_problem(std::optional<Error> problem) {
  std::lock_guard lock(mutex_);
  problem_ = std::move(problem);
}

}  // namespace tillsync
