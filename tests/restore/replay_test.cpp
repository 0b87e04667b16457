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

TEST_SUITE_END();
