// A database image: cells with their overflow chains, the freelist, trees from their roots. First byte: the page size.
#include "capture/tree_walk.h"
#include "dbfile/record.h"
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint32_t page_size = 512u << (data[0] & 3);
  Bytes bytes(data + 1, data + size);
  if (bytes.size() < page_size) return 0;
  // What every database begins with is no news; the rest of the header is the input's.
  std::memcpy(bytes.data(), "SQLite format 3\0", 16);
  bytes[16] = static_cast<uint8_t>(page_size >> 8);
  bytes[17] = 0;
  auto header = DatabaseHeader::parse(bytes);
  if (!header) return 0;
  BytesReader reader(bytes, page_size);
  const PageNo count = reader.page_count();
  const uint64_t payload_max = uint64_t{header->usable} * count;

  // A leaf of a trunk may be named twice; trunks are distinct.
  if (auto list = read_freelist(reader, *header, count)) {
    FUZZ_HOLDS(list->trunks.size() <= count);
    FUZZ_HOLDS(list->leaves.size() <= list->trunks.size() * (header->usable / 4));
  }
  int chains = 0;
  for (PageNo number = 1; number <= count; number++) {
    auto page = reader.page(number);
    auto parsed = BtreePage::parse(number, page->view(), header->usable);
    if (!parsed) continue;
    for (uint32_t i = 0; i < parsed->cell_count() && chains < 50; i++) {
      Cell cell;
      if (!parsed->cell(i, cell)) continue;
      if (!cell.overflow) {
        (void)decode_record(cell.local);
        continue;
      }
      chains++;
      Bytes payload;
      std::vector<PageNo> chain;
      if (!read_payload(reader, cell, header->usable, count, payload, &chain)) continue;
      FUZZ_HOLDS(payload.size() == cell.payload_size && payload.size() <= payload_max);
      FUZZ_HOLDS(!chain.empty() && chain.front() == cell.overflow);
      (void)decode_record(payload);
    }
  }
  auto image = image_of(reader, count);
  if (!image) return 0;
  for (PageNo root = 0; root <= count + 1; root++) {
    uint64_t rows = 0, seen = 0;
    auto walked = walk_tree(*image, root, [&](int64_t, ByteView record) -> Result<void> {
      rows++;
      seen += record.size();
      return {};
    });
    // However the tree is bent, its rows do not take more room than the file.
    FUZZ_HOLDS(rows <= payload_max && seen <= 2 * payload_max);
    if (!walked) FUZZ_HOLDS(!walked.error().context.empty());
    if (root == 0 || root > count) FUZZ_HOLDS(!walked);
  }
  return 0;
}
