#include "agent/config/values.h"

#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

namespace tillsync {

namespace {

Error expected(std::string what) { return Error{ErrorKind::usage, 0, "expected " + std::move(what)}; }

// The digits in front; the rest stays in text.
std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end == text.data()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

template <size_t N>
std::optional<uint64_t> number_with_unit(std::string_view text,
                                         const std::array<std::pair<std::string_view, uint64_t>, N>& units) {
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  for (const auto& [unit, factor] : units) {
    if (unit != text) continue;
    if (*number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / factor) return std::nullopt;
    return *number * factor;
  }
  return std::nullopt;
}

constexpr std::array<std::pair<std::string_view, uint64_t>, 6> kDurations{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}, {"w", 604'800'000}}};
constexpr std::array<std::pair<std::string_view, uint64_t>, 9> kSizes{{{"B", 1},
                                                                       {"KiB", 1024},
                                                                       {"MiB", 1ULL << 20},
                                                                       {"GiB", 1ULL << 30},
                                                                       {"TiB", 1ULL << 40},
                                                                       {"kB", 1000},
                                                                       {"MB", 1'000'000},
                                                                       {"GB", 1'000'000'000},
                                                                       {"TB", 1'000'000'000'000}}};
constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

std::optional<std::chrono::minutes> time_of_day(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  for (const size_t at : {0u, 1u, 3u, 4u})
    if (text[at] < '0' || text[at] > '9') return std::nullopt;
  const int hours = (text[0] - '0') * 10 + (text[1] - '0');
  const int minutes = (text[3] - '0') * 10 + (text[4] - '0');
  if (hours > 23 || minutes > 59) return std::nullopt;
  return std::chrono::minutes(hours * 60 + minutes);
}

}  // namespace

Result<Milliseconds> parse_duration(std::string_view text) {
  const auto value = number_with_unit(text, kDurations);
  if (!value) return expected("a duration such as \"60s\", \"15m\" or \"90d\" (ms, s, m, h, d, w)");
  return Milliseconds(static_cast<int64_t>(*value));
}

Result<uint64_t> parse_size(std::string_view text) {
  const auto value = number_with_unit(text, kSizes);
  if (!value) return expected("a size such as \"16MiB\" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)");
  return *value;
}

Result<uint64_t> parse_rate(std::string_view text) {
  if (text.empty()) return uint64_t{0};
  if (text.ends_with("/s")) {
    const auto value = number_with_unit(text.substr(0, text.size() - 2), kSizes);
    if (value && *value > 0) return *value;
  }
  return expected("a rate such as \"2MiB/s\", or \"\" for no limit");
}

Result<HourRange> parse_hours(std::string_view text) {
  if (text.size() == 11 && text[5] == '-') {
    const auto from = time_of_day(text.substr(0, 5)), to = time_of_day(text.substr(6));
    if (from && to && *from != *to) return HourRange{*from, *to};
  }
  return expected("hours such as \"22:00-06:00\"");
}

Result<ScheduleRule> parse_schedule(std::string_view text) {
  ScheduleRule rule;
  if (text.empty()) return rule;
  if (const auto every = number_with_unit(text, kDurations)) {
    if (*every < 60'000) return expected("a period of at least one minute");
    rule.kind = ScheduleRule::Kind::every;
    rule.every = Milliseconds(static_cast<int64_t>(*every));
    return rule;
  }
  rule.kind = ScheduleRule::Kind::at;
  if (text.size() == 9 && text[3] == ' ') {
    for (unsigned day = 0; day < kDays.size(); ++day)
      if (text.substr(0, 3) == kDays[day]) rule.day = std::chrono::weekday(day);
    if (rule.day) text.remove_prefix(4);
  }
  const auto time = time_of_day(text);
  if (!time) return expected("\"\" (off), a period such as \"15m\", or a time such as \"03:00\" or \"Sun 03:00\"");
  rule.time_of_day = *time;
  return rule;
}

}  // namespace tillsync
