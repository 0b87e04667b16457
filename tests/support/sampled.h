// Which of very many cases a test takes: all of them where TILLSYNC_EVERY is set (./dev faults), else a share that is
// another one each run, so that the tests are done while somebody waits for them.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "support/seeded_random.h"

namespace tillsync::test {

class Sampled {
 public:
  // Every `share`th of them, from a random one on.
  Sampled(SeededRandom& random, uint64_t share)
      : step_(std::getenv("TILLSYNC_EVERY") ? 1 : share), first_(random.below(step_)) {}
  // for (uint64_t n = first + sampled.first(); n <= last; n += sampled.step())
  uint64_t first() const { return first_; }
  uint64_t step() const { return step_; }

 private:
  uint64_t step_, first_;
};

}  // namespace tillsync::test
