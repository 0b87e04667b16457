#include "agent/logging/log_output.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <deque>

#include "agent/logging/log_context.h"
#include "agent/logging/repeat_limit.h"
#include "platform/linux/journal_linux.h"

namespace tillsync {

namespace {

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr size_t kMessageMax = 32 << 10;

std::unique_ptr<spdlog::formatter> line_format() {
  return std::make_unique<spdlog::pattern_formatter>(kPattern, spdlog::pattern_time_type::utc);
}

std::string cut(spdlog::string_view_t text, size_t at_most) {
  const size_t size = std::min<size_t>(text.size(), at_most);
  return std::string(text.data(), size) + (size < text.size() ? "…" : "");
}

// syslog's
int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical: return 2;
    case spdlog::level::err: return 3;
    case spdlog::level::warn: return 4;
    case spdlog::level::info: return 6;
    default: return 7;
  }
}

class JournalSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    Journal::Fields fields{{"MESSAGE", cut(message.payload, kMessageMax)},
                           {"PRIORITY", std::to_string(priority_of(message.level))},
                           {"SYSLOG_IDENTIFIER", "tillsyncd"}};
    for (auto& [name, value] : LogContext::of_this_thread()) {
      std::string capitals = "TILLSYNC_";
      for (const char c : name) capitals += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
      fields.emplace_back(capitals, value);
    }
    if (!journal_.send(fields)) {
      // Its socket may be away for a moment: the stream is there.
      std::fprintf(stderr, "<%d>%s\n", priority_of(message.level), fields[0].second.c_str());
    }
  }
  void flush_() override {}

 private:
  Journal journal_;
};

class RecentLog : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> lines() {
    std::lock_guard lock(mutex_);
    return {lines_.begin(), lines_.end()};
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    lines_.push_back(cut(spdlog::string_view_t(line.data(), line.size()), kRecentLineMax));
    if (lines_.size() > kRecentMax) lines_.pop_front();
  }
  void flush_() override {}

 private:
  std::deque<std::string> lines_;
};

// In front of the others.
class LimitedSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LimitedSink(std::vector<spdlog::sink_ptr> sinks) : sinks_(std::move(sinks)) {}
  ~LimitedSink() override {
    for (auto& left : limit_.rest()) tell(spdlog::log_clock::now(), left);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::vector<RepeatLimit::Left> over;
    const bool passes = limit_.passes(message.time, message.level,
                                      std::string_view(message.payload.data(), message.payload.size()), over);
    for (auto& left : over) tell(message.time, left);
    if (!passes) return;
    for (auto& target : sinks_) target->log(message);
  }
  void flush_() override {
    for (auto& target : sinks_) target->flush();
  }

 private:
  void tell(spdlog::log_clock::time_point at, const RepeatLimit::Left& left) {
    const std::string text = "(" + std::to_string(left.count) + " more like this were left out) " + left.message;
    spdlog::details::log_msg message(at, spdlog::source_loc{}, "", static_cast<spdlog::level::level_enum>(left.level),
                                     text);
    for (auto& target : sinks_) target->log(message);
  }
  std::vector<spdlog::sink_ptr> sinks_;
  RepeatLimit limit_;
};

std::shared_ptr<RecentLog> recent;

}  // namespace

Result<void> set_up_logging(const LogConfig& config, const std::string& level) {
  spdlog::sink_ptr output;
  if (!config.file.empty()) {
    try {
      output = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(config.file, config.file_size,
                                                                      static_cast<size_t>(config.files - 1));
    } catch (const spdlog::spdlog_ex& failed) {
      return Error{ErrorKind::usage, 0, "[log] file " + config.file + ": " + failed.what()};
    }
  } else if (Journal::has_stderr()) {
    output = std::make_shared<JournalSink>();
  } else {
    output = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  output->set_formatter(line_format());
  recent = std::make_shared<RecentLog>();
  recent->set_formatter(line_format());
  auto limited = std::make_shared<LimitedSink>(std::vector<spdlog::sink_ptr>{output, recent});
  auto logger = std::make_shared<spdlog::logger>("tillsyncd", limited);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
  return {};
}

void end_logging() { spdlog::shutdown(); }

std::vector<std::string> recent_log() { return recent ? recent->lines() : std::vector<std::string>(); }

}  // namespace tillsync
