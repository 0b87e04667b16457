// Random numbers that are the same everywhere: std distributions differ between libraries, this does not.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace tillsync::pos {

class Dice {
 public:
  Dice(uint64_t seed, uint64_t stream) : state_(seed * 0x9e3779b97f4a7c15ULL ^ stream * 0xd1342543de82ef95ULL) {
    next();
  }

  uint64_t next() {  // SplitMix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  int64_t below(uint64_t bound) { return static_cast<int64_t>(next() % bound); }
  int64_t between(int64_t low, int64_t high) { return low + below(static_cast<uint64_t>(high - low + 1)); }
  bool one_in(uint64_t n) { return next() % n == 0; }
  Bytes blob(size_t size) {
    Bytes out(size);
    for (auto& byte : out) byte = static_cast<uint8_t>(next());
    return out;
  }
  std::string hex(size_t bytes) { return to_hex(blob(bytes)); }
  std::string uuid() {
    return hex(4) + "-" + hex(2) + "-4" + hex(2).substr(1) + "-a" + hex(2).substr(1) + "-" + hex(6);
  }

 private:
  uint64_t state_;
};

}  // namespace tillsync::pos
