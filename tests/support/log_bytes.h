// A write-ahead log as bytes: what an application on a machine of the other byte order leaves behind.
#pragma once

#include <filesystem>
#include <fstream>

#include "dbfile/wal.h"
#include "support/results.h"

namespace tillsync::test {

inline Bytes read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Bytes bytes(std::filesystem::file_size(path));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(in);
  return bytes;
}

inline void write_whole(const std::string& path, ByteView bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.flush();
  REQUIRE(out);
}

inline void put_be32(uint8_t* at, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<uint8_t>(value >> shift);
}

// The same log with its checksums in the other byte order. Frames of an older generation, behind the end, stay as they
// are.
inline void turn_checksums(const std::string& log_path) {
  Bytes log = read_whole(log_path);
  auto header = WalHeader::parse(ByteView(log).first(kWalHeaderSize));
  REQUIRE(header);
  const bool big = !header->big_endian_checksum;
  auto put = [](uint8_t* at, WalChecksum sum) {
    put_be32(at, sum.s1);
    put_be32(at + 4, sum.s2);
  };
  put_be32(log.data(), 0x377f0682u | (big ? 1u : 0u));
  WalChecksum sum = wal_checksum({}, ByteView(log).first(24), big);
  put(log.data() + 24, sum);
  const size_t frame_size = kWalFrameHeaderSize + header->page_size;
  for (size_t at = kWalHeaderSize; at + frame_size <= log.size(); at += frame_size) {
    uint8_t* frame = log.data() + at;
    if (!(WalFrameHeader::parse(frame).salts == header->salts)) break;
    sum = wal_checksum(sum, {frame, 8}, big);
    sum = wal_checksum(sum, {frame + kWalFrameHeaderSize, header->page_size}, big);
    put(frame + 16, sum);
  }
  write_whole(log_path, log);
}

}  // namespace tillsync::test
