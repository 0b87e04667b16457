// Values that SQLite would not store today, but that the application's database holds.
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
void write_in_place(RestoreWorld& world, const char* table, const char* column, std::string_view bytes) {
  sqlite3_blob* blob = nullptr;
  REQUIRE(sqlite3_blob_open(world.app.handle(), "main", table, column, 1, 1, &blob) == SQLITE_OK);
  CHECK(sqlite3_blob_write(blob, bytes.data(), static_cast<int>(bytes.size()), 0) == SQLITE_OK);
  CHECK(sqlite3_blob_close(blob) == SQLITE_OK);
  world.clock.advance(std::chrono::milliseconds(10));
}
std::string in_encoding(std::string_view text, const std::string& encoding) {
  if (encoding == "UTF-8") return std::string(text);
  std::string wide;
  for (char c : text) wide += encoding == "UTF-16le" ? std::string{c, 0} : std::string{0, c};
  return wide;
}
}  // namespace

TEST_CASE("restore: values of another kind than their column declares come back, and do not make a restore fail") {
  std::string encoding;
  SUBCASE("UTF-8") { encoding = "UTF-8"; }
  SUBCASE("UTF-16le") { encoding = "UTF-16le"; }
  SUBCASE("UTF-16be") { encoding = "UTF-16be"; }
  RestoreWorld world(1, "PRAGMA encoding='" + encoding + "'; PRAGMA journal_mode=WAL");
  world.run(
      "CREATE TABLE n(id INTEGER PRIMARY KEY, v INT, w INT); CREATE TABLE late(id INTEGER PRIMARY KEY, v);"
      "CREATE TABLE k(v NUMERIC, key TEXT PRIMARY KEY, w REAL);"
      "INSERT INTO n VALUES(1, 'x', 5); INSERT INTO late VALUES(1, NULL); INSERT INTO k VALUES('x.x', 'a', 'xxx')");
  world.remember();
  world.snapshot();
  // Text that looks like a number, where SQLite would make a number of it: only the blob interface can.
  write_in_place(world, "n", "v", in_encoding("7", encoding));
  write_in_place(world, "k", "v", in_encoding("1.0", encoding));
  write_in_place(world, "k", "w", in_encoding(" 3 ", encoding));
  const TransactionNo odd = world.remember();
  // NULL where a NOT NULL was put in later, as an upgrade by writable_schema does.
  world.run(
      "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'v)', 'v NOT NULL)') WHERE name='late';"
      "PRAGMA writable_schema=RESET");
  world.remember();
  world.snapshot(SnapshotType::incremental);
  const TransactionNo last = world.sell("INSERT INTO n VALUES(2, 8, 9)");
  world.seal();
  for (TransactionNo moment : {odd, last}) {
    world.check_moment(moment);
    auto outcome = must(world.try_restore(RestoreWorld::at_transaction(moment)));
    CHECK(contains(outcome.note, "as the application stored them"));
  }
  CHECK(must(world.app.query_text("PRAGMA integrity_check(1)")) != "ok");
}

TEST_CASE("restore: an index that lacks a row is refused also where values are odd before it") {
  RestoreWorld world;
  world.run(
      "CREATE TABLE n(id INTEGER PRIMARY KEY, v INT, w); CREATE INDEX by_w ON n(w);"
      "INSERT INTO n VALUES(1, 'x', 'a'), (2, 3, 'b')");
  write_in_place(world, "n", "v", "7");
  // The index is hidden from one INSERT.
  world.run(
      "PRAGMA writable_schema=ON; CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name='by_w';"
      "DELETE FROM sqlite_schema WHERE name='by_w'; PRAGMA writable_schema=RESET; INSERT INTO n VALUES(3, 4, 'c');"
      "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema SELECT * FROM kept; PRAGMA writable_schema=RESET;"
      "DROP TABLE kept");
  const TransactionNo last = world.remember();
  world.snapshot();
  world.seal();
  const Error why = refused(world.try_restore(RestoreWorld::at_transaction(last)));
  CHECK(why.kind == ErrorKind::corrupt);
  INFO(why.context);
  CHECK(contains(why.context, "index by_w"));
  // It is the application's own: who can do without the check gets the rows, proven, and is told.
  auto outcome = must(world.try_restore(RestoreWorld::at_transaction(last), false, SqliteCheck::leave_out));
  CHECK(outcome.proven);
  CHECK(contains(outcome.note, "integrity_check was left out"));
  for (auto& table : outcome.tables) CHECK(table.digest_ok);
}

TEST_SUITE_END();
