// [schedule] with the real agent. Nobody waits for Monday: what the agent remembers to have begun is set back a week,
// as after a week switched off, and it makes up for it.
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct ScheduledWorld : World {
  ScheduledWorld() {
    schedule =
        "incremental = \"15m\"\nfull = \"Sun 03:00\"\nverify = \"Mon 04:00\"\ndrill = \"Mon 04:30\"\njitter = \"0s\"\n";
    write_config("");
    start_shop({"--sales", "60", "--seed", "3"});
    wait_for_shop();
  }
  void a_week_passes(const std::string& jobs) {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READWRITE));
    must(state.execute("UPDATE schedule_runs SET begun_at=begun_at-8*86400000 WHERE job IN (" + jobs + ")"));
  }
  bool has_problem(const std::string& code) {
    const Json status = call("status");
    for (auto& problem : status["problems"])
      if (problem["code"] == code) return true;
    return false;
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("schedule: what was missed is made up once: one snapshot, proven, and a drill that says until when") {
  ScheduledWorld world;
  world.start_agent();
  Json status = world.call("status");
  CHECK(status["snapshots"]["last_full"].is_null());
  CHECK(status["drill"]["restorable_until"].is_null());
  CHECK(status["drill"]["last_result"].is_null());
  world.stop_agent();
  world.a_week_passes("'full pos', 'incremental pos', 'verify pos', 'drill pos'");
  const auto before = std::chrono::time_point_cast<Milliseconds>(std::chrono::system_clock::now());
  world.start_agent();
  world.until("a drill", [&] { return world.call("status")["drill"]["restorable_until"].is_string(); });
  status = world.call("status");
  CHECK(status["drill"]["last_result"] == "ok");
  CHECK(must(parse_rfc3339(status["drill"]["restorable_until"].get<std::string>())) >= before);
  CHECK_FALSE(world.has_problem("drill"));
  CHECK_FALSE(world.has_problem("verify"));
  // The FULL is the only one: an INCREMENTAL of nothing is not made.
  Json snapshots = world.call("snapshots");
  REQUIRE(snapshots.size() == 1);
  CHECK(snapshots[0]["type"] == "FULL");
  CHECK(snapshots[0]["description"] == "scheduled");
  for (auto& entry : std::filesystem::directory_iterator(world.folder / "state/staging")) FAIL(entry.path());

  // A drill can be asked for, and is a workflow like others.
  auto drill = world.cli({"drill", "--json"});
  CHECK(drill.status == 0);
  CHECK(drill.json()["proven"] == true);
  CHECK(drill.json()["drill"] == true);
  bool seen = false;
  const Json workflows = world.call("workflows");
  for (auto& workflow : workflows)
    if (workflow["name"] == "restore drill of pos") {
      seen = true;
      CHECK(workflow["status"] == "COMPLETED");
    }
  CHECK(seen);

  world.stop_agent();
  world.a_week_passes("'verify pos'");
  world.start_agent();
  world.until("a verified snapshot",
              [&] { return world.call("status")["snapshots"]["last_verified"]["uuid"] == snapshots[0]["uuid"]; });
  CHECK(world.call("snapshots")[0]["is_verified"] == true);

  // Damage is found by both, and said with the object's name; what was proven before stays said.
  std::string pack;
  for (auto& entry : std::filesystem::recursive_directory_iterator(world.store))
    if (entry.path().extension() == ".pack") pack = entry.path();
  REQUIRE_FALSE(pack.empty());
  std::filesystem::resize_file(pack, std::filesystem::file_size(pack) - 100);
  const Json until_before = world.call("status")["drill"]["restorable_until"];
  world.stop_agent();
  world.a_week_passes("'verify pos', 'drill pos'");
  world.start_agent();
  world.until("both say so", [&] { return world.has_problem("verify") && world.has_problem("drill"); });
  status = world.call("status");
  CHECK(status["drill"]["restorable_until"] == until_before);
  const std::string result = status["drill"]["last_result"];
  INFO(result);
  CHECK(result.find(std::filesystem::path(pack).filename().string()) != std::string::npos);
  for (auto& problem : status["problems"])
    if (problem["code"] == "verify")
      CHECK(problem["text"].get<std::string>().find(std::filesystem::path(pack).filename().string()) !=
            std::string::npos);
  CHECK(world.cli({"drill"}).status == 4);
  for (auto& entry : std::filesystem::directory_iterator(world.folder / "state/staging")) FAIL(entry.path());
  world.stop_agent();
}

TEST_CASE("schedule: an INCREMENTAL follows when something happened, and only then") {
  ScheduledWorld world;
  world.start_agent();
  world.back_up("full");
  world.start_shop({"--sales", "5", "--seed", "4"});
  world.wait_for_shop();
  world.flush();
  for (int round = 0; round < 2; round++) {
    world.stop_agent();
    world.a_week_passes("'incremental pos'");
    world.start_agent();
    world.until("the schedule was asked", [&] {
      auto state = must(Connection::open(world.folder / "state/state.db", SQLITE_OPEN_READONLY));
      must(state.execute("PRAGMA busy_timeout=10000"));
      return must(state.query_integer("SELECT begun_at FROM schedule_runs WHERE job='incremental pos'")) >
             to_ms(std::chrono::time_point_cast<Milliseconds>(std::chrono::system_clock::now())) - 3'600'000;
    });
    if (round == 0) world.until("it is made", [&] { return world.call("snapshots").size() == 2; });
    CHECK(world.call("snapshots").size() == 2);
    CHECK(world.call("workflows").size() == 2);
  }
  world.stop_agent();
}

TEST_CASE("backup: one that is cancelled leaves nothing in the spool") {
  World world;
  world.start_shop({"--sales", "60", "--seed", "3"});
  world.wait_for_shop();
  world.start_agent();
  // The store is away: it waits in its upload, with packs and manifest spooled.
  std::filesystem::rename(world.store, world.folder / "away");
  std::ofstream(world.store) << "not a folder";
  Json begun = world.call("backup", {{"type", "full"}});
  auto spooled = [&] {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(world.folder / "state/spool")) {
      const std::string name = entry.path().filename();
      if (name.ends_with(".pack") || name.ends_with(".draft") || name.ends_with(".manifest")) names.push_back(name);
    }
    return names;
  };
  world.until("it is packed", [&] { return !spooled().empty(); });
  CHECK(world.cli({"cancel", begun["uuid"].get<std::string>()}).status == 0);
  Json ended = world.call("workflow.wait", {{"uuid", begun["uuid"]}});
  CHECK(ended["status"] == "CANCELLED");
  CHECK(spooled().empty());
  std::filesystem::remove(world.store);
  std::filesystem::rename(world.folder / "away", world.store);
  world.back_up("full");
  world.stop_agent();
}

TEST_SUITE_END();
