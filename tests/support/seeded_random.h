// Randomness that can be had again: from a seed. Threads: any.
#pragma once

#include <cstdint>
#include <mutex>

#include "ports/random.h"

namespace tillsync::test {

class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : seed_(seed), state_(seed) {}
  // Seed from the environment (TILLSYNC_SEED), else a new one each run; prints it, so that a failure can be repeated.
  static uint64_t seed_of_this_run();

  uint64_t seed() const { return seed_; }
  void fill(MutableBytes out) override;
  uint64_t next();
  // 0 … bound-1; 0 when bound is 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  bool chance(uint32_t percent) { return below(100) < percent; }

 private:
  std::mutex mutex_;
  const uint64_t seed_;
  uint64_t state_;
};

}  // namespace tillsync::test
