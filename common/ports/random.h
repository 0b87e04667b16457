// Randomness, as a port: from the operating system in production, from a printed seed in tests.
//
// Threads: all calls are safe from any thread.
#pragma once

#include "base/bytes.h"
#include "base/ids.h"
#include "ports/clock.h"

namespace tillsync {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(MutableBytes out) = 0;
};

inline Uuid make_uuid_v7(Clock& clock, Random& random) {
  std::array<uint8_t, 10> bits;
  random.fill(bits);
  return uuid_v7(clock.now(), bits);
}

}  // namespace tillsync
