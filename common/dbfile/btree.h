// B-tree pages and their cells.
//
// Purpose: a view over one page's bytes; nothing is copied and nothing outside the page is read. Cells of leaves of
// table trees, of interior table pages, of leaf and interior pages of index trees (WITHOUT ROWID tables). Errors:
// parse() says why a page is no b-tree page; cell() returns false for a cell that does not fit its page. Source: SQLite
// file format §1.6, §1.5 (page 1's header follows the database header).
#pragma once

#include "dbfile/page.h"
#include "dbfile/varint.h"

namespace tillsync {

enum class PageKind : uint8_t { interior_index = 2, interior_table = 5, leaf_index = 10, leaf_table = 13 };

struct Cell {
  ByteView bytes;             // the cell as it stands in the page, child pointer and overflow pointer included
  PageNo left_child = 0;      // interior pages
  int64_t rowid = 0;          // table trees
  uint64_t payload_size = 0;  // whole payload, overflow included; 0 on interior table pages
  ByteView local;             // the part of the payload in this page
  PageNo overflow = 0;        // first page of the chain, 0 for none
};

class BtreePage {
 public:
  // page: the whole page. number: only to know page 1, whose header starts at byte 100, and for error texts.
  static Result<BtreePage> parse(PageNo number, ByteView page, uint32_t usable);

  PageKind kind() const { return kind_; }
  bool is_leaf() const { return kind_ == PageKind::leaf_index || kind_ == PageKind::leaf_table; }
  bool is_table() const { return kind_ == PageKind::leaf_table || kind_ == PageKind::interior_table; }
  uint32_t cell_count() const { return cell_count_; }
  PageNo right_child() const { return right_child_; }  // interior pages
  // False: the cell's bytes do not lie inside the page.
  bool cell(uint32_t index, Cell& out) const;
  // Child i of cell_count()+1; 0 when the cell pointer lies outside the page.
  PageNo child(uint32_t index) const {
    if (index == cell_count_) return right_child_;
    uint32_t at = offset_of(index);
    return at + 4 > usable_ ? 0 : be32(page_ + at);
  }

 private:
  uint32_t offset_of(uint32_t index) const { return be16(page_ + pointers_ + 2 * index); }
  const uint8_t* page_ = nullptr;
  uint32_t usable_ = 0;
  uint32_t pointers_ = 0;
  uint32_t cell_count_ = 0;
  PageNo right_child_ = 0;
  PageKind kind_ = PageKind::leaf_table;
};

// How many of a payload's bytes stay in the page (§1.6, "cell payload overflow").
uint32_t local_payload_size(uint64_t payload_size, uint32_t usable, bool table_leaf);

// How many pages the overflow chain of a cell has: none when the whole payload is in the page.
uint64_t overflow_pages(const Cell& cell, uint32_t usable);

// Appends the whole payload of a cell to `out`, and the overflow pages passed to `chain` if it is given.
// Errors: corrupt when the chain ends early or leaves the file. One that goes round is cut off by the payload's size.
Result<void> read_payload(PageReader& reader, const Cell& cell, uint32_t usable, PageNo page_count, Bytes& out,
                          std::vector<PageNo>* chain = nullptr);

// Pages on the freelist: trunk pages, and leaves, whose content means nothing.
struct Freelist {
  std::vector<PageNo> trunks, leaves;
};
Result<Freelist> read_freelist(PageReader& reader, const DatabaseHeader& header, PageNo page_count);

Error page_error(PageNo number, std::string_view why);

}  // namespace tillsync
