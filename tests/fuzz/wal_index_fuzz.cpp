// The wal-index header. First byte: bit 0 repairs the checksum and the second copy.
#include "dbfile/wal.h"
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  Bytes index(data + 1, data + size);
  bool repair = (data[0] & 1) && index.size() >= 96;
  if (repair) {
    const uint32_t version = 3007000;
    std::memcpy(index.data(), &version, 4);
    index[12] |= 1;
    WalChecksum sum = wal_checksum({}, ByteView(index).first(40), false);
    std::memcpy(index.data() + 40, &sum.s1, 4);
    std::memcpy(index.data() + 44, &sum.s2, 4);
    std::memcpy(index.data() + 48, index.data(), 48);
  }
  Exact exact(index);
  auto header = WalIndexHeader::parse(exact.view());
  if (!header) return 0;
  FUZZ_HOLDS(index.size() >= 96);
  // Without a frame nobody reads by it, and a log that never was has none.
  if (header->max_frame != 0) {
    FUZZ_HOLDS(header->page_size >= 512 && header->page_size <= 65536);
    FUZZ_HOLDS((header->page_size & (header->page_size - 1)) == 0);
  }
  FUZZ_HOLDS(*WalIndexHeader::parse(exact.view()) == *header);
  return 0;
}
