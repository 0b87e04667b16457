// Numbers that name things, and time.
//
// Units: Timestamp is milliseconds since 1970-01-01 UTC. PageNo counts from 1 as SQLite does; 0 is no page.
// Sequence and TransactionNo count from 1 within one database's log; 0 is before the first.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace tillsync {

using PageNo = uint32_t;
using FrameNo = uint32_t;
using Sequence = uint64_t;
using TransactionNo = uint64_t;
using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;
using Milliseconds = std::chrono::milliseconds;

inline int64_t to_ms(Timestamp t) { return t.time_since_epoch().count(); }
inline Timestamp from_ms(int64_t ms) { return Timestamp(Milliseconds(ms)); }

// "2026-11-22T19:40:00.123Z" and back. Parsing also takes seconds without a fraction, a blank instead of T, and an
// offset such as +01:00; without Z or offset the time is UTC.
std::string to_rfc3339(Timestamp t);
Result<Timestamp> parse_rfc3339(std::string_view text);

}  // namespace tillsync
