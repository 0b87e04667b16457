// Changed pages of one transaction → row changes of each table.
//
// Purpose: finds the leaves of a tree that a transaction touched, on both sides, and merges their rows. The work is in
// proportion to the changed pages, not to the table. How it works and why each rule is there: docs/architecture.md,
// "From pages to rows".
// Use: begin(); then tree() for each pair of roots that touched() or differ; then finish(), which brings the owner map
// to the after side. abandon() forgets the transaction. Errors: corrupt with page number and reason. After an error the
// owner map is unchanged, but the transaction is lost: call abandon(). Threads: one.
#pragma once

#include <span>
#include <unordered_set>

#include "capture/owner_map.h"
#include "capture/work_pulse.h"
#include "dbfile/btree.h"

namespace tillsync {

// One consistent state of a database.
struct Image {
  PageReader* reader = nullptr;
  PageNo page_count = 0;
  uint32_t usable = 0;
};

enum class RowAction : uint8_t { create = 1, update = 2, remove = 3 };

struct RowChange {
  RowAction action;
  int64_t rowid = 0;  // table trees
  ByteView before;    // record bytes; empty for create. Valid during the call
  ByteView after;     // empty for remove
};

class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual Result<void> row(const RowChange& change) = 0;
};

// A tree on one side. root 0: it does not exist there.
struct Tree {
  PageNo root = 0;
  bool index = false;     // WITHOUT ROWID
  size_t key_fields = 0;  // WITHOUT ROWID: leading fields that are the primary key
};

class TreeDiff {
 public:
  // stop: where it is set meanwhile, what is under way ends with cancelled. May be nullptr.
  explicit TreeDiff(OwnerMap& owners, WorkPulse* pulse = nullptr) : owners_(owners), pulse_(pulse) {}

  // changed: pages whose content differs (no duplicates); those above after.page_count are left out by the caller.
  Result<void> begin(const Image& before, const Image& after, std::span<const PageNo> changed);
  // True when a changed page lies in the tree that had this root before.
  bool touched(PageNo before_root) const { return touched_roots_.contains(before_root); }
  // Reports every row that differs, in key order for table trees. The two trees may have different roots, not different
  // kinds. watch_renumbering: sets renumbered() and reports nothing when the same records stand in the same order under
  // other rowids (VACUUM of a table without a key).
  Result<void> tree(const Tree& before, const Tree& after, RowSink& sink, bool watch_renumbering = false);
  bool renumbered() const { return renumbered_; }
  // Applies the owner changes; appends every page whose entry changed to `changed_owners`.
  void finish(std::vector<PageNo>& changed_owners);
  void abandon() { clear(); }

 private:
  enum Flag : uint8_t {
    kDirty = 1,
    kHot = 2,
    kVisited = 4,
    kPruned = 8,
    kSelfTouched = 16,
    kDirtyChain = 32,
    kLeft = 64
  };
  static constexpr unsigned kOfOneTree = kVisited | kPruned | kLeft;
  // A place in key order: a whole leaf (cell == kAllCells), or one cell of an interior index page.
  struct Place {
    PageNo page;
    uint32_t cell;
  };
  static constexpr uint32_t kAllCells = ~0u;
  struct Side {
    Image image;
    std::vector<Place> places;
    uint64_t chain_pages = 0;  // read of this tree
  };
  class Cursor;
  struct Located {
    Cell cell;
    PageNo page = 0;
  };

  bool flag(PageNo page, Flag f) const { return page < flags_.size() && (flags_[page] & f); }
  void set_flag(PageNo page, Flag f);
  Result<void> mark_hot(PageNo page);
  Result<PageNo> root_of(PageNo page) const;
  std::span<const std::pair<PageNo, PageNo>> hot_children(PageNo page);
  Result<void> descend_after(PageNo page, PageNo old_root, bool in_tree, int depth);
  Result<void> descend_before(PageNo page, int depth);
  Result<BtreePage> open(const Image& image, PageNo page, PageRef& keep) const;
  Result<void> merge_table(RowSink& sink);
  Result<void> merge_index(const Tree& before, const Tree& after, RowSink& sink);
  Result<bool> same_records_in_order();
  Result<void> matched(const Located& before, const Located& after, int64_t rowid, RowSink& sink);
  Result<void> only(RowAction action, const Located& where, int64_t rowid, RowSink& sink);
  Result<ByteView> payload(Side& side, const Located& where, Bytes& buffer, std::vector<PageNo>* chain);
  void claim_chain(PageNo holder, const std::vector<PageNo>& chain);
  void clear_tree_flags();
  void clear();

  OwnerMap& owners_;
  WorkPulse* pulse_;
  Side before_, after_;
  bool index_ = false;
  bool renumbered_ = false;
  bool pruned_any_ = false;
  std::vector<uint8_t> flags_;
  std::vector<PageNo> flagged_, tree_flagged_;
  std::vector<std::pair<PageNo, PageNo>> hot_links_;  // parent, child
  bool hot_links_sorted_ = false;
  std::unordered_set<PageNo> touched_roots_;
  std::vector<PageNo> unset_;
  std::vector<std::pair<PageNo, Owner>> claims_;
  Bytes before_payload_, after_payload_;
  std::vector<PageNo> before_chain_, after_chain_;
};

}  // namespace tillsync
