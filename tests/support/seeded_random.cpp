#include "support/seeded_random.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace tillsync::test {

uint64_t SeededRandom::seed_of_this_run() {
  uint64_t seed;
  if (const char* given = std::getenv("TILLSYNC_SEED")) {
    seed = std::strtoull(given, nullptr, 10);
  } else {
    std::random_device device;
    seed = uint64_t{device()} << 32 | device();
  }
  std::fprintf(stderr, "repeat with TILLSYNC_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// SplitMix64: every seed, also 0 and neighbours, gives an unrelated stream. Source: Steele, Lea, Flood 2014.
uint64_t SeededRandom::next() {
  std::lock_guard lock(mutex_);
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void SeededRandom::fill(MutableBytes out) {
  for (size_t at = 0; at < out.size(); at += 8) {
    uint64_t bits = next();
    std::memcpy(out.data() + at, &bits, std::min<size_t>(8, out.size() - at));
  }
}

}  // namespace tillsync::test
