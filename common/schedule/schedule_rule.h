// When something recurs, and the moments a rule names.
//
// Purpose: a time of day is one of the shop's wall clock. When daylight saving begins, a time that does not exist that
// day means the first moment after the gap; when it ends, a time that comes twice means the first. So each day's run
// happens once, never twice and never not at all. A period is counted from 1970 (UTC): it has nothing to do with when
// the agent started.
// Shift: every moment is later by it. A terminal's own, so that a chain of shops does not upload at the same second; of
// a period only its rest counts (ten minutes in 15m, but not an hour).
// Threads: pure.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/types.h"

namespace tillsync {

// "" is off, "15m" is every quarter of an hour, "03:00" is daily and "Sun 03:00" weekly.
struct ScheduleRule {
  enum class Kind { off, every, at };
  Kind kind = Kind::off;
  Milliseconds every{0};
  std::optional<std::chrono::weekday> day;
  std::chrono::minutes time_of_day{0};
  bool operator==(const ScheduleRule&) const = default;
};

// As the configuration writes it, but for the unit of a period: "900000ms", "Sun 03:00", "".
std::string to_string(const ScheduleRule& rule);

// How much the local clock is ahead of UTC at a moment.
using UtcOffset = std::function<std::chrono::seconds(Timestamp)>;
// By the rules of this machine's time zone, as they are now.
std::chrono::seconds system_utc_offset(Timestamp at);

class Recurrence {
 public:
  Recurrence(ScheduleRule rule, Milliseconds shift, UtcOffset offset)
      : rule_(rule), shift_(shift), offset_(std::move(offset)) {}
  // The newest moment at or before t; nullopt only for a rule that is off.
  std::optional<Timestamp> newest(Timestamp t) const;
  // The first moment after t.
  std::optional<Timestamp> next(Timestamp t) const;

 private:
  Timestamp on_day(std::chrono::sys_days local_day) const;
  template <typename Accept>
  std::optional<Timestamp> search(Timestamp t, int step, Accept accept) const;
  ScheduleRule rule_;
  Milliseconds shift_;
  UtcOffset offset_;
};

}  // namespace tillsync
