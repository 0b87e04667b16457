// For every page of the replica: which page is above it.
//
// Purpose: from a changed page to the tree it belongs to, without reading the tree. Ordinary indexes, free pages,
// pointer map and lock-byte pages have no owner and are ignored. Layout: 4 bytes a page: 2 bits kind, 30 bits value.
//   none               not part of a table
//   btree     value: parent page, 0 for a root
//   overflow_first     value: the b-tree page that holds the cell
//   overflow_next      value: the first page of its chain (so that a cell that moves needs one change)
// Limits: page numbers below 2^30 (4 TiB at 4 KiB a page).
// Threads: one.
#pragma once

#include <vector>

#include "base/types.h"

namespace tillsync {

enum class OwnerKind : uint32_t { none = 0, btree = 1, overflow_first = 2, overflow_next = 3 };

struct Owner {
  OwnerKind kind = OwnerKind::none;
  PageNo value = 0;
  bool operator==(const Owner&) const = default;
};

constexpr PageNo kPagesMax = PageNo{1} << 30;
constexpr uint32_t pack_owner(Owner o) { return static_cast<uint32_t>(o.kind) << 30 | (o.value & 0x3fffffff); }
constexpr Owner unpack_owner(uint32_t v) { return {static_cast<OwnerKind>(v >> 30), v & 0x3fffffff}; }

class OwnerMap {
 public:
  Owner get(PageNo page) const { return page < entries_.size() ? unpack_owner(entries_[page]) : Owner{}; }
  uint32_t raw(PageNo page) const { return page < entries_.size() ? entries_[page] : 0; }
  void set(PageNo page, Owner owner) {
    if (page >= entries_.size()) entries_.resize(page + 1);
    entries_[page] = pack_owner(owner);
  }
  void set_raw(PageNo page, uint32_t value) {
    if (page >= entries_.size()) entries_.resize(page + 1);
    entries_[page] = value;
  }
  void resize(PageNo page_count) { entries_.resize(size_t{page_count} + 1); }
  PageNo page_count() const { return entries_.empty() ? 0 : static_cast<PageNo>(entries_.size() - 1); }
  void clear() { entries_.clear(); }
  bool operator==(const OwnerMap&) const = default;

 private:
  std::vector<uint32_t> entries_;  // [0] is unused
};

}  // namespace tillsync
