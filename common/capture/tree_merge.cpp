// The second half of TreeDiff: the rows of the touched leaves, before and after, side by side.
#include <algorithm>
#include <string_view>

#include "capture/tree_diff.h"
#include "dbfile/record.h"

namespace tillsync {

// Walks the cells of a list of places in order.
class TreeDiff::Cursor {
 public:
  Cursor(TreeDiff& diff, const Side& side) : diff_(diff), side_(side) {}

  // Moves to the next cell; false at the end.
  Result<bool> next() {
    while (true) {
      if (!open_) {
        if (place_ == side_.places.size()) return at_.page = 0, false;
        const Place& place = side_.places[place_];
        if (at_.page != place.page || !keep_) {
          TILLSYNC_LET(page_, diff_.open(side_.image, place.page, keep_));
          at_.page = place.page;
          used_ = 0;
        }
        bool whole = place.cell == kAllCells;
        cell_ = whole ? 0 : place.cell;
        end_ = whole ? page_.cell_count() : place.cell + 1;
        open_ = true;
      }
      if (cell_ < end_) break;
      open_ = false;
      place_++;
    }
    if (!page_.cell(cell_, at_.cell))
      return page_error(at_.page, "cell " + std::to_string(cell_) + " does not fit the page");
    // Overlapping cells would make rows without end of one page.
    used_ += at_.cell.bytes.size();
    if (used_ > side_.image.usable) return page_error(at_.page, "its cells overlap");
    index_ = cell_++;
    return true;
  }
  bool valid() const { return at_.page != 0; }
  const Located& at() const { return at_; }
  uint32_t cell_index() const { return index_; }
  const PageRef& keep() const { return keep_; }
  int64_t rowid() const { return at_.cell.rowid; }

 private:
  TreeDiff& diff_;
  const Side& side_;
  size_t place_ = 0;
  bool open_ = false;
  uint32_t cell_ = 0, end_ = 0, index_ = 0;
  size_t used_ = 0;  // bytes of the page's cells so far
  PageRef keep_;
  BtreePage page_;
  Located at_;
};

namespace {
bool same_cell(const Cell& a, const Cell& b) {
  return a.payload_size == b.payload_size && a.overflow == b.overflow && equal(a.local, b.local);
}
}  // namespace

Result<ByteView> TreeDiff::payload(Side& side, const Located& where, Bytes& buffer, std::vector<PageNo>* chain) {
  // To look for a renumbering, to hash a key, to compare it, to report the row.
  constexpr uint64_t kReadsMax = 4;
  const Image& image = side.image;
  if (chain) chain->clear();
  uint64_t pages = overflow_pages(where.cell, image.usable);
  if (pages == 0) return where.cell.local;
  // A page is in one chain. Where cells share theirs, each would be read and remembered whole.
  side.chain_pages += pages;
  if (side.chain_pages > kReadsMax * image.page_count)
    return page_error(where.page, "the overflow chains of its tree have more pages than the database");
  buffer.clear();
  auto done = read_payload(*image.reader, where.cell, image.usable, image.page_count, buffer, chain);
  if (!done) return std::move(done).error().with("page " + std::to_string(where.page));
  return ByteView(buffer);
}

void TreeDiff::claim_chain(PageNo holder, const std::vector<PageNo>& chain) {
  for (size_t i = 0; i < chain.size(); i++)
    claims_.emplace_back(chain[i],
                         i == 0 ? Owner{OwnerKind::overflow_first, holder} : Owner{OwnerKind::overflow_next, chain[0]});
}

Result<void> TreeDiff::matched(const Located& before, const Located& after, int64_t rowid, RowSink& sink) {
  if (same_cell(before.cell, after.cell) && !(before.cell.overflow && flag(before.cell.overflow, kDirtyChain))) {
    // The chain moved with its cell, unread.
    if (after.cell.overflow) claims_.emplace_back(after.cell.overflow, Owner{OwnerKind::overflow_first, after.page});
    return {};
  }
  TILLSYNC_LET(ByteView old_record, payload(before_, before, before_payload_, &before_chain_));
  TILLSYNC_LET(ByteView new_record, payload(after_, after, after_payload_, &after_chain_));
  unset_.insert(unset_.end(), before_chain_.begin(), before_chain_.end());
  claim_chain(after.page, after_chain_);
  if (equal(old_record, new_record)) return {};
  return sink.row({RowAction::update, rowid, old_record, new_record});
}

Result<void> TreeDiff::only(RowAction action, const Located& where, int64_t rowid, RowSink& sink) {
  if (action == RowAction::remove) {
    TILLSYNC_LET(ByteView record, payload(before_, where, before_payload_, &before_chain_));
    unset_.insert(unset_.end(), before_chain_.begin(), before_chain_.end());
    return sink.row({action, rowid, record, {}});
  }
  TILLSYNC_LET(ByteView record, payload(after_, where, after_payload_, &after_chain_));
  claim_chain(where.page, after_chain_);
  return sink.row({action, rowid, {}, record});
}

Result<void> TreeDiff::merge_table(RowSink& sink) {
  struct Silent : RowSink {
    Result<void> row(const RowChange&) override { return {}; }
  } silent;
  RowSink& out = renumbered_ ? static_cast<RowSink&>(silent) : sink;
  Cursor before(*this, before_), after(*this, after_);
  int64_t last_before = 0, last_after = 0;
  bool first_before = true, first_after = true;
  auto advance = [](Cursor& cursor, int64_t& last, bool& first) -> Result<void> {
    TILLSYNC_LET(bool more, cursor.next());
    if (!more) return {};
    if (!first && cursor.rowid() <= last) return page_error(cursor.at().page, "rowids out of order");
    last = cursor.rowid();
    first = false;
    return {};
  };
  TILLSYNC_TRY(advance(before, last_before, first_before));
  TILLSYNC_TRY(advance(after, last_after, first_after));
  while (before.valid() || after.valid()) {
    if (before.valid() && after.valid() && before.rowid() == after.rowid()) {
      TILLSYNC_TRY(matched(before.at(), after.at(), after.rowid(), out));
      TILLSYNC_TRY(advance(before, last_before, first_before));
      TILLSYNC_TRY(advance(after, last_after, first_after));
    } else if (!after.valid() || (before.valid() && before.rowid() < after.rowid())) {
      TILLSYNC_TRY(only(RowAction::remove, before.at(), before.rowid(), out));
      TILLSYNC_TRY(advance(before, last_before, first_before));
    } else {
      TILLSYNC_TRY(only(RowAction::create, after.at(), after.rowid(), out));
      TILLSYNC_TRY(advance(after, last_after, first_after));
    }
  }
  return {};
}

Result<bool> TreeDiff::same_records_in_order() {
  Cursor before(*this, before_), after(*this, after_);
  bool moved = false;
  while (true) {
    TILLSYNC_LET(bool more_before, before.next());
    TILLSYNC_LET(bool more_after, after.next());
    if (more_before != more_after) return false;
    if (!more_before) return moved;
    if (before.at().cell.payload_size != after.at().cell.payload_size ||
        !equal(before.at().cell.local, after.at().cell.local))
      return false;
    if (before.at().cell.overflow) {
      TILLSYNC_LET(ByteView old_record, payload(before_, before.at(), before_payload_, nullptr));
      TILLSYNC_LET(ByteView new_record, payload(after_, after.at(), after_payload_, nullptr));
      if (!equal(old_record, new_record)) return false;
    }
    moved |= before.rowid() != after.rowid();
  }
}

// WITHOUT ROWID: rows stand in leaves and interior pages and move between them, and their order depends on collations
// that only the application knows. Cells that are equal in step are paired on the way; the rest is paired by the values
// of the primary key, as bytes.
Result<void> TreeDiff::merge_index(const Tree& before_tree, const Tree& after_tree, RowSink& sink) {
  struct Unmatched {
    uint64_t key_hash;
    PageNo page;
    uint32_t cell;
    bool operator<(const Unmatched& o) const { return key_hash < o.key_hash; }
  };
  constexpr size_t kLookahead = 12;
  // A window of cells of one side; an entry keeps the page its cell points into.
  struct Entry {
    Located at;
    uint32_t cell;
    PageRef keep;
  };
  class Window {
   public:
    Window(TreeDiff& diff, const Side& side) : cursor_(diff, side) {}
    Result<void> fill() {
      while (!ended_ && entries_.size() - first_ < kLookahead) {
        TILLSYNC_LET(bool more, cursor_.next());
        ended_ = !more;
        if (more) entries_.push_back({cursor_.at(), cursor_.cell_index(), cursor_.keep()});
      }
      return {};
    }
    size_t size() const { return entries_.size() - first_; }
    const Entry& operator[](size_t i) const { return entries_[first_ + i]; }
    void drop(size_t n) {
      first_ += n;
      if (first_ > 64) {
        entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(first_));
        first_ = 0;
      }
    }

   private:
    Cursor cursor_;
    std::vector<Entry> entries_;
    size_t first_ = 0;
    bool ended_ = false;
  };

  auto key_bytes = [](ByteView record, size_t fields, Bytes& out) -> bool {
    out.clear();
    RecordReader reader(record);
    uint64_t serial;
    const uint8_t* body;
    for (size_t i = 0; i < fields; i++) {
      if (!reader.next(serial, body)) return false;
      if ((serial >= 1 && serial <= 6) || serial == 8 || serial == 9) {
        // Numbers have several forms: after ALTER TABLE DROP COLUMN 0 and 1 are bytes, until their row is written anew.
        const int64_t number = decode_value(serial, body).integer;
        put_varint(out, 1);
        append(out, {reinterpret_cast<const uint8_t*>(&number), sizeof number});
      } else {
        put_varint(out, serial);
        append(out, {body, static_cast<size_t>(serial_size(serial))});
      }
    }
    return true;
  };
  Bytes key, other_key;
  auto unmatched_of = [&](Side& side, const Entry& entry, size_t fields) -> Result<Unmatched> {
    TILLSYNC_LET(ByteView record, payload(side, entry.at, before_payload_, nullptr));
    if (!key_bytes(record, fields, key)) return page_error(entry.at.page, "a record does not parse");
    return Unmatched{std::hash<std::string_view>{}(as_text(key)), entry.at.page, entry.cell};
  };

  // With a changed chain even the key may be another one, where it does not fit its page.
  auto same_row = [&](const Entry& a, const Entry& b) {
    return same_cell(a.at.cell, b.at.cell) && !(a.at.cell.overflow && flag(a.at.cell.overflow, kDirtyChain));
  };

  std::vector<Unmatched> only_before, only_after;
  Window before(*this, before_), after(*this, after_);
  while (true) {
    TILLSYNC_TRY(before.fill());
    TILLSYNC_TRY(after.fill());
    if (before.size() == 0 && after.size() == 0) break;
    if (before.size() && after.size() && same_row(before[0], after[0])) {
      TILLSYNC_TRY(matched(before[0].at, after[0].at, 0, sink));
      before.drop(1);
      after.drop(1);
      continue;
    }
    // Rows put in or taken out: look a little ahead for where both sides go on alike.
    size_t skip_before = before.size() ? 1 : 0, skip_after = after.size() ? 1 : 0;
    if (before.size() && after.size()) {
      for (size_t i = 1; i < kLookahead; i++) {
        if (i < after.size() && same_row(before[0], after[i])) {
          skip_before = 0;
          skip_after = i;
          break;
        }
        if (i < before.size() && same_row(before[i], after[0])) {
          skip_before = i;
          skip_after = 0;
          break;
        }
      }
    }
    for (size_t i = 0; i < skip_before; i++) {
      TILLSYNC_LET(Unmatched u, unmatched_of(before_, before[i], before_tree.key_fields));
      only_before.push_back(u);
    }
    for (size_t i = 0; i < skip_after; i++) {
      TILLSYNC_LET(Unmatched u, unmatched_of(after_, after[i], after_tree.key_fields));
      only_after.push_back(u);
    }
    before.drop(skip_before);
    after.drop(skip_after);
  }

  auto locate = [&](const Image& image, const Unmatched& u, PageRef& keep) -> Result<Located> {
    TILLSYNC_LET(BtreePage page, open(image, u.page, keep));
    Located where;
    where.page = u.page;
    if (!page.cell(u.cell, where.cell)) return page_error(u.page, "a cell does not fit the page");
    return where;
  };
  std::stable_sort(only_before.begin(), only_before.end());
  std::vector<bool> paired(only_before.size());
  PageRef keep_before, keep_after;
  for (auto& a : only_after) {
    TILLSYNC_LET(Located new_row, locate(after_.image, a, keep_after));
    TILLSYNC_LET(ByteView new_record, payload(after_, new_row, after_payload_, nullptr));
    if (!key_bytes(new_record, after_tree.key_fields, key)) return page_error(a.page, "a record does not parse");
    auto candidate = std::lower_bound(only_before.begin(), only_before.end(), a);
    bool found = false;
    for (; candidate != only_before.end() && candidate->key_hash == a.key_hash; ++candidate) {
      size_t i = static_cast<size_t>(candidate - only_before.begin());
      if (paired[i]) continue;
      TILLSYNC_LET(Located old_row, locate(before_.image, *candidate, keep_before));
      TILLSYNC_LET(ByteView old_record, payload(before_, old_row, before_payload_, nullptr));
      if (!key_bytes(old_record, before_tree.key_fields, other_key) || !equal(key, other_key)) continue;
      paired[i] = found = true;
      TILLSYNC_TRY(matched(old_row, new_row, 0, sink));
      break;
    }
    if (!found) TILLSYNC_TRY(only(RowAction::create, new_row, 0, sink));
  }
  for (size_t i = 0; i < only_before.size(); i++) {
    if (paired[i]) continue;
    TILLSYNC_LET(Located old_row, locate(before_.image, only_before[i], keep_before));
    TILLSYNC_TRY(only(RowAction::remove, old_row, 0, sink));
  }
  return {};
}

}  // namespace tillsync
