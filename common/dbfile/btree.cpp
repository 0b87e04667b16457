#include "dbfile/btree.h"

#include <unordered_set>

namespace tillsync {

Error page_error(PageNo number, std::string_view why) {
  return Error{ErrorKind::corrupt, 0, "page " + std::to_string(number) + ": " + std::string(why)};
}

Result<BtreePage> BtreePage::parse(PageNo number, ByteView page, uint32_t usable) {
  uint32_t at = number == 1 ? 100 : 0;
  BtreePage b;
  // Below 480 bytes, which no database has, the sizes of §1.6 would be negative.
  if (usable > page.size() || usable < kUsableMin) return page_error(number, "smaller than a page can be");
  b.page_ = page.data();
  b.usable_ = usable;
  uint8_t flag = page[at];
  if (flag != 2 && flag != 5 && flag != 10 && flag != 13)
    return page_error(number, "no b-tree page (type " + std::to_string(flag) + ")");
  b.kind_ = static_cast<PageKind>(flag);
  b.cell_count_ = be16(b.page_ + at + 3);
  bool leaf = b.is_leaf();
  b.pointers_ = at + (leaf ? 8 : 12);
  if (!leaf) b.right_child_ = be32(b.page_ + at + 8);
  if (b.pointers_ + 2 * b.cell_count_ > usable) return page_error(number, "more cells than fit a page");
  return b;
}

uint32_t local_payload_size(uint64_t payload_size, uint32_t usable, bool table_leaf) {
  uint32_t maximum = table_leaf ? usable - 35 : (usable - 12) * 64 / 255 - 23;
  if (payload_size <= maximum) return static_cast<uint32_t>(payload_size);
  uint32_t minimum = (usable - 12) * 32 / 255 - 23;
  uint32_t kept = minimum + static_cast<uint32_t>((payload_size - minimum) % (usable - 4));
  return kept <= maximum ? kept : minimum;
}

bool BtreePage::cell(uint32_t index, Cell& out) const {
  uint32_t start = offset_of(index);
  if (start >= usable_) return false;
  const uint8_t* begin = page_ + start;
  const uint8_t* end = page_ + usable_;
  const uint8_t* p = begin;
  out = Cell{};
  if (!is_leaf()) {
    if (end - p < 4) return false;
    out.left_child = be32(p);
    p += 4;
  }
  if (kind_ == PageKind::interior_table) {
    uint64_t rowid;
    unsigned n = read_varint(p, end, rowid);
    if (!n) return false;
    out.rowid = static_cast<int64_t>(rowid);
    out.bytes = {begin, static_cast<size_t>(p + n - begin)};
    return true;
  }
  unsigned n = read_varint(p, end, out.payload_size);
  if (!n) return false;
  p += n;
  if (kind_ == PageKind::leaf_table) {
    uint64_t rowid;
    n = read_varint(p, end, rowid);
    if (!n) return false;
    out.rowid = static_cast<int64_t>(rowid);
    p += n;
  }
  uint32_t local = local_payload_size(out.payload_size, usable_, kind_ == PageKind::leaf_table);
  bool spills = local < out.payload_size;
  if (static_cast<size_t>(end - p) < local + (spills ? 4u : 0u)) return false;
  out.local = {p, local};
  p += local;
  if (spills) {
    out.overflow = be32(p);
    p += 4;
  }
  out.bytes = {begin, static_cast<size_t>(p - begin)};
  return true;
}

uint64_t overflow_pages(const Cell& cell, uint32_t usable) {
  uint64_t outside = cell.payload_size - cell.local.size();
  return outside == 0 ? 0 : 1 + (outside - 1) / (usable - 4);
}

Result<void> read_payload(PageReader& reader, const Cell& cell, uint32_t usable, PageNo page_count, Bytes& out,
                          std::vector<PageNo>* chain) {
  // A payload can't be larger than the file that holds it: refuses absurd sizes before anything is reserved.
  if (cell.payload_size > uint64_t{usable} * page_count)
    return Error{ErrorKind::corrupt, 0, "a payload larger than the database"};
  size_t start = out.size();
  out.reserve(start + cell.payload_size);
  append(out, cell.local);
  PageNo next = cell.overflow;
  uint64_t left = cell.payload_size - cell.local.size();
  while (left > 0) {
    if (next == 0 || next > page_count) return page_error(next, "an overflow chain leaves the database or ends early");
    TILLSYNC_LET(PageRef page, reader.page(next));
    if (chain) chain->push_back(next);
    size_t n = std::min<uint64_t>(left, usable - 4);
    append(out, page.view().subspan(4, n));
    left -= n;
    next = be32(page.data());
  }
  return {};
}

Result<Freelist> read_freelist(PageReader& reader, const DatabaseHeader& header, PageNo page_count) {
  Freelist list;
  std::unordered_set<PageNo> seen;
  for (PageNo trunk = header.first_freelist_trunk; trunk != 0;) {
    if (trunk > page_count || !seen.insert(trunk).second)
      return page_error(trunk, "the freelist leaves the database or goes round");
    TILLSYNC_LET(PageRef page, reader.page(trunk));
    list.trunks.push_back(trunk);
    if (page.size() < header.usable) return page_error(trunk, "smaller than the database header says");
    uint32_t n = be32(page.data() + 4);
    if (n > header.usable / 4 - 2) return page_error(trunk, "a freelist trunk with more leaves than fit");
    for (uint32_t i = 0; i < n; i++) list.leaves.push_back(be32(page.data() + 8 + 4 * i));
    trunk = be32(page.data());
  }
  return list;
}

}  // namespace tillsync
