// UUIDs.
//
// Layout: 16 bytes in network order, printed lower case. Version 7 carries milliseconds and randomness (names of new
// things); version 8 carries the first 122 usable bits of a digest (names derived from content).
// Source: RFC 9562 §5.7, §5.8.
#pragma once

#include <array>
#include <compare>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

struct Uuid {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Uuid&) const = default;
  bool is_nil() const { return *this == Uuid{}; }
  std::string str() const;
  ByteView view() const { return bytes; }
  static Result<Uuid> parse(std::string_view text);
  static Result<Uuid> from_bytes(ByteView sixteen);
};

// random: 10 bytes, of which 74 bits are used.
Uuid uuid_v7(Timestamp now, ByteView random);
// digest: at least 16 bytes.
Uuid uuid_v8(ByteView digest);

struct Digest {  // SHA-256
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const Digest&) const = default;
  std::string hex() const { return to_hex(bytes); }
  ByteView view() const { return bytes; }
  static Result<Digest> from_bytes(ByteView thirty_two);
  static Result<Digest> parse(std::string_view hex);
};

}  // namespace tillsync
