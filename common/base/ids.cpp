#include "base/ids.h"

#include <algorithm>

namespace tillsync {

std::string Uuid::str() const {
  std::string hex = to_hex(bytes);
  for (size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
  return hex;
}

Result<Uuid> Uuid::parse(std::string_view text) {
  Error bad{ErrorKind::usage, 0, "'" + std::string(text) + "' is not a UUID"};
  if (text.size() != 36) return bad;
  std::string hex;
  for (size_t i = 0; i < text.size(); i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) return bad;
    if (!dash) hex.push_back(text[i]);
  }
  Bytes raw;
  if (!from_hex(hex, raw)) return bad;
  return from_bytes(raw);
}

Result<Uuid> Uuid::from_bytes(ByteView sixteen) {
  if (sixteen.size() != 16)
    return Error{ErrorKind::corrupt, 0, "a UUID has 16 bytes, not " + std::to_string(sixteen.size())};
  Uuid u;
  std::copy(sixteen.begin(), sixteen.end(), u.bytes.begin());
  return u;
}

Uuid uuid_v7(Timestamp now, ByteView random) {
  Uuid u;
  uint64_t ms = static_cast<uint64_t>(to_ms(now));
  for (int i = 0; i < 6; i++) u.bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(ms >> (40 - 8 * i));
  for (size_t i = 0; i < 10; i++) u.bytes[6 + i] = random[i];
  u.bytes[6] = static_cast<uint8_t>((u.bytes[6] & 0x0f) | 0x70);
  u.bytes[8] = static_cast<uint8_t>((u.bytes[8] & 0x3f) | 0x80);
  return u;
}

Uuid uuid_v8(ByteView digest) {
  Uuid u;
  std::copy_n(digest.begin(), 16, u.bytes.begin());
  u.bytes[6] = static_cast<uint8_t>((u.bytes[6] & 0x0f) | 0x80);
  u.bytes[8] = static_cast<uint8_t>((u.bytes[8] & 0x3f) | 0x80);
  return u;
}

Result<Digest> Digest::from_bytes(ByteView thirty_two) {
  if (thirty_two.size() != 32)
    return Error{ErrorKind::corrupt, 0, "a SHA-256 has 32 bytes, not " + std::to_string(thirty_two.size())};
  Digest d;
  std::copy(thirty_two.begin(), thirty_two.end(), d.bytes.begin());
  return d;
}

Result<Digest> Digest::parse(std::string_view hex) {
  Bytes raw;
  if (!from_hex(hex, raw)) return Error{ErrorKind::corrupt, 0, "'" + std::string(hex) + "' is not a SHA-256 in hex"};
  return from_bytes(raw);
}

}  // namespace tillsync
