// How long to wait before the next try: exponential with full jitter.
//
// Why full jitter: after an outage a whole fleet would else come back in step, again and again.
// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#pragma once

#include <algorithm>
#include <utility>

#include "base/result.h"
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
  Milliseconds wait(uint32_t retry, Random& random) const { return up_to(longest(retry), random); }
  static Milliseconds up_to(Milliseconds most, Random& random) {
    uint64_t bits;
    random.fill({reinterpret_cast<uint8_t*>(&bits), sizeof bits});
    return Milliseconds(static_cast<int64_t>(bits % (static_cast<uint64_t>(most.count()) + 1)));
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

// Nothing of the request is wrong: the way to the other side, or the other side, has to heal, however long it takes.
constexpr bool is_outage(ErrorKind kind) {
  return kind == ErrorKind::offline || kind == ErrorKind::throttled || kind == ErrorKind::timeout ||
         kind == ErrorKind::transient;
}

// Of one who tries until it succeeds: how long to wait after each failure. What the other side asks for comes before
// the jitter, and makes it longer: those it asks at one moment must not come back at one.
class RetryPace {
 public:
  explicit RetryPace(Backoff backoff = {}) : backoff_(backoff) {}
  Milliseconds failed(const Error& error, Random& random) {
    if (failures_ < UINT32_MAX) failures_++;
    return error.retry_after + Backoff::up_to(std::max(backoff_.longest(failures_), error.retry_after / 2), random);
  }
  // Whether there was a failure before.
  bool succeeded() { return std::exchange(failures_, 0) > 0; }

 private:
  Backoff backoff_;
  uint32_t failures_ = 0;
};

}  // namespace tillsync
