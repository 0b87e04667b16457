// Byte buffers and integer encodings.
//
// Purpose: the one vocabulary for raw bytes. Formats of ours are little-endian (ByteWriter, ByteReader); SQLite's are
// big-endian (be16 … be64).
// Errors: a ByteReader that runs past its end turns to !ok() and yields zeros; callers check once at the end.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tillsync {

using Bytes = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

inline ByteView as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }
inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
inline void append(Bytes& out, ByteView more) { out.insert(out.end(), more.begin(), more.end()); }

inline uint16_t be16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t be32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
inline uint64_t be64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}
inline void put_be32(uint8_t* p, uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, 4);
}
inline void put_be64(uint8_t* p, uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, 8);
}
inline uint32_t le32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
inline uint64_t le64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// Appends little-endian fields to a buffer.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}
  void u8(uint8_t v) { out_.push_back(v); }
  void u16(uint16_t v) { raw(&v, 2); }
  void u32(uint32_t v) { raw(&v, 4); }
  void u64(uint64_t v) { raw(&v, 8); }
  // LEB128: 7 bits a byte, least significant first.
  void uvar(uint64_t v) {
    while (v >= 0x80) {
      out_.push_back(static_cast<uint8_t>(v | 0x80));
      v >>= 7;
    }
    out_.push_back(static_cast<uint8_t>(v));
  }
  // Zigzag, so that small negative numbers stay short.
  void svar(int64_t v) { uvar((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63)); }
  void bytes(ByteView v) { append(out_, v); }
  void sized(ByteView v) {
    uvar(v.size());
    bytes(v);
  }
  void sized(std::string_view v) { sized(as_bytes(v)); }
  size_t size() const { return out_.size(); }

 private:
  void raw(const void* p, size_t n) { append(out_, {static_cast<const uint8_t*>(p), n}); }
  Bytes& out_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteView in) : in_(in) {}
  uint8_t u8() { return take<uint8_t>(); }
  uint16_t u16() { return take<uint16_t>(); }
  uint32_t u32() { return take<uint32_t>(); }
  uint64_t u64() { return take<uint64_t>(); }
  uint64_t uvar() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t b = u8();
      if (!ok_) return 0;
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (!(b & 0x80)) return v;
    }
    ok_ = false;
    return 0;
  }
  int64_t svar() {
    uint64_t v = uvar();
    return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  }
  ByteView bytes(size_t n) {
    if (n > remaining()) {
      ok_ = false;
      return {};
    }
    auto v = in_.subspan(position_, n);
    position_ += n;
    return v;
  }
  ByteView sized() { return bytes(uvar()); }
  std::string text() { return std::string(as_text(sized())); }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && position_ == in_.size(); }
  size_t position() const { return position_; }
  size_t remaining() const { return in_.size() - position_; }

 private:
  template <class T>
  T take() {
    auto v = bytes(sizeof(T));
    T out{};
    if (ok_) std::memcpy(&out, v.data(), sizeof(T));
    return out;
  }
  ByteView in_;
  size_t position_ = 0;
  bool ok_ = true;
};

std::string to_hex(ByteView bytes);
// False when the text is not an even number of hex digits.
bool from_hex(std::string_view text, Bytes& out);
std::string to_base64(ByteView bytes);

}  // namespace tillsync
