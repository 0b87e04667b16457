// Hours of the day by the till's own clock: when something may be done.
#pragma once

#include <chrono>
#include <vector>

#include "schedule/schedule_rule.h"

namespace tillsync {

struct HourRange {  // from 22:00 to 06:00 goes over midnight
  std::chrono::minutes from{0}, to{0};
  bool operator==(const HourRange&) const = default;
  // minute: of the day, 0 to 1439. The range begins with from and ends before to.
  bool contains(std::chrono::minutes minute) const {
    return from <= to ? from <= minute && minute < to : minute >= from || minute < to;
  }
};

// Within one of the ranges; always, if there are none.
inline bool is_within(const std::vector<HourRange>& ranges, Timestamp at, const UtcOffset& offset) {
  if (ranges.empty()) return true;
  const auto local = at + offset(at);
  const auto minute =
      std::chrono::duration_cast<std::chrono::minutes>(local - std::chrono::floor<std::chrono::days>(local));
  for (const HourRange& range : ranges)
    if (range.contains(minute)) return true;
  return false;
}

}  // namespace tillsync
