#include "agent/logging/log.h"

#include <spdlog/spdlog.h>

namespace tillsync::log {

namespace {

spdlog::level::level_enum level_of(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    case Level::critical: return spdlog::level::critical;
    case Level::off: break;
  }
  return spdlog::level::off;
}

}  // namespace

void set_level(Level level) { spdlog::set_level(level_of(level)); }

void say_formatted(Level level, fmt::string_view format, fmt::format_args values) {
  auto* logger = spdlog::default_logger_raw();
  if (logger->should_log(level_of(level))) logger->log(level_of(level), fmt::vformat(format, values));
}

}  // namespace tillsync::log
