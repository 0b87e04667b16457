// A digest of a set of rows that is kept in step without a scan: the sum modulo 2^256 of one SHA-256 per row.
//
// Layout: 32 bytes, four 64-bit lanes, least significant lane first, each little-endian; the digest of a row is read in
// the same order. Adding and subtracting are exact inverses, in any order.
#pragma once

#include <array>
#include <compare>

#include "base/ids.h"

namespace tillsync {

class MultisetDigest {
 public:
  MultisetDigest() = default;
  static Result<MultisetDigest> from_bytes(ByteView thirty_two) {
    TILLSYNC_LET(Digest raw, Digest::from_bytes(thirty_two));
    MultisetDigest d;
    for (size_t i = 0; i < 4; i++) d.lanes_[i] = le64(raw.bytes.data() + 8 * i);
    return d;
  }
  void add(const Digest& row) {
    unsigned __int128 carry = 0;
    for (size_t i = 0; i < 4; i++) {
      carry += static_cast<unsigned __int128>(lanes_[i]) + le64(row.bytes.data() + 8 * i);
      lanes_[i] = static_cast<uint64_t>(carry);
      carry >>= 64;
    }
  }
  void add(const MultisetDigest& rows) {
    Digest other;
    other.bytes = rows.bytes();
    add(other);
  }
  void subtract(const Digest& row) {
    uint64_t borrow = 0;
    for (size_t i = 0; i < 4; i++) {
      uint64_t v = le64(row.bytes.data() + 8 * i);
      uint64_t part = lanes_[i] - v;
      uint64_t next = lanes_[i] < v;
      next |= part < borrow;
      lanes_[i] = part - borrow;
      borrow = next;
    }
  }
  std::array<uint8_t, 32> bytes() const {
    std::array<uint8_t, 32> out;
    for (size_t i = 0; i < 4; i++)
      for (size_t b = 0; b < 8; b++) out[8 * i + b] = static_cast<uint8_t>(lanes_[i] >> (8 * b));
    return out;
  }
  std::string hex() const { return to_hex(bytes()); }
  auto operator<=>(const MultisetDigest&) const = default;

 private:
  std::array<uint64_t, 4> lanes_{};
};

// What a table holds: carried with every snapshot and every log segment, compared after every restore.
struct TableDigest {
  std::string name;
  uint64_t rows = 0;
  MultisetDigest digest;
  auto operator<=>(const TableDigest&) const = default;
};

}  // namespace tillsync
