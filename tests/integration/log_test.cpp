// When what was captured reaches the store, and what follows a change of schema, by the agent's own doing.
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// As another program of the till writes.
void run(World& world, const std::string& sql) {
  auto connection = world.application();
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

TEST_CASE("a transaction over ATTACHed databases names the other one in both logs, here and in the store") {
  World world;
  const std::string stock = world.folder / "stock.db";
  world.write_config("", "[[database]]\nname = \"stock\"\npath = \"" + stock + "\"\n");
  run(world, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  auto app = world.application();
  must(app.execute("PRAGMA busy_timeout = 60000; ATTACH '" + stock +
                   "' AS stock; PRAGMA stock.journal_mode = WAL; "
                   "CREATE TABLE stock.s(id INTEGER PRIMARY KEY, v)"));
  world.start_agent();
  auto logs = [&](const std::string& database, const std::vector<std::string>& more) {
    std::vector<std::string> words{"log", "--database", database, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    std::istringstream lines(world.cli(words).out);
    std::vector<Json> actions;
    for (std::string line; std::getline(lines, line);) actions.push_back(Json::parse(line));
    return actions;
  };
  // Each database is captured before the next statement, as in a shop that is not busy.
  auto settled = [&](const char* database, Sequence sequence) {
    world.until(std::string(database) + " is captured", [&] {
      const Json status = world.call("status");
      for (auto& one : status["databases"])
        if (one["name"] == database && one["sequence"] == sequence) return true;
      return false;
    });
  };
  world.call("flush", {{"wait", true}});
  must(app.execute("INSERT INTO t VALUES(1, 'alone')"));
  settled("pos", 1);
  // On a busy machine the capture of one may be late enough to be found rather than seen: then nothing is named.
  int marked = 0;
  for (int i = 2; i < 40 && marked < 3; i++) {
    const std::string id = std::to_string(i);
    must(app.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES(" + id + ", 'both'); INSERT INTO stock.s VALUES(" + id +
                     ", 'both'); COMMIT"));
    settled("pos", static_cast<Sequence>(i));
    settled("stock", static_cast<Sequence>(i - 1));
    marked += logs("pos", {}).back().contains("coincident");
  }
  CHECK(marked == 3);
  world.call("flush", {{"wait", true}});
  const std::vector<std::string> in_store{"--store", "file://" + world.store, "--terminal", world.terminal().str()};
  for (auto& where : {std::vector<std::string>{}, in_store}) {
    auto pos = logs("pos", where), other = logs("stock", where);
    REQUIRE(pos.size() == other.size() + 1);
    CHECK_FALSE(pos[0].contains("coincident"));
    int both = 0;
    for (size_t i = 1; i < pos.size(); i++) {
      if (!pos[i].contains("coincident")) continue;
      // What is named is what was: the same sale.
      CHECK(pos[i]["coincident"] ==
            Json::parse("[{\"database\": \"stock\", \"transaction\": " + other[i - 1]["transaction"].dump() + "}]"));
      // A segment that was sealed before the other database was captured, on a busy machine, names nobody.
      if (where.empty() || other[i - 1].contains("coincident"))
        CHECK(other[i - 1]["coincident"][0]["transaction"] == pos[i]["transaction"]);
      both++;
    }
    CHECK(both >= (where.empty() ? 3 : 1));
  }
  world.stop_agent();
}

TEST_SUITE_END();
