// When what was captured reaches the store, and what follows a change of schema, by the agent's own doing.
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// As another program of the till writes.
void run(World& world, const std::string& sql) {
  auto connection = must(Connection::open(world.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(connection.execute("PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL"));
  must(connection.execute(sql));
}

size_t snapshots(World& world) { return world.call("snapshots").size(); }

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("a sale is in the store soon after log_flush, without being asked for") {
  World world;
  run(world, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  world.start_agent();
  world.flush();
  for (int i = 1; i <= 3; i++) {
    run(world, "INSERT INTO t(v) VALUES('sold')");
    // log_flush is 200 ms here; the store is looked at every 30 s anyway, which must not be what sends it.
    world.until(
        "the sale is durable", [&] { return world.database()["durable_sequence"] == i; }, std::chrono::seconds(15));
  }
  world.stop_agent();
}

TEST_CASE("a snapshot follows a change of schema, though the agent is killed, or busy with another one") {
  World world;
  run(world, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a')");
  world.start_agent();
  world.back_up("full");
  CHECK(snapshots(world) == 1);
  world.kill_agent();
  // Captured at the next start, as a change that nobody watched.
  run(world, "ALTER TABLE t ADD COLUMN price DEFAULT 7");
  world.start_agent();
  world.until("its snapshot is there", [&] { return snapshots(world) == 2; });
  run(world, "ALTER TABLE t ADD COLUMN tax DEFAULT 1");
  run(world, "ALTER TABLE t ADD COLUMN tip DEFAULT 2");
  run(world, "INSERT INTO t(id, v) VALUES(2, 'b')");
  // However many changes there were: the newest snapshot is past the last of them.
  world.until("the last change is in a snapshot", [&] {
    Json all = world.call("snapshots");
    Sequence newest = 0;
    for (auto& one : all) newest = std::max(newest, one["sequence"].get<Sequence>());
    return newest >= world.database()["sequence"].get<Sequence>() - 1 && world.database()["sequence"] >= 4;
  });
  world.flush();
  auto restored = world.cli({"restore", "--to", world.folder / "restored.db", "--json"});
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  CHECK(restored.json()["proven"] == true);
  auto copy = must(Connection::open(world.folder / "restored.db", SQLITE_OPEN_READONLY));
  CHECK(must(copy.query_text("SELECT group_concat(v||price||tax||tip) FROM t")) == "a712,b712");
  world.stop_agent();
}

TEST_SUITE_END();
