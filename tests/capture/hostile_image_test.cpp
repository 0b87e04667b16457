// Images that no SQLite wrote: the row diff refuses them with page and reason, in a time and memory that the size of
// the image explains. What random changes find is in tests/fuzz; here stands what has to be built on purpose.
#include <doctest/doctest.h>

#include "capture/tree_walk.h"
#include "dbfile/record.h"
#include "sqlite/connection.h"
#include "support/results.h"
#include "support/serialized.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr uint32_t kPageSize = 512;

class HandMade : public PageReader {
 public:
  explicit HandMade(PageNo page_count) : bytes_(size_t{page_count} * kPageSize) {}
  explicit HandMade(Bytes bytes) : bytes_(std::move(bytes)) {}
  uint8_t* at(PageNo page) { return bytes_.data() + size_t{page - 1} * kPageSize; }
  Image image() { return {this, static_cast<PageNo>(bytes_.size() / kPageSize), kPageSize}; }
  Result<PageRef> page(PageNo number) override {
    PageRef page = PageRef::allocate(kPageSize);
    std::memcpy(page.mutable_data(), at(number), kPageSize);
    return page;
  }
  // Cells grow from the end of the page.
  void start(PageNo page, PageKind kind, PageNo right_child = 0) {
    at(page)[0] = static_cast<uint8_t>(kind);
    used_ = 0;
    cells_ = 0;
    header_ = right_child ? 12 : 8;
    if (right_child) put_be32(at(page) + 8, right_child);
  }
  void cell(PageNo page, const Bytes& cell) {
    used_ += cell.size();
    std::memcpy(at(page) + kPageSize - used_, cell.data(), cell.size());
    point(page, kPageSize - used_);
  }
  void point(PageNo page, size_t where) {
    uint8_t* pointer = at(page) + header_ + 2 * cells_++;
    pointer[0] = static_cast<uint8_t>(where >> 8);
    pointer[1] = static_cast<uint8_t>(where);
    at(page)[4] = static_cast<uint8_t>(cells_);
  }

 private:
  Bytes bytes_;
  size_t used_ = 0, cells_ = 0, header_ = 8;
};

Bytes table_cell(uint64_t payload_size, int64_t rowid, const Bytes& local, PageNo overflow) {
  Bytes cell;
  put_varint(cell, payload_size);
  put_varint(cell, static_cast<uint64_t>(rowid));
  append(cell, local);
  if (overflow) {
    cell.resize(cell.size() + 4);
    put_be32(cell.data() + cell.size() - 4, overflow);
  }
  return cell;
}

struct Counted : RowSink {
  uint64_t rows = 0, bytes = 0;
  Result<void> row(const RowChange& change) override {
    rows++;
    bytes += change.before.size() + change.after.size();
    return {};
  }
};

// The whole tree at `root`, as a first copy takes it.
Result<void> take(const Image& image, PageNo root, Counted& rows) {
  OwnerMap owners;
  TreeDiff trees(owners);
  TILLSYNC_TRY(trees.begin({nullptr, 0, 0}, image, {}));
  return trees.tree({}, {root, false, 0}, rows);
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: a root page that no file can have is refused") {
  auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(db.execute("PRAGMA page_size=512; CREATE TABLE t(v); PRAGMA writable_schema=ON"));
  for (int64_t root : {int64_t{-1}, int64_t{0xffffffff}, int64_t{0xfffffff0}, int64_t{1000000000}, int64_t{3}}) {
    CAPTURE(root);
    must(db.execute("UPDATE sqlite_schema SET rootpage=" + std::to_string(root)));
    HandMade file(serialized(db));
    Schema schema = must(schema_of(file.image()));
    REQUIRE(schema.tables.size() == 1);
    Counted rows;
    Error error = refused(take(file.image(), schema.tables[0].root, rows));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, "page " + std::to_string(schema.tables[0].root) + ": "));
    CHECK(kind_of(walk_tree(file.image(), schema.tables[0].root, [](int64_t, ByteView) { return Result<void>(); })) ==
          ErrorKind::corrupt);
  }
}

TEST_CASE("capture: a tree with two ways down at each level is refused before all ways were gone") {
  // One transaction alone can't bring it about, as it looks at each page it changes; several can.
  constexpr PageNo kLevels = 30;
  HandMade file(1 + 2 * kLevels);
  OwnerMap owners;
  owners.resize(file.image().page_count);
  for (PageNo level = 0; level < kLevels; level++) {
    for (PageNo side = 0; side < 2; side++) {
      PageNo page = 2 + 2 * level + side;
      owners.set(page, {OwnerKind::btree, level == 0 ? 0 : page - 2});
      bool last = level + 1 == kLevels;
      file.start(page, last ? PageKind::leaf_table : PageKind::interior_table, last ? 0 : 2 + 2 * (level + 1));
      if (last) continue;
      Bytes cell(4);
      put_be32(cell.data(), 3 + 2 * (level + 1));
      put_varint(cell, 7);
      file.cell(page, cell);
    }
  }
  TreeDiff trees(owners);
  must(trees.begin(file.image(), file.image(), {}));
  Counted rows;
  Error error = refused(trees.tree({2, false, 0}, {}, rows));
  CHECK(error.kind == ErrorKind::corrupt);
  CHECK(contains(error.context, "twice in one tree"));
}

TEST_CASE("capture: rows that share an overflow chain are refused before they fill the memory") {
  constexpr PageNo kChain = 200;
  HandMade file(2 + kChain);
  for (PageNo page = 3; page < 2 + kChain; page++) put_be32(file.at(page), page + 1);
  const uint64_t payload = uint64_t{kChain} * (kPageSize - 4);
  const Bytes local(local_payload_size(payload, kPageSize, true));
  file.start(2, PageKind::leaf_table);
  SUBCASE("one row alone may have it") {
    file.cell(2, table_cell(payload, 1, local, 3));
    Counted rows;
    must(take(file.image(), 2, rows));
    CHECK(rows.bytes == payload);
  }
  SUBCASE("many may not") {
    for (int64_t rowid = 1; rowid <= 8; rowid++) file.cell(2, table_cell(payload, rowid, local, 3));
    Counted rows;
    Error error = refused(take(file.image(), 2, rows));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, "page 2: "));
    CHECK(rows.bytes <= 4 * payload);
    CHECK(kind_of(walk_tree(file.image(), 2, [](int64_t, ByteView) { return Result<void>(); })) == ErrorKind::corrupt);
  }
}

TEST_CASE("capture: a row whose overflow chain is missing is an error, not a shorter row") {
  HandMade file(3);
  file.start(2, PageKind::leaf_table);
  const Bytes local(local_payload_size(1000, kPageSize, true));
  Bytes cell = table_cell(1000, 1, local, 1);
  put_be32(cell.data() + cell.size() - 4, 0);
  file.cell(2, cell);
  Counted rows;
  CHECK(kind_of(take(file.image(), 2, rows)) == ErrorKind::corrupt);
  CHECK(rows.rows == 0);
  CHECK(kind_of(walk_tree(file.image(), 2, [](int64_t, ByteView) { return Result<void>(); })) == ErrorKind::corrupt);
}

TEST_CASE("capture: cells that lie on top of each other are refused") {
  HandMade file(2);
  file.start(2, PageKind::leaf_table);
  // Each cell begins a little into the one before, and all of them reach far.
  Bytes bytes;
  for (int i = 0; i < 40; i++) append(bytes, table_cell(100, i + 1, {}, 0));
  bytes.resize(300);
  std::memcpy(file.at(2) + 200, bytes.data(), bytes.size());
  for (size_t i = 0; i < 40; i++) file.point(2, 200 + 2 * i);
  Counted rows;
  Error error = refused(take(file.image(), 2, rows));
  CHECK(contains(error.context, "page 2: its cells overlap"));
  CHECK(rows.bytes <= kPageSize);
  CHECK(kind_of(walk_tree(file.image(), 2, [](int64_t, ByteView) { return Result<void>(); })) == ErrorKind::corrupt);
}

TEST_SUITE_END();
