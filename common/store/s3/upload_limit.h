// How much may be sent now: a token bucket, one for all connections together.
//
// Units: bytes, bytes per second. A bucket starts empty and holds at most a quarter of a second, so that a late timer
// loses nothing and a pause is not caught up.
// Threads: one; time is passed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tillsync::s3 {

class UploadLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // 0: no limit.
  void set_rate(uint64_t bytes_per_second, Time now) {
    fill(now);
    rate_ = static_cast<double>(bytes_per_second);
    tokens_ = std::min(tokens_, rate_ / 4);
  }
  // How many of `wanted` bytes may go now; 0: ask again after wait().
  uint64_t take(uint64_t wanted, Time now) {
    if (rate_ == 0) return wanted;
    fill(now);
    // Not byte by byte: a system call and a TLS record for each would cost more than they carry.
    if (tokens_ < static_cast<double>(std::min<uint64_t>(wanted, least()))) return 0;
    const uint64_t taken = std::min(wanted, static_cast<uint64_t>(tokens_));
    tokens_ -= static_cast<double>(taken);
    return taken;
  }
  std::chrono::microseconds wait() const {
    if (rate_ == 0) return std::chrono::microseconds(0);
    const double missing = std::max(0.0, static_cast<double>(least()) - tokens_);
    return std::chrono::microseconds(static_cast<int64_t>(missing / rate_ * 1e6) + 1);
  }

 private:
  uint64_t least() const { return std::clamp<uint64_t>(static_cast<uint64_t>(rate_ / 50), 1, 16 << 10); }
  void fill(Time now) {
    if (last_ != Time{})
      tokens_ = std::min(rate_ / 4, tokens_ + rate_ * std::chrono::duration<double>(now - last_).count());
    last_ = now;
  }
  double rate_ = 0, tokens_ = 0;
  Time last_{};
};

}  // namespace tillsync::s3
