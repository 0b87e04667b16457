// Retention with real processes: through the agent, without one, and from elsewhere while the agent runs.
#include <set>

#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

const char* kShort = "[retention]\nlast = 1\nhourly = 0\ndaily = 0\nweekly = 0\nmonthly = 0\nlog = \"1h\"\n";

// Rows of one length, so that writing them again gives the same pages again.
struct Shelf {
  World& world;
  Connection app;
  explicit Shelf(World& w) : world(w) {
    app = world.application();
    must(
        app.execute("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
                    "CREATE TABLE shelf(id INTEGER PRIMARY KEY, v TEXT);"
                    "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<400) "
                    "INSERT INTO shelf SELECT n, printf('%0900d', n) FROM g"));
  }
  void fill(int with) {
    must(app.execute("UPDATE shelf SET v=printf('%0900d', id+" + std::to_string(1000 * with) + ")"));
  }
};

std::set<std::string> objects(const World& world, const std::string& suffix) {
  std::set<std::string> all;
  for (auto& entry : std::filesystem::recursive_directory_iterator(world.store))
    if (entry.is_regular_file() && entry.path().string().ends_with(suffix)) all.insert(entry.path());
  return all;
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("prune: through the agent, dry first, what stays is proven, and the next backups go on from it") {
  World world(kShort);
  Shelf shelf(world);
  world.start_agent();
  std::vector<Json> made;
  for (int i = 0; i < 4; i++) {
    shelf.fill(i);
    world.flush();
    made.push_back(world.back_up("full"));
  }
  const auto manifests = objects(world, ".manifest"), packs = objects(world, ".pack");
  auto dry = world.cli({"--json", "prune", "--dry-run"});
  REQUIRE(dry.status == 0);
  const Json plan = dry.json();
  INFO(plan.dump(1));
  CHECK(plan["dry_run"] == true);
  // The oldest stays: the log's window goes back to it. So do the newest; the two between go, with their packs.
  CHECK(plan["databases"][0]["keep"].size() == 2);
  CHECK(plan["databases"][0]["objects"] == 4);
  auto shown = world.cli({"prune", "--dry-run"});
  CHECK(contains(shown.out, "would go"));
  CHECK(contains(shown.out, "no window keeps it"));
  CHECK(contains(shown.out, made[0]["uuid"].get<std::string>()));
  CHECK(objects(world, ".manifest") == manifests);
  auto done = world.cli({"prune"});
  REQUIRE(done.status == 0);
  CHECK(contains(done.out, "4 objects"));
  CHECK(contains(done.out, "removed"));
  CHECK(objects(world, ".manifest").size() == 2);
  CHECK(objects(world, ".pack").size() == packs.size() - 2);

  // The content of a pruned snapshot once more: its blocks are stored anew.
  shelf.fill(1);
  world.flush();
  world.back_up("full");
  shelf.fill(2);
  world.flush();
  world.back_up("differential");
  world.back_up("incremental");
  CHECK(world.cli({"verify", "--data"}).status == 0);
  CHECK(world.cli({"log", "verify"}).status == 0);
  StoreSide side(world);
  CHECK(side.restore({}).proven);
  check_equal_to(world.db, side.staging);
  CHECK(world.call("status")["problems"].dump().find("\"prune\"") == std::string::npos);
  world.stop_agent();
}

TEST_CASE("prune: from elsewhere while the agent runs, which then does not refer to what is gone") {
  World world(kShort);
  Shelf shelf(world);
  world.start_agent();
  for (int i = 0; i < 3; i++) {
    shelf.fill(i);
    world.flush();
    world.back_up("full");
  }
  const auto before = objects(world, ".pack");
  auto done = world.cli({"--json", "prune", "--store", "file://" + world.store, "--terminal", "store-1/till-1"});
  REQUIRE(done.status == 0);
  CHECK(done.json()["databases"][0]["objects"] == 2);
  REQUIRE(objects(world, ".pack").size() == before.size() - 1);
  // state.db does not know. The pack's content comes back, and with it the temptation.
  shelf.fill(1);
  world.flush();
  world.back_up("full");
  CHECK(world.cli({"verify", "--data"}).status == 0);
  world.stop_agent();
  // Without an agent, by what the snapshots say of their retention.
  world.write_config("");
  auto again = world.cli({"--json", "prune", "--dry-run", "--store", "file://" + world.store});
  CHECK(again.json()["databases"][0]["retention"]["hourly"] == 24);
  // On another machine, which knows nothing of the terminal but what it is given.
  const std::string none = "XDG_STATE_HOME='" + world.folder / "elsewhere" + "' '" + world.bin +
                           "/tillsync' --json prune --dry-run --store 'file://" + world.store + "' --key '" +
                           world.folder / "state/keys/1.sealing.pem" + "' > '" + world.folder / "bare.json" + "'";
  REQUIRE(std::system(none.c_str()) == 0);
  std::ifstream bare(world.folder / "bare.json");
  CHECK(Json::parse(bare)["databases"][0]["retention"]["hourly"] == 0);
}

TEST_CASE("prune: a manifest that can't be read stops it, with status 4 and in words") {
  World world(kShort);
  Shelf shelf(world);
  world.start_agent();
  for (int i = 0; i < 3; i++) {
    shelf.fill(i);
    world.flush();
    world.back_up("full");
  }
  const std::string victim = *std::next(objects(world, ".manifest").begin());
  std::filesystem::resize_file(victim, 400);
  const auto before = objects(world, "");
  // The agent may have read it before; a store that is read directly is read anew.
  auto refused = world.cli({"prune", "--store", "file://" + world.store});
  CHECK(refused.status == 4);
  CHECK(contains(refused.out, "LEFT AS IT IS"));
  CHECK(objects(world, "") == before);
  world.stop_agent();
}

TEST_SUITE_END();
