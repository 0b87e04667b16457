// SQLite's variable-length integer: 1 to 9 bytes, big-endian, 7 bits a byte and 8 in the ninth.
//
// Source: SQLite file format §1.6 ("varint").
#pragma once

#include "base/bytes.h"

namespace tillsync {

// Reads one varint from [p, end). Returns its length, or 0 when it does not end before `end`.
inline unsigned read_varint(const uint8_t* p, const uint8_t* end, uint64_t& value) {
  if (p >= end) return 0;
  if (p[0] < 0x80) {
    value = p[0];
    return 1;
  }
  uint64_t v = p[0] & 0x7f;
  for (unsigned i = 1; i < 8; i++) {
    if (p + i >= end) return 0;
    v = v << 7 | (p[i] & 0x7f);
    if (p[i] < 0x80) {
      value = v;
      return i + 1;
    }
  }
  if (p + 8 >= end) return 0;
  value = v << 8 | p[8];
  return 9;
}

inline void put_varint(Bytes& out, uint64_t v) {
  if (v > 0x00ffffffffffffff) {
    uint8_t buffer[9];
    buffer[8] = static_cast<uint8_t>(v);
    v >>= 8;
    for (int i = 7; i >= 0; i--) {
      buffer[i] = static_cast<uint8_t>(v | 0x80);
      v >>= 7;
    }
    append(out, buffer);
    return;
  }
  uint8_t buffer[9];
  int n = 9;
  bool last = true;
  do {
    buffer[--n] = static_cast<uint8_t>((v & 0x7f) | (last ? 0 : 0x80));
    last = false;
    v >>= 7;
  } while (v);
  append(out, {buffer + n, static_cast<size_t>(9 - n)});
}

}  // namespace tillsync
