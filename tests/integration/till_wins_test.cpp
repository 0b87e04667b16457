// The application is never kept from anything, real processes: what it does with its database while the agent runs.
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using Steady = std::chrono::steady_clock;

// An application of its own kind: one connection, patient as SQLite's documentation says.
Connection application(World& world) {
  auto connection = world.application();
  must(connection.execute("PRAGMA busy_timeout = 5000"));
  return connection;
}

// A shop whose agent lets go after half a second without a sale.
struct Shop : World {
  Shop() { write_config("", "idle_release = \"500ms\"\n"); }
  void wait_until_idle() {
    until("the agent let go", [&] { return database()["mode"] == "idle"; });
  }
  void check_restored() {
    flush();
    StoreSide side(*this);
    auto outcome = side.restore({});
    CHECK(outcome.proven);
    check_equal_to(db, side.staging);
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("the till wins: TRUNCATE while the agent is attached does not wait for it") {
  World world;
  auto app = application(world);
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v)"));
  world.start_agent();
  world.flush();
  double longest_ms = 0;
  for (int i = 0; i < 100; i++) {
    for (int k = 0; k < 20; k++) must(app.execute("INSERT INTO t(v) VALUES(zeroblob(500))"));
    const auto start = Steady::now();
    CHECK(must(app.query_integer("PRAGMA wal_checkpoint(TRUNCATE)")) == 0);
    longest_ms = std::max(longest_ms, std::chrono::duration<double, std::milli>(Steady::now() - start).count());
  }
  MESSAGE("longest: " << longest_ms << " ms");
  CHECK(longest_ms < (soak() ? 200 : 1000));
  world.flush();
  CHECK(world.database()["mode"] == "wal");
  CHECK(world.database()["sequence"] == 2000);
  MESSAGE("catch-ups: " << world.database()["catch_ups"]);
  world.stop_agent();
}

TEST_CASE("the till wins: it leaves WAL mode and comes back, takes the file for itself, changes its pages, closes") {
  Shop world;
  auto app = application(world);
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) VALUES('a')"));
  world.start_agent();
  world.back_up("full");
  world.wait_until_idle();
  must(app.execute("INSERT INTO t(v) VALUES('one more')"));
  world.until("the sale is captured", [&] { return world.database()["sequence"] == 1; });
  world.wait_until_idle();

  CHECK(must(app.query_text("PRAGMA journal_mode=DELETE")) == "delete");
  must(app.execute("PRAGMA page_size=8192; VACUUM; INSERT INTO t(v) VALUES('in larger pages')"));
  CHECK(must(app.query_text("PRAGMA journal_mode=WAL")) == "wal");
  must(app.execute("INSERT INTO t(v) VALUES('and back')"));
  world.until("captured", [&] { return world.database()["page_size"] == 8192 && world.database()["mode"] == "idle"; });

  app.close();
  CHECK_FALSE(std::filesystem::exists(world.db + "-wal"));
  // At start-up, as tills do that think they are alone.
  app = application(world);
  must(app.execute("PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t(v) VALUES('alone')"));
  for (int i = 0; i < 100; i++) must(app.execute("INSERT INTO t(v) VALUES('alone, and selling')"));
  app.close();
  world.until("captured", [&] {
    world.flush();
    return world.database()["problem"].is_null() && world.database()["mode"] != "failed";
  });
  CHECK(world.query("SELECT count(*) FROM t") == 105);
  world.check_restored();
  world.stop_agent();
}

TEST_CASE(
    "the till wins: its program is killed while it sells, with the agent and without it, which is then the first to "
    "open") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  World world;
  world.start_shop({"--sales", "1"});
  world.wait_for_shop();
  world.start_agent();
  world.back_up("full");
  for (int kill = 0; kill < (soak() ? 40 : 6); kill++) {
    INFO("kill " << kill);
    const bool agent_is_there = kill % 2 == 0;
    if (!agent_is_there) world.stop_agent();
    std::filesystem::remove(world.folder / "ready");
    world.start_shop({"--stop-file", world.folder / "never", "--ready-file", world.folder / "ready"});
    const int64_t next = 20 + static_cast<int64_t>(random.below(200));
    world.until("the shop is open", [&] { return std::filesystem::exists(world.folder / "ready"); });
    const int64_t before = world.query("SELECT n FROM sale_counter");
    world.until("sales", [&] { return world.query("SELECT n FROM sale_counter") >= before + next; });
    world.shop.kill();
    if (!agent_is_there) world.start_agent();
    world.flush();
  }
  StoreSide side(world);
  LogFacts facts = read_log(side);
  CHECK(facts.last_sale == world.query("SELECT n FROM sale_counter"));
  auto outcome = side.restore({});
  CHECK(outcome.proven);
  check_equal_to(world.db, side.staging);
  world.stop_agent();
}

TEST_SUITE_END();
