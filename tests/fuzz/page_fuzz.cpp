// One page: the database header, and a b-tree page with its cells. First byte: bit 0 for page 1; then reserved bytes.
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  PageNo number = data[0] & 1 ? 1 : 2;
  Exact page(ByteView(data, size).subspan(2));
  ByteView bytes = page.view();
  if (auto header = DatabaseHeader::parse(bytes)) {
    FUZZ_HOLDS(header->page_size >= 512 && header->page_size <= 65536);
    FUZZ_HOLDS((header->page_size & (header->page_size - 1)) == 0);
    FUZZ_HOLDS(header->usable >= 480 && header->usable <= header->page_size);
    FUZZ_HOLDS(header->text_encoding >= 1 && header->text_encoding <= 3);
    FUZZ_HOLDS(!sqlite_version_text(header->sqlite_version).empty());
  }
  uint32_t reserved = std::min<uint32_t>(data[1], static_cast<uint32_t>(bytes.size()));
  uint32_t usable = static_cast<uint32_t>(bytes.size()) - reserved;
  auto parsed = BtreePage::parse(number, bytes, usable);
  if (!parsed) {
    FUZZ_HOLDS(!parsed.error().context.empty());
    return 0;
  }
  for (uint32_t i = 0; i <= parsed->cell_count(); i++) {
    if (!parsed->is_leaf()) (void)parsed->child(i);
    Cell cell;
    if (i == parsed->cell_count() || !parsed->cell(i, cell)) continue;
    FUZZ_HOLDS(!cell.bytes.empty());
    FUZZ_HOLDS(lies_within(cell.bytes, bytes.first(usable)));
    FUZZ_HOLDS(lies_within(cell.local, cell.bytes));
    FUZZ_HOLDS(cell.local.size() <= cell.payload_size);
    if (!parsed->is_leaf()) FUZZ_HOLDS(cell.left_child == parsed->child(i));
    if (parsed->kind() == PageKind::interior_table) FUZZ_HOLDS(cell.payload_size == 0);
    if (cell.local.size() == cell.payload_size) FUZZ_HOLDS(cell.overflow == 0);
  }
  return 0;
}
