// Counting a table by several threads, each with a reader of its own, comes to what one thread counts.
#include "capture/count_tables.h"

#include <doctest/doctest.h>

#include <set>

#include "dbfile/record.h"
#include "sqlite/connection.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/serialized.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

class BytesPages : public PageReader {
 public:
  explicit BytesPages(const Bytes& file) : file_(file), page_size_(must(DatabaseHeader::parse(file)).page_size) {}
  Result<PageRef> page(PageNo number) override {
    if (number == 0 || number > count()) return page_error(number, "lies outside the database");
    PageRef page = PageRef::allocate(page_size_);
    std::memcpy(page.mutable_data(), file_.data() + size_t{number - 1} * page_size_, page_size_);
    return page;
  }
  PageNo count() const { return static_cast<PageNo>(file_.size() / page_size_); }

 private:
  const Bytes& file_;
  uint32_t page_size_;
};

Connection database_of(const std::string& sql) {
  auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(db.execute("PRAGMA page_size=512; " + sql));
  return db;
}

// A table `t` of so many rows of that many bytes, in a tree of more than one level.
Connection database_of_rows(int rows, int bytes) {
  return database_of(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE spare(v);"
      "INSERT INTO t WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<" +
      std::to_string(rows) + ") SELECT n, hex(zeroblob(" + std::to_string(bytes / 2) + ")) FROM g");
}

Result<std::vector<TableDigest>> count_with(const Bytes& file, size_t threads) {
  BytesPages pages(file);
  if (threads == 0) return count_tables(pages, pages.count());
  return count_tables(pages, pages.count(),
                      CountingWorkers{threads, [&]() -> Result<std::unique_ptr<PageReader>> {
                                        return std::unique_ptr<PageReader>(std::make_unique<BytesPages>(file));
                                      }});
}

PageNo root_of(const Schema& schema, const std::string& name) {
  for (auto& table : schema.tables)
    if (table.name == name) return table.root;
  FAIL("no table " << name);
  return 0;
}

uint64_t rows_of(Connection& db, const std::string& table) {
  return static_cast<uint64_t>(must(db.query_integer("SELECT count(*) FROM " + table)));
}

// Every row of a tree, by its parts and what lies above them, and how many parts there were.
std::multiset<int64_t> rows_in_parts(const Image& image, PageNo root, size_t& parts) {
  std::multiset<int64_t> rows;
  const RowVisitor visit = [&](int64_t rowid, ByteView) -> Result<void> {
    rows.insert(rowid);
    return {};
  };
  PagesWalked walked = 0;
  parts = 0;
  must(split_tree(image, root, walked, visit, [&](TreePart part) {
    parts++;
    return walk_part(image, part, walked, visit);
  }));
  return rows;
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("count tables: by any number of threads, as by one and as SQLite counts") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  for (const int page_size : {512, 1024, 4096}) {
    CAPTURE(page_size);
    auto db = database_of("PRAGMA page_size=" + std::to_string(page_size) +
                          "; CREATE TABLE empty(v); CREATE TABLE one(v); INSERT INTO one VALUES(1);"
                          "CREATE TABLE rows(id INTEGER PRIMARY KEY, v);"
                          "CREATE TABLE keyed(k TEXT PRIMARY KEY, v, n) WITHOUT ROWID;"
                          "CREATE TABLE images(id INTEGER PRIMARY KEY, image BLOB); BEGIN");
    for (uint64_t i = 0, n = 2000 + random.below(4000); i < n; i++) {
      const std::string number = std::to_string(i);
      must(db.execute("INSERT INTO rows VALUES(" + number + ", '" + std::string(random.below(60), 'x') + "');" +
                      "INSERT INTO keyed VALUES('key " + std::to_string(random.below(1u << 30)) + "/" + number +
                      "', '" + std::string(random.below(200), 'y') + "', " + number + ")"));
      if (i % 50 == 0)
        must(db.execute("INSERT INTO images VALUES(" + number + ", randomblob(" + std::to_string(random.below(20000)) +
                        "))"));
    }
    must(db.execute("COMMIT; DELETE FROM rows WHERE id % 7 = 3; ANALYZE"));
    const Bytes file = serialized(db);
    const auto alone = must(count_with(file, 0));
    REQUIRE(alone.size() == 5);
    for (const auto& table : alone) CHECK(table.rows == rows_of(db, table.name));
    for (const size_t threads : {1, 2, 3}) CHECK(must(count_with(file, threads)) == alone);
  }
}

TEST_CASE("count tables: a database without a page, and one without a table, have none for workers either") {
  auto db = database_of("CREATE TABLE t(v); DROP TABLE t");
  const Bytes file = serialized(db);
  CHECK(must(count_with(file, 2)).empty());
  BytesPages pages(file);
  CHECK(must(count_tables(pages, 0, CountingWorkers{2, {}})).empty());
}

TEST_CASE("count tables: a damaged page is named with its table, whoever reads it") {
  auto db = database_of_rows(1000, 80);
  const Bytes sound = serialized(db);
  BytesPages pages(sound);
  Image image = must(image_of(pages, pages.count()));
  const Schema schema = must(schema_of(image));
  const PageNo root = root_of(schema, "t");
  PagesWalked walked = 0;
  std::vector<PageNo> damaged{root};
  must(split_tree(
      image, root, walked, [](int64_t, ByteView) { return Result<void>(); },
      [&](TreePart part) -> Result<void> {
        damaged.push_back(part.page);
        return {};
      }));
  REQUIRE(damaged.size() > 100);
  for (const PageNo page : {damaged[0], damaged[1], damaged[70], damaged.back()}) {
    CAPTURE(page);
    Bytes file = sound;
    file[size_t{page - 1} * 512] = 99;  // no kind of page
    for (const size_t threads : {0, 1, 2}) {
      CAPTURE(threads);
      const Error error = refused(count_with(file, threads));
      CHECK(error.kind == ErrorKind::corrupt);
      CHECK_MESSAGE(contains(error.context, "table 't'"), error.context);
      CHECK_MESSAGE(contains(error.context, "page " + std::to_string(page) + ": "), error.context);
    }
  }
}

TEST_CASE("count tables: a worker that can't open its reader is an error") {
  auto db = database_of_rows(1, 10);
  const Bytes file = serialized(db);
  BytesPages pages(file);
  const Error error =
      refused(count_tables(pages, pages.count(), CountingWorkers{2, []() -> Result<std::unique_ptr<PageReader>> {
                                                                   return Error{ErrorKind::denied, 0, "no more files"};
                                                                 }}));
  CHECK(error.kind == ErrorKind::denied);
}

TEST_CASE("split tree: where leaves are not equally deep, which SQLite never writes, no row is lost") {
  // Five leaves from SQLite; the first and the last get an inner page more above them, or the second has none.
  auto db = database_of_rows(10, 200);
  const Bytes sound = serialized(db);
  BytesPages pages(sound);
  const Image image = must(image_of(pages, pages.count()));
  const Schema schema = must(schema_of(image));
  const PageNo root = root_of(schema, "t"), spare = root_of(schema, "spare");
  std::multiset<int64_t> all;
  for (int64_t id = 1; id <= 10; id++) all.insert(id);
  size_t parts = 0;
  CHECK(rows_in_parts(image, root, parts) == all);
  REQUIRE(parts == 5);
  const PageRef above = must(pages.page(root));
  const BtreePage inner = must(BtreePage::parse(root, above.view(), 512));
  for (const uint32_t deeper : {0u, 1u, inner.cell_count()}) {
    CAPTURE(deeper);
    Bytes file = sound;
    // The spare page becomes an inner page without a cell, whose one child is the leaf.
    uint8_t* between = file.data() + size_t{spare - 1} * 512;
    std::fill(between, between + 512, 0);
    between[0] = static_cast<uint8_t>(PageKind::interior_table);
    uint8_t* child = file.data() + size_t{root - 1} * 512;
    if (deeper == inner.cell_count()) {
      child += 8;
    } else {
      child += size_t{child[12 + 2 * deeper]} << 8 | child[13 + 2 * deeper];
    }
    std::memcpy(between + 8, child, 4);
    put_be32(child, spare);
    BytesPages changed(file);
    CHECK(rows_in_parts(must(image_of(changed, changed.count())), root, parts) == all);
    // Of the deeper first leaf's depth the others are above the parts.
    CHECK(parts == (deeper == 0 ? 1 : 5));
  }
}

TEST_CASE("split tree: a circle is refused, above the parts and in one") {
  auto db = database_of_rows(1000, 200);
  const Bytes sound = serialized(db);
  BytesPages pages(sound);
  const PageNo root = root_of(must(schema_of(must(image_of(pages, pages.count())))), "t");
  for (const bool first : {true, false}) {
    CAPTURE(first);
    Bytes file = sound;
    uint8_t* page = file.data() + size_t{root - 1} * 512;
    uint8_t* child = first ? page + (size_t{page[12]} << 8 | page[13]) : page + 8;
    put_be32(child, root);
    for (const size_t threads : {0, 1, 2}) CHECK(refused(count_with(file, threads)).kind == ErrorKind::corrupt);
  }
}

TEST_SUITE_END();
