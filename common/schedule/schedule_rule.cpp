#include "schedule/schedule_rule.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace tillsync {

using namespace std::chrono_literals;

namespace {
constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
// No zone has changed its offset twice within it.
constexpr std::chrono::hours kReach{24};
}  // namespace

std::string to_string(const ScheduleRule& rule) {
  if (rule.kind == ScheduleRule::Kind::off) return "";
  if (rule.kind == ScheduleRule::Kind::every) return std::to_string(rule.every.count()) + "ms";
  std::array<char, 16> time{};
  std::snprintf(time.data(), time.size(), "%02d:%02d", static_cast<int>(rule.time_of_day / 1h),
                static_cast<int>(rule.time_of_day % 1h / 1min));
  return (rule.day ? std::string(kDays[rule.day->c_encoding()]) + " " : std::string()) + time.data();
}

std::chrono::seconds system_utc_offset(Timestamp at) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch());
  const std::time_t utc = seconds.count();
  std::tm local{};
#ifdef _WIN32
  if (localtime_s(&local, &utc) != 0) return 0s;
#else
  tzset();  // localtime_r need not look whether the zone was changed
  if (localtime_r(&utc, &local) == nullptr) return 0s;
#endif
  const std::chrono::sys_days day = std::chrono::year(local.tm_year + 1900) /
                                    std::chrono::month(static_cast<unsigned>(local.tm_mon + 1)) /
                                    std::chrono::day(static_cast<unsigned>(local.tm_mday));
  return day.time_since_epoch() + std::chrono::hours(local.tm_hour) + std::chrono::minutes(local.tm_min) +
         std::chrono::seconds(local.tm_sec) - seconds;
}

Timestamp Recurrence::on_day(std::chrono::sys_days local_day) const {
  // The wall clock's time as if it were UTC's.
  const Timestamp wall = std::chrono::time_point_cast<Milliseconds>(local_day) + rule_.time_of_day;
  const auto before = offset_(wall - kReach), after = offset_(wall + kReach);
  // Of a time that comes twice the first is the one by the greater offset.
  for (const auto offset : {std::max(before, after), std::min(before, after)})
    if (offset_(wall - offset) == offset) return wall - offset;
  // Left out: between these the clock jumps; its first moment after it.
  Timestamp low = wall - std::max(before, after), high = wall - std::min(before, after);
  const auto old = offset_(low);
  while (high - low > 1s) {
    const Timestamp middle = low + (high - low) / 2;
    (offset_(middle) == old ? low : high) = middle;
  }
  return std::chrono::ceil<std::chrono::seconds>(high);
}

// Days from t on, forward or back, a little before it to begin with: a week has every weekday, and the shift is added.
template <typename Accept>
std::optional<Timestamp> Recurrence::search(Timestamp t, int step, Accept accept) const {
  const auto today = std::chrono::floor<std::chrono::days>(t + offset_(t));
  const int days = 9 + static_cast<int>(shift_ / 24h);
  for (int i = -days; i <= days; i++) {
    const auto day = today + std::chrono::days(i * step);
    if (rule_.day && std::chrono::weekday(day) != *rule_.day) continue;
    const Timestamp moment = on_day(day) + shift_;
    if (accept(moment)) return moment;
  }
  return std::nullopt;
}

std::optional<Timestamp> Recurrence::newest(Timestamp t) const {
  if (rule_.kind == ScheduleRule::Kind::off) return std::nullopt;
  if (rule_.kind == ScheduleRule::Kind::at) return search(t, -1, [t](Timestamp moment) { return moment <= t; });
  const Timestamp origin = Timestamp() + shift_ % rule_.every;
  return origin + (t - origin) / rule_.every * rule_.every;
}

std::optional<Timestamp> Recurrence::next(Timestamp t) const {
  if (rule_.kind == ScheduleRule::Kind::at) return search(t, 1, [t](Timestamp moment) { return moment > t; });
  auto last = newest(t);
  return last ? std::optional(*last + rule_.every) : std::nullopt;
}

}  // namespace tillsync
