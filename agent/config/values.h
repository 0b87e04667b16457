// Values that the configuration and the command line write as text: durations, sizes, rates, hours, schedules.
//
// Errors: usage; the context says what was expected, fit to stand after "key: ".
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/config/config.h"
#include "base/result.h"

namespace tillsync {

// A whole number and ms, s, m, h, d or w: "250ms", "90d".
Result<Milliseconds> parse_duration(std::string_view text);
// A whole number and B, KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000).
Result<uint64_t> parse_size(std::string_view text);
// A size per second: "2MiB/s". Empty: 0, no limit.
Result<uint64_t> parse_rate(std::string_view text);
// "22:00-06:00".
Result<HourRange> parse_hours(std::string_view text);
// See ScheduleRule. A period is at least a minute.
Result<ScheduleRule> parse_schedule(std::string_view text);

}  // namespace tillsync
