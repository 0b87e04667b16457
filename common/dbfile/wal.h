// The write-ahead log and its index, as bytes.
//
// Layout: a 32-byte header, then frames of 24 + page size bytes. The running checksum goes over the header's first 24
// bytes, then over the first 8 bytes and the page of every frame; its byte order is fixed by the header's magic number.
// The wal-index header (48 bytes, kept twice, in the writer's byte order) says which frames are committed.
// Errors: parse functions return nullopt for bytes that are not what they should be.
// Source: SQLite file format §4.1, §4.2; WAL-mode file format §1.4, §2.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/types.h"

namespace tillsync {

struct WalChecksum {
  uint32_t s1 = 0, s2 = 0;
  bool operator==(const WalChecksum&) const = default;
};

// bytes.size() is a multiple of 8.
WalChecksum wal_checksum(WalChecksum start, ByteView bytes, bool big_endian);

constexpr uint32_t kWalHeaderSize = 32;
constexpr uint32_t kWalFrameHeaderSize = 24;

struct WalSalts {
  uint32_t salt1 = 0, salt2 = 0;
  bool operator==(const WalSalts&) const = default;
};

struct WalHeader {
  bool big_endian_checksum = false;
  uint32_t page_size = 0;
  uint32_t checkpoint_sequence = 0;
  WalSalts salts;
  WalChecksum checksum;
  static std::optional<WalHeader> parse(ByteView thirty_two);
};

struct WalFrameHeader {
  PageNo page = 0;
  PageNo commit_size = 0;  // pages of the database after this commit; 0 when the transaction goes on
  WalSalts salts;
  WalChecksum checksum;
  static WalFrameHeader parse(const uint8_t* twenty_four);
};

// Offset of frame n (from 1) in the file.
inline uint64_t wal_frame_offset(FrameNo n, uint32_t page_size) {
  return kWalHeaderSize + uint64_t{n - 1} * (kWalFrameHeaderSize + page_size);
}

struct WalIndexHeader {
  uint32_t change = 0;
  bool big_endian_checksum = false;
  uint32_t page_size = 0;
  FrameNo max_frame = 0;  // last committed frame; 0 for an empty log
  PageNo page_count = 0;  // of the database at that commit
  WalChecksum frame_checksum;
  WalSalts salts;
  // both: the first 96 bytes of the shared memory. nullopt: the two copies differ (a writer is at it), the checksum
  // does not hold, or the index is not initialised.
  static std::optional<WalIndexHeader> parse(ByteView both);
  bool operator==(const WalIndexHeader&) const = default;
};

constexpr uint32_t kWalIndexHeaderSize = 136;  // two copies and the checkpoint information
constexpr uint32_t kWalIndexBackfillOffset = 96;

}  // namespace tillsync
