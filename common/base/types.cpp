#include "base/types.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace tillsync {

namespace {
// Years of four digits in UTC (RFC 3339 §5.6): another time is not parsed, and written as the nearest of these.
constexpr Timestamp kFirst{std::chrono::sys_days(std::chrono::year(0) / 1 / 1)};
constexpr Timestamp kLast{std::chrono::sys_days(std::chrono::year(10000) / 1 / 1) - Milliseconds(1)};
}  // namespace

std::string to_rfc3339(Timestamp t) {
  t = std::clamp(t, kFirst, kLast);
  auto day = std::chrono::floor<std::chrono::days>(t);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss time(t - day);
  char out[48];
  std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
  return out;
}

Result<Timestamp> parse_rfc3339(std::string_view text) {
  std::string s(text);
  Error bad{ErrorKind::usage, 0, "'" + s + "' is not a time; write it as 2026-11-22T19:40:00.123Z"};
  int year, month, day, hour, minute, second, used = 0;
  char separator = 0;
  if (std::sscanf(s.c_str(), "%4d-%2d-%2d%c%2d:%2d:%2d%n", &year, &month, &day, &separator, &hour, &minute, &second,
                  &used) != 7 ||
      used == 0 || (separator != 'T' && separator != 't' && separator != ' '))
    return bad;
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return bad;
  const char* rest = s.c_str() + used;
  int64_t ms = 0;
  if (*rest == '.') {
    int64_t scale = 100;
    for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10) ms += (*rest - '0') * scale;
  }
  int64_t offset_minutes = 0;
  if (*rest == 'Z' || *rest == 'z') {
    rest++;
  } else if (*rest == '+' || *rest == '-') {
    int h, m, n = 0;
    if (std::sscanf(rest + 1, "%2d:%2d%n", &h, &m, &n) != 2 || n == 0) return bad;
    offset_minutes = (h * 60 + m) * (*rest == '-' ? -1 : 1);
    rest += 1 + n;
  }
  if (*rest) return bad;
  auto days = std::chrono::sys_days(date).time_since_epoch().count();
  const Timestamp t =
      from_ms(((days * 24 + hour) * 60 + minute - offset_minutes) * 60000 + int64_t{second} * 1000 + ms);
  if (t < kFirst || t > kLast) return bad;
  return t;
}

}  // namespace tillsync
