// A write-ahead log. First byte: bit 0 repairs the header's checksum, bit 1 the frames', bit 2 makes it big-endian:
// without, every change of a byte ends at a checksum.
#include "dbfile/wal.h"
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

namespace {

void put_checksum(uint8_t* at, WalChecksum sum) {
  put_be32(at, sum.s1);
  put_be32(at + 4, sum.s2);
}

// The definition, word by word (WAL format, "Checksum algorithm").
WalChecksum slow_checksum(WalChecksum sum, ByteView bytes, bool big_endian) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    auto word = [&](const uint8_t* p) { return big_endian ? be32(p) : le32(p); };
    sum.s1 += word(bytes.data() + i) + sum.s2;
    sum.s2 += word(bytes.data() + i + 4) + sum.s1;
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 + kWalHeaderSize) {
    Exact input({data, size});
    FUZZ_HOLDS(!WalHeader::parse(input.view()) || size >= kWalHeaderSize);
    return 0;
  }
  const bool repair_header = data[0] & 1, repair_frames = data[0] & 2, big_endian = data[0] & 4;
  Bytes log(data + 1, data + size);
  if (repair_header) {
    put_be32(log.data(), 0x377f0682u | (big_endian ? 1u : 0u));
    put_be32(log.data() + 4, 3007000);
    put_checksum(log.data() + 24, slow_checksum({}, ByteView(log).first(24), big_endian));
  }
  Exact whole(log);
  auto header = WalHeader::parse(whole.view());
  if (!header) return 0;
  FUZZ_HOLDS(header->page_size >= 512 && header->page_size <= 65536);
  FUZZ_HOLDS((header->page_size & (header->page_size - 1)) == 0);
  if (repair_header) FUZZ_HOLDS(header->big_endian_checksum == big_endian);

  if (repair_frames) {
    WalChecksum sum = header->checksum;
    for (FrameNo n = 1; wal_frame_offset(n + 1, header->page_size) <= log.size(); n++) {
      uint8_t* at = log.data() + wal_frame_offset(n, header->page_size);
      std::memcpy(at + 8, log.data() + 16, 8);
      sum = slow_checksum(sum, {at, 8}, header->big_endian_checksum);
      sum = slow_checksum(sum, {at + kWalFrameHeaderSize, header->page_size}, header->big_endian_checksum);
      put_checksum(at + 16, sum);
    }
  }
  Exact repaired(log);
  WalChecksum sum = header->checksum;
  for (FrameNo n = 1; wal_frame_offset(n + 1, header->page_size) <= log.size(); n++) {
    const uint8_t* at = repaired.view().data() + wal_frame_offset(n, header->page_size);
    auto frame = WalFrameHeader::parse(at);
    sum = wal_checksum(wal_checksum(sum, {at, 8}, header->big_endian_checksum),
                       {at + kWalFrameHeaderSize, header->page_size}, header->big_endian_checksum);
    bool holds = frame.salts == header->salts && frame.checksum == sum;
    if (repair_frames) FUZZ_HOLDS(holds);
    if (!holds) break;
  }
  return 0;
}
