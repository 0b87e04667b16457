#include "dbfile/wal.h"

#include <bit>

namespace tillsync {

namespace {
bool is_page_size(uint32_t size) { return size >= 512 && size <= 65536 && (size & (size - 1)) == 0; }
}  // namespace

WalChecksum wal_checksum(WalChecksum c, ByteView bytes, bool big_endian) {
  const uint8_t* p = bytes.data();
  const uint8_t* end = p + bytes.size();
  uint32_t s1 = c.s1, s2 = c.s2;
  static_assert(std::endian::native == std::endian::little);
  if (big_endian) {
    for (; p < end; p += 8) {
      s1 += be32(p) + s2;
      s2 += be32(p + 4) + s1;
    }
  } else {
    for (; p < end; p += 8) {
      s1 += le32(p) + s2;
      s2 += le32(p + 4) + s1;
    }
  }
  return {s1, s2};
}

std::optional<WalHeader> WalHeader::parse(ByteView b) {
  if (b.size() < kWalHeaderSize) return std::nullopt;
  uint32_t magic = be32(b.data());
  if ((magic & ~1u) != 0x377f0682) return std::nullopt;
  WalHeader h;
  h.big_endian_checksum = magic & 1;
  if (be32(b.data() + 4) != 3007000) return std::nullopt;
  h.page_size = be32(b.data() + 8);
  if (!is_page_size(h.page_size)) return std::nullopt;
  h.checkpoint_sequence = be32(b.data() + 12);
  h.salts = {be32(b.data() + 16), be32(b.data() + 20)};
  h.checksum = wal_checksum({}, b.first(24), h.big_endian_checksum);
  if (h.checksum != WalChecksum{be32(b.data() + 24), be32(b.data() + 28)}) return std::nullopt;
  return h;
}

WalFrameHeader WalFrameHeader::parse(const uint8_t* p) {
  return {be32(p), be32(p + 4), {be32(p + 8), be32(p + 12)}, {be32(p + 16), be32(p + 20)}};
}

std::optional<WalIndexHeader> WalIndexHeader::parse(ByteView both) {
  if (both.size() < 96 || std::memcmp(both.data(), both.data() + 48, 48) != 0) return std::nullopt;
  const uint8_t* p = both.data();
  if (le32(p) != 3007000 || p[12] == 0) return std::nullopt;
  if (wal_checksum({}, both.first(40), false) != WalChecksum{le32(p + 40), le32(p + 44)}) return std::nullopt;
  WalIndexHeader h;
  h.change = le32(p + 8);
  h.big_endian_checksum = p[13] != 0;
  uint32_t size = static_cast<uint32_t>(p[14] | p[15] << 8);
  h.page_size = (size & 0xfe00) + ((size & 1) << 16);
  h.max_frame = le32(p + 16);
  // A log that never had a frame need not know its page size.
  if (h.max_frame != 0 && !is_page_size(h.page_size)) return std::nullopt;
  h.page_count = le32(p + 20);
  h.frame_checksum = {le32(p + 24), le32(p + 28)};
  // Salts are copied from the WAL file as they stand there: big-endian.
  h.salts = {be32(p + 32), be32(p + 36)};
  return h;
}

}  // namespace tillsync
