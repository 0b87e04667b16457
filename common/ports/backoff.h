// How long to wait before the next try: exponential with full jitter.
//
// Why full jitter: after an outage a whole fleet would else come back in step, again and again.
// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#pragma once

#include <algorithm>

#include "base/types.h"
#include "ports/random.h"

namespace tillsync {

struct Backoff {
  Milliseconds base{1000};
  Milliseconds cap{5 * 60 * 1000};

  // The longest wait before retry number `retry` (from 1): base, 2 × base, 4 × base, … up to cap.
  Milliseconds longest(uint32_t retry) const {
    uint32_t doublings = std::min<uint32_t>(retry == 0 ? 0 : retry - 1, 30);
    return std::min(cap, Milliseconds(base.count() << doublings));
  }
  // Uniform in 0 … longest(retry).
  Milliseconds wait(uint32_t retry, Random& random) const {
    uint64_t bits;
    random.fill({reinterpret_cast<uint8_t*>(&bits), sizeof bits});
    return Milliseconds(static_cast<int64_t>(bits % (static_cast<uint64_t>(longest(retry).count()) + 1)));
  }
};

// Can the same request succeed later without anyone changing it?
constexpr bool is_retriable(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::corrupt:
    case ErrorKind::usage:
    case ErrorKind::denied:
    case ErrorKind::schema:
    case ErrorKind::not_found:
    case ErrorKind::cancelled: return false;
    default: return true;
  }
}

}  // namespace tillsync
