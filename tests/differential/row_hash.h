// A table's content as a number: the same for both sides if, and only if, they hold the same rows.
//
// Purpose: every row of every table is compared after every transaction; as sums of hashes that costs one pass over the
// rows and no memory. Layout: a row's hash is over type and exact content of each value, in order; a table's is the sum
// of its rows' (mod 2^64, twice, by unrelated functions), so that the order of rows does not count and each counts.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "dbfile/record.h"

namespace tillsync::test {

struct TableSum {
  uint64_t rows = 0, a = 0, b = 0;
  bool operator==(const TableSum&) const = default;
  void add(const TableSum& row) { rows += row.rows, a += row.a, b += row.b; }
  void take_away(const TableSum& row) { rows -= row.rows, a -= row.a, b -= row.b; }
};

using ContentSum = std::map<std::string, TableSum>;

class RowHash {
 public:
  void add(const Value& v) {
    mix(static_cast<uint64_t>(v.type) + 1);
    switch (v.type) {
      case ValueType::null: break;
      case ValueType::integer: mix(static_cast<uint64_t>(v.integer)); break;
      case ValueType::real: {
        uint64_t bits;
        std::memcpy(&bits, &v.real, sizeof bits);
        mix(bits);
        break;
      }
      case ValueType::text:
      case ValueType::blob: {
        mix(v.bytes.size());
        size_t at = 0;
        for (; at + 8 <= v.bytes.size(); at += 8) mix(le64(v.bytes.data() + at));
        uint64_t rest = 0;
        if (at < v.bytes.size()) std::memcpy(&rest, v.bytes.data() + at, v.bytes.size() - at);
        mix(rest);
        break;
      }
    }
  }
  TableSum row() const { return {1, finish(a_), finish(b_)}; }

 private:
  // Folded 128-bit products, as in wyhash; nobody works against it here.
  static uint64_t fold(uint64_t x, uint64_t y) {
    auto product = static_cast<unsigned __int128>(x) * y;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }
  void mix(uint64_t v) {
    a_ = fold(a_ ^ v ^ 0x9e3779b97f4a7c15, 0xa0761d6478bd642f) + 1;
    b_ = (b_ ^ v) * 0xff51afd7ed558ccd;
    b_ ^= b_ >> 29;
  }
  static uint64_t finish(uint64_t v) { return fold(v ^ 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3); }
  uint64_t a_ = 1, b_ = 2;
};

// For a person: cut off, with a hash of all of it.
inline std::string text_of(const Value& v) {
  RowHash hash;
  hash.add(v);
  char real[40];
  switch (v.type) {
    case ValueType::null: return "NULL ";
    case ValueType::integer: return std::to_string(v.integer) + " ";
    case ValueType::real: std::snprintf(real, sizeof real, "r%.17g ", v.real); return real;
    default: break;
  }
  return (v.type == ValueType::text ? "t" : "x") + to_hex(v.bytes.first(std::min<size_t>(v.bytes.size(), 20))) + "(" +
         std::to_string(v.bytes.size()) + " bytes, " + std::to_string(hash.row().a % 10000) + ") ";
}

}  // namespace tillsync::test
