// The demo's own proof has to find what differs, and its shop has to be the same shop twice.
#include <doctest/doctest.h>

#include "agent/cli/compare_databases.h"
#include "agent/demo/pos_sqlite.h"
#include "agent/demo/pos_workload.h"
#include "tests/agent/control_fixture.h"

using namespace tillsync;

namespace {

void sell(const std::string& path, int sales, uint64_t seed = 1) {
  PosOptions options;
  options.path = path;
  options.products = 50;
  options.seed = seed;
  options.synchronous = "OFF";
  auto shop = PosWorkload::open(options);
  REQUIRE(shop.has_value());
  for (int i = 0; i < sales; ++i) REQUIRE(shop->sell_one().has_value());
}

void change(const std::string& path, const char* sql) {
  auto connection = pos::open_handle(path, SQLITE_OPEN_READWRITE);
  REQUIRE(connection.has_value());
  REQUIRE(pos::run(connection->get(), sql).has_value());
}

}  // namespace

TEST_SUITE_BEGIN("demo");

TEST_CASE("demo: one seed makes one shop, also when it is closed in between, another seed another") {
  TemporaryFolder folder;
  sell(folder / "a.db", 300);
  sell(folder / "b.db", 120);
  sell(folder / "b.db", 180);
  sell(folder / "c.db", 300, 2);
  auto same = compare_databases(folder / "a.db", folder / "b.db");
  REQUIRE(same.has_value());
  CHECK(same->is_equal());
  CHECK(same->rows() > 1000);
  CHECK_FALSE(compare_databases(folder / "a.db", folder / "c.db")->is_equal());
}

TEST_CASE("demo: a copy is the database of its moment") {
  TemporaryFolder folder;
  PosOptions options;
  options.path = folder / "a.db";
  options.products = 50;
  auto shop = PosWorkload::open(options);
  REQUIRE(shop.has_value());
  for (int i = 0; i < 50; ++i) REQUIRE(shop->sell_one().has_value());
  REQUIRE(shop->copy_to(folder / "copy.db").has_value());
  CHECK(compare_databases(folder / "a.db", folder / "copy.db")->is_equal());
  REQUIRE(shop->sell_one().has_value());
  CHECK_FALSE(compare_databases(folder / "a.db", folder / "copy.db")->is_equal());
}

TEST_CASE("demo: the comparison finds each kind of difference") {
  TemporaryFolder folder;
  for (const std::string& sql : std::vector<std::string>{
           "UPDATE settings SET value=0.0 WHERE key='receipt_no'",
           "DELETE FROM audit WHERE rowid=(SELECT max(rowid) FROM audit)",
           "INSERT INTO audit SELECT * FROM audit LIMIT 1",
           "UPDATE audit SET what=CAST(what AS BLOB) WHERE rowid=(SELECT max(rowid) FROM audit)",
           "CREATE TABLE more(x)", "DROP TABLE sessions", "DROP INDEX orders_created",
           "UPDATE sqlite_sequence SET seq=seq+1", "UPDATE payments SET receipt=x'00' WHERE id=3",
           "UPDATE orders SET customer_id=NULL WHERE customer_id=(SELECT max(customer_id) FROM orders)"}) {
    sell(folder / "a.db", 60);
    sell(folder / "b.db", 60);
    REQUIRE(compare_databases(folder / "a.db", folder / "b.db")->is_equal());
    change(folder / "b.db", sql.c_str());
    CHECK_MESSAGE(!compare_databases(folder / "a.db", folder / "b.db")->is_equal(), sql);
    for (const char* name : {"a.db", "b.db"}) std::filesystem::remove(folder / name);
  }
}

TEST_SUITE_END();
