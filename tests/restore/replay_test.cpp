// Replay can be repeated, skips what is done, and reports what does not fit.
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
struct Shop : RestoreWorld {
  Shop() {
    run("CREATE TABLE item(id INTEGER PRIMARY KEY, name UNIQUE, price); CREATE TABLE stock(p TEXT, i INT, q, PRIMARY "
        "KEY(p, i)) WITHOUT ROWID;"
        "CREATE TABLE audit(what); CREATE TABLE receipt(n INTEGER PRIMARY KEY AUTOINCREMENT, v);"
        "INSERT INTO item VALUES(1, 'milk', 1.5), (2, 'bread', 2)");
    remember();
    snapshot();
    sell("UPDATE item SET price=1.75 WHERE id=1");
    sell(
        "BEGIN; INSERT INTO receipt(v) VALUES(1), (2); INSERT INTO audit VALUES('x'), ('y'); INSERT INTO stock "
        "VALUES('p', 1, 5);"
        "UPDATE item SET name='z' WHERE id=1; UPDATE item SET name='milk' WHERE id=2; UPDATE item SET name='bread' "
        "WHERE id=1;"
        "DELETE FROM audit WHERE what='x'; COMMIT");
    sell(
        "BEGIN; DELETE FROM stock; UPDATE item SET price=9 WHERE id=2; DELETE FROM receipt WHERE n=1; INSERT INTO "
        "audit VALUES('w'); COMMIT");
    seal();
  }
  std::shared_ptr<const Schema> schema_now() { return std::make_shared<const Schema>(schema()); }
};
}  // namespace

TEST_CASE("replay: twice is once, and done transactions are skipped") {
  Shop shop;
  must(shop.try_restore({}));
  auto db = shop.open_staged();
  Content once = dump(db);
  check_same(once, shop.copies.at(3));
  auto digests = must(count_tables(shop.files, shop.staged_path()));
  LogReader reader(shop.store, shop.lineage);
  auto segment = must(reader.read(must(reader.list()).back()));
  for (TransactionNo position : {TransactionNo{2}, TransactionNo{3}}) {
    auto again = must(Replayer::create(db, shop.schema_now(), digests, position, false));
    must(again->apply(segment, 3));
    CHECK(again->failures().empty());
    CHECK((again->actions_applied() == 0) == (position == 3));
    check_same(dump(db), once);
  }
}

TEST_CASE(
    "replay: another row than the log knows is a conflict with both images, keep-going leaves it and its dependants "
    "out") {
  Shop shop;
  auto plan = must(plan_restore(shop.store, shop.lineage, {}));
  auto staging = shop.staging();
  auto tampered = [&] {
    must(staging.fill(plan, nullptr));
    auto db = must(Connection::open(shop.staged_path(), SQLITE_OPEN_READWRITE));
    must(db.execute("UPDATE item SET price=77 WHERE id=1"));
  };
  tampered();
  Error error = refused(staging.replay(plan, false, nullptr));
  CHECK(error.kind == ErrorKind::conflict);
  for (const char* part : {"sequence 1", "item", "entity 1", "77", "1.5"})
    CHECK_MESSAGE(contains(error.context, part), error.context);

  tampered();
  must(staging.replay(plan, true, nullptr));
  auto outcome = must(staging.prove(nullptr));
  CHECK(!outcome.proven);
  CHECK(outcome.failures.size() >= 2);
  CHECK(outcome.failures.front().sequence == 1);
  for (auto& table : outcome.tables)
    if (table.name == "stock") CHECK(table.digest_ok);
}

TEST_CASE(
    "replay: a row that a table's own clause would put in place of another is a conflict, and the other one stays") {
  RestoreWorld world;
  world.run(
      "CREATE TABLE item(id INTEGER PRIMARY KEY ON CONFLICT REPLACE, name UNIQUE ON CONFLICT REPLACE);"
      "CREATE TABLE stock(p TEXT PRIMARY KEY ON CONFLICT IGNORE, q); INSERT INTO item VALUES(1, 'milk')");
  world.remember();
  world.snapshot();
  world.sell("INSERT INTO item VALUES(2, 'bread')");
  world.sell("INSERT INTO stock VALUES('p', 5)");
  world.seal();
  auto plan = must(plan_restore(world.store, world.lineage, {}));
  for (const char* foreign : {"INSERT INTO item VALUES(2, 'salt')", "INSERT INTO item VALUES(7, 'bread')",
                              "INSERT INTO stock VALUES('p', 6)"}) {
    INFO(foreign);
    auto staging = world.staging();
    must(staging.fill(plan, nullptr));
    {
      auto db = must(Connection::open(world.staged_path(), SQLITE_OPEN_READWRITE));
      must(db.execute(foreign));
    }
    CHECK(refused(staging.replay(plan, false, nullptr)).kind == ErrorKind::conflict);
    must(staging.fill(plan, nullptr));
    auto db = must(Connection::open(world.staged_path(), SQLITE_OPEN_READWRITE));
    must(db.execute(foreign));
    auto schema = std::make_shared<const Schema>(world.schema());
    auto replayer = must(Replayer::create(db, schema, must(count_tables(world.files, world.staged_path())), 0, true));
    LogReader reader(world.store, world.lineage);
    for (auto& object : plan.segments) must(replayer->apply(must(reader.read(object)), plan.transaction));
    CHECK(replayer->failures().size() == 1);
    CHECK(must(db.query_integer("SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM stock)")) == 3);
  }
}

TEST_SUITE_END();
