#include "capture/tree_diff.h"

#include <algorithm>

namespace tillsync {

namespace {
constexpr int kDepthMax = 40;  // SQLite's own limit is 20
}

void TreeDiff::set_flag(PageNo page, Flag f) {
  if (page >= flags_.size()) flags_.resize(std::max<size_t>(page + 1, flags_.size() * 2));
  if (flags_[page] == 0) flagged_.push_back(page);
  if ((f & kOfOneTree) && !(flags_[page] & kOfOneTree)) tree_flagged_.push_back(page);
  flags_[page] |= f;
}

namespace {
// Empties it, and gives back what only a baseline or a large transaction needed: 30 bytes for each page it touched.
template <class T>
void forget(std::vector<T>& all) {
  constexpr size_t kKeptBytes = 64 << 10;
  all.clear();
  if (all.capacity() * sizeof(T) > kKeptBytes) all.shrink_to_fit();
}
}  // namespace

void TreeDiff::clear_tree_flags() {
  for (PageNo page : tree_flagged_) flags_[page] &= static_cast<uint8_t>(~kOfOneTree);
  tree_flagged_.clear();
}

void TreeDiff::clear() {
  for (PageNo page : flagged_) flags_[page] = 0;
  touched_roots_.clear();
  forget(flagged_);
  forget(tree_flagged_);
  forget(hot_links_);
  forget(unset_);
  forget(claims_);
  forget(before_.places);
  forget(after_.places);
}

// Marks the page and its ancestors: the way from a root to everything that changed below it.
Result<void> TreeDiff::mark_hot(PageNo page) {
  for (int depth = 0; depth <= kDepthMax; depth++) {
    if (flag(page, kHot)) return {};
    set_flag(page, kHot);
    Owner owner = owners_.get(page);
    if (owner.kind != OwnerKind::btree) return page_error(page, "its owner is not known");
    if (owner.value == 0) {
      touched_roots_.insert(page);
      return {};
    }
    hot_links_.emplace_back(owner.value, page);
    page = owner.value;
  }
  return page_error(page, "deeper than a tree can be");
}

Result<PageNo> TreeDiff::root_of(PageNo page) const {
  for (int depth = 0; depth <= kDepthMax; depth++) {
    Owner owner = owners_.get(page);
    if (owner.kind != OwnerKind::btree) return PageNo{0};
    if (owner.value == 0) return page;
    page = owner.value;
  }
  return page_error(page, "deeper than a tree can be");
}

Result<void> TreeDiff::begin(const Image& before, const Image& after, std::span<const PageNo> changed) {
  clear();
  before_.image = before;
  after_.image = after;
  hot_links_sorted_ = false;
  for (PageNo page : changed) set_flag(page, kDirty);
  for (PageNo page : changed) {
    Owner owner = owners_.get(page);
    PageNo first = owner.kind == OwnerKind::overflow_next ? owner.value : page;
    switch (owner.kind) {
      case OwnerKind::none: break;
      case OwnerKind::btree: TILLSYNC_TRY(mark_hot(page)); break;
      case OwnerKind::overflow_first:
      case OwnerKind::overflow_next: {
        // The cell that holds the chain does not change when only the chain does.
        Owner holder = owners_.get(first);
        if (holder.kind != OwnerKind::overflow_first)
          return page_error(page, "the owner of its overflow chain is not known");
        set_flag(first, kDirtyChain);
        set_flag(holder.value, kSelfTouched);
        TILLSYNC_TRY(mark_hot(holder.value));
        break;
      }
    }
  }
  return {};
}

std::span<const std::pair<PageNo, PageNo>> TreeDiff::hot_children(PageNo page) {
  if (!hot_links_sorted_) {
    std::sort(hot_links_.begin(), hot_links_.end());
    hot_links_sorted_ = true;
  }
  auto low = std::lower_bound(hot_links_.begin(), hot_links_.end(), std::pair<PageNo, PageNo>(page, 0));
  auto high = low;
  while (high != hot_links_.end() && high->first == page) ++high;
  return {low, high};
}

Result<BtreePage> TreeDiff::open(const Image& image, PageNo number, PageRef& keep) const {
  TILLSYNC_TRY(unless_stopped(pulse_, "rows were compared"));
  if (number == 0 || number > image.page_count) return page_error(number, "a tree points outside the database");
  TILLSYNC_LET(keep, image.reader->page(number));
  TILLSYNC_LET(BtreePage page, BtreePage::parse(number, keep.view(), image.usable));
  if (page.is_table() == index_) return page_error(number, "a page of the wrong kind of tree");
  return page;
}

// in_tree: the page was in this tree before.
Result<void> TreeDiff::descend_after(PageNo number, PageNo old_root, bool in_tree, int depth) {
  if (depth > kDepthMax) return page_error(number, "deeper than a tree can be");
  // A root is what sqlite_schema says: any number.
  if (number == 0 || number > after_.image.page_count) return page_error(number, "a tree points outside the database");
  if (flag(number, kVisited)) return page_error(number, "twice in one tree");
  set_flag(number, kVisited);
  bool examine = flag(number, kDirty) || !in_tree;
  bool own_cells = examine || flag(number, kSelfTouched);
  if (!examine && !own_cells) {
    // Clean, and so is every child but the hot ones. One needs no order and no look at the page.
    auto hot = hot_children(number);
    if (hot.size() == 1) return descend_after(hot.front().second, old_root, true, depth + 1);
  }
  PageRef keep;
  TILLSYNC_LET(BtreePage page, open(after_.image, number, keep));
  if (page.is_leaf()) {
    after_.places.push_back({number, kAllCells});
    return {};
  }
  for (uint32_t i = 0; i <= page.cell_count(); i++) {
    PageNo child = page.child(i);
    if (child == 0 || child > after_.image.page_count) return page_error(number, "a child outside the database");
    if (examine) {
      Owner owner = owners_.get(child);
      bool same_parent = owner.kind == OwnerKind::btree && owner.value == number;
      bool child_in_tree = same_parent && in_tree;
      if (!child_in_tree && owner.kind == OwnerKind::btree && old_root != 0) {
        TILLSYNC_LET(PageNo root, root_of(child));
        child_in_tree = root == old_root;
      }
      // A page of another tree may have had this very parent: that tree's end unsets it.
      if (!same_parent || !child_in_tree) claims_.emplace_back(child, Owner{OwnerKind::btree, number});
      if (!child_in_tree || flag(child, kDirty) || flag(child, kHot)) {
        TILLSYNC_TRY(descend_after(child, old_root, child_in_tree, depth + 1));
      } else {
        if (flag(child, kPruned)) return page_error(child, "twice in one tree");
        set_flag(child, kPruned);
        pruned_any_ = true;
      }
    } else if (flag(child, kHot) && owners_.get(child) == Owner{OwnerKind::btree, number}) {
      TILLSYNC_TRY(descend_after(child, old_root, true, depth + 1));
    } else {
      pruned_any_ = true;
    }
    if (index_ && own_cells && i < page.cell_count()) after_.places.push_back({number, i});
  }
  return {};
}

Result<void> TreeDiff::descend_before(PageNo number, int depth) {
  if (depth > kDepthMax) return page_error(number, "deeper than a tree can be");
  if (number == 0 || number > before_.image.page_count) return page_error(number, "a tree points outside the database");
  // Pages that were pruned were not compared: transactions together can make two ways to a page, level by level.
  if (flag(number, kLeft)) return page_error(number, "twice in one tree");
  set_flag(number, kLeft);
  bool visited = flag(number, kVisited);
  bool examine = flag(number, kDirty) || !visited;
  bool own_cells = examine || flag(number, kSelfTouched);
  if (!visited) unset_.push_back(number);
  if (!examine && !own_cells) {
    auto hot = hot_children(number);
    if (hot.size() == 1) return descend_before(hot.front().second, depth + 1);
  }
  PageRef keep;
  TILLSYNC_LET(BtreePage page, open(before_.image, number, keep));
  if (page.is_leaf()) {
    before_.places.push_back({number, kAllCells});
    return {};
  }
  for (uint32_t i = 0; i <= page.cell_count(); i++) {
    PageNo child = page.child(i);
    if (child == 0 || child > before_.image.page_count) return page_error(number, "a child outside the database");
    bool go = examine ? !flag(child, kPruned) : flag(child, kHot);
    if (go) TILLSYNC_TRY(descend_before(child, depth + 1));
    if (index_ && own_cells && i < page.cell_count()) before_.places.push_back({number, i});
  }
  return {};
}

Result<void> TreeDiff::tree(const Tree& before, const Tree& after, RowSink& sink, bool watch_renumbering) {
  index_ = before.root ? before.index : after.index;
  renumbered_ = false;
  pruned_any_ = false;
  for (Side* side : {&before_, &after_}) {
    side->places.clear();
    side->chain_pages = 0;
  }
  if (after.root) {
    Owner owner = owners_.get(after.root);
    bool in_tree = false;
    if (before.root && owner.kind == OwnerKind::btree) {
      TILLSYNC_LET(PageNo root, root_of(after.root));
      in_tree = root == before.root;
    }
    claims_.emplace_back(after.root, Owner{OwnerKind::btree, 0});
    TILLSYNC_TRY(descend_after(after.root, before.root, in_tree, 0));
  }
  if (before.root) TILLSYNC_TRY(descend_before(before.root, 0));
  if (watch_renumbering && !pruned_any_ && before.root && after.root) {
    TILLSYNC_LET(renumbered_, same_records_in_order());
  }
  // A renumbered table is merged all the same: its overflow chains have new holders.
  auto merged = index_ ? merge_index(before, after, sink) : merge_table(sink);
  clear_tree_flags();
  return merged;
}

void TreeDiff::finish(std::vector<PageNo>& changed_owners) {
  auto change = [&](PageNo page, Owner owner) {
    if (page > after_.image.page_count || owners_.get(page) == owner) return;
    changed_owners.push_back(page);
    owners_.set(page, owner);
  };
  // All unsets before all claims: a page may leave one tree and join another.
  for (PageNo page : unset_) change(page, Owner{});
  for (auto& [page, owner] : claims_) change(page, owner);
  owners_.resize(after_.image.page_count);
  clear();
}

}  // namespace tillsync
