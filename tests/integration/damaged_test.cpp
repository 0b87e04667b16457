// A damaged database with real processes: said with page and reason, its pages in the store without being asked for,
// the other databases captured as before, and a restored one put in its place.
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

void run(const std::string& path, const std::string& sql) {
  auto connection = must(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(connection.execute("PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL"));
  must(connection.execute(sql));
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Json database(World& world, const std::string& name) {
  const Json status = world.call("status");
  for (auto& one : status["databases"])
    if (one["name"] == name) return one;
  FAIL("no database " << name);
  return {};
}

Json page_level(World& world) {
  const Json all = world.call("snapshots");
  for (auto& one : all)
    if (one.contains("damage")) return one;
  return nullptr;
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("a damaged database is kept by its pages, the others go on, and a restored one takes its place") {
  World world;
  const std::string other = world.folder / "other.db";
  world.write_config("", "[[database]]\nname = \"other\"\npath = \"" + other + "\"\n");
  run(world.db,
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(id INTEGER PRIMARY KEY, v); INSERT INTO t "
      "VALUES(1, 'a'); INSERT INTO u VALUES(1, 'b')");
  run(other, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  world.start_agent();
  world.call("flush", {{"wait", true}});
  Json started = world.call("backup", {{"type", "full"}, {"database", "pos"}});
  REQUIRE(world.call("workflow.wait", {{"uuid", started["uuid"]}})["status"] == "COMPLETED");

  // As a failing disk or a broken script leaves it: the root page of a table is no b-tree page any more.
  run(world.db, "UPDATE sqlite_dbpage SET data=CAST(x'ff'||zeroblob(4095) AS BLOB) WHERE pgno=2");
  world.until("the damage is said",
              [&] { return database(world, "pos").value("/problem/code"_json_pointer, "") == "database_damaged"; });
  const std::string text = database(world, "pos")["problem"]["text"];
  CHECK_MESSAGE(text.find("page 2") != std::string::npos, text);
  CHECK(database(world, "pos")["mode"] == "failed");
  world.until("its pages are in the store", [&] { return !page_level(world).is_null(); });
  const std::string uuid = page_level(world)["uuid"];

  run(other, "INSERT INTO t VALUES(1, 'goes on')");
  world.until("the other database is captured", [&] { return database(world, "other")["durable_sequence"] == 1; });

  run(world.db, "PRAGMA wal_checkpoint(TRUNCATE)");
  auto pages =
      world.cli({"restore", "--database", "pos", "--snapshot", uuid, "--to", world.folder / "pages.db", "--json"});
  INFO(pages.err);
  REQUIRE(pages.status == 0);
  CHECK(pages.json()["page_level"] == true);
  CHECK(pages.json()["proven"] == false);
  const bool same_bytes = bytes_of(world.folder / "pages.db") == bytes_of(world.db);
  CHECK(same_bytes);
  CHECK(world.cli({"verify", "--data", "--database", "pos", "--snapshot", uuid}).status == 0);

  auto newest = world.cli({"restore", "--database", "pos", "--to", world.folder / "newest.db", "--json"});
  INFO(newest.err);
  REQUIRE(newest.status == 0);
  CHECK(newest.json()["proven"] == true);
  CHECK(newest.json()["note"].get<std::string>().find(uuid) != std::string::npos);

  // A person puts it in place of the damaged one.
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(world.db + suffix);
  std::filesystem::rename(world.folder / "newest.db", world.db);
  run(world.db, "INSERT INTO t VALUES(2, 'sold again')");
  world.until("capture goes on", [&] {
    Json pos = database(world, "pos");
    return pos["problem"].is_null() && pos["durable_sequence"] == 1;
  });
  started = world.call("backup", {{"type", "incremental"}, {"database", "pos"}});
  Json ended = world.call("workflow.wait", {{"uuid", started["uuid"]}});
  INFO(ended.dump());
  CHECK(ended["status"] == "COMPLETED");
  CHECK(ended["result"]["type"] == "INCREMENTAL");
  CHECK(ended["result"]["parent_uuid"] != uuid);
  world.stop_agent();
}

TEST_SUITE_END();
