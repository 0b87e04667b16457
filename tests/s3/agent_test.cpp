// The agent with a real S3 server: a large pack over kills, and settings that change while it is sent.
#include "s3/s3_world.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Kind = Fault::Kind;

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 agent: killed in the middle of a large pack, it sends what is missing and no more") {
  S3World world;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  SeededRandom random(seed);
  constexpr int64_t kPart = 8 << 20, kInFlight = 4 * kPart;  // docs/architecture.md
  const int64_t megabytes = wish("TILLSYNC_S3_MB", 60), kills = wish("TILLSYNC_S3_KILLS", 3);
  world.change_photos(megabytes);
  // Each part takes a while, so that a kill falls into several.
  world.proxy.add(
      Fault{.kind = Kind::delay, .method = "PUT", .target = "partNumber", .times = 10'000, .pause = 50ms * kills});
  world.start_agent();
  const Json begun = world.call("backup", {{"type", "full"}});
  const int64_t parts = megabytes * 1'000'000 / kPart;
  for (int64_t kill = 1; kill <= kills; kill++) {
    world.until("some parts more are through", [&] {
      CAPTURE(kill);
      REQUIRE(world.call("snapshots").empty());  // it has not ended
      return world.parts_through(kPart) >= kill * (parts * 3 / 4) / kills;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(300)));  // the moment of the kill
    world.kill_agent();
    world.start_agent();
  }
  CHECK(world.call("workflow.wait", {{"uuid", begun["uuid"]}})["status"] == "COMPLETED");
  const int64_t stored = world.call("snapshots")[0]["stored_bytes"];
  CHECK(stored > megabytes * 1'000'000);
  const auto sent = static_cast<int64_t>(world.part_bytes());
  MESSAGE("sent " << sent << " bytes of parts for " << stored << " over " << kills << " kills, "
                  << (sent - stored) / kPart << " parts again");
  CHECK(sent + kPart >= stored);  // small objects are no parts
  CHECK(sent <= stored + (1 << 20) + kills * kInFlight);
  CHECK(world.uploads().empty());
  CHECK(world.unfinished_on_the_server() == 0);
  CHECK(world.proxy.overwritten().empty());
  world.check_restored();
  world.stop_agent();
}

TEST_CASE("s3 agent: a changed upload limit holds for what is under way, after SIGHUP") {
  S3World world;
  world.change_photos(12);
  world.settings("upload_limit = \"64KiB/s\"\n");
  world.start_agent();
  const Json begun = world.call("backup", {{"type", "full"}});
  world.until("it sends",
              [&] { return world.call("status")["transfers"]["active"] == 1 && world.uploads().size() == 1; });
  // Twelve megabytes would take three minutes; a sale of now does not wait for them.
  {
    auto app = world.application();
    must(app.execute("INSERT INTO photo(bytes) VALUES(zeroblob(10))"));
  }
  world.flush();
  CHECK(world.call("status")["transfers"]["queued"] == 1);
  CHECK(world.call("workflows").size() == 1);
  world.settings("");
  world.agent.signal(SIGHUP);
  CHECK(world.call("workflow.wait", {{"uuid", begun["uuid"]}})["status"] == "COMPLETED");
  CHECK(contains(world.log_text(), "changed from now on: store.upload_limit"));
  world.write_config("[metrics]\ntextfile = \"/nowhere/metrics\"\n");
  world.agent.signal(SIGHUP);
  world.until("it says so", [&] { return contains(world.log_text(), "needs a restart of the agent: [metrics]"); });
  std::ofstream(world.config, std::ios::app) << "nonsense";
  world.agent.signal(SIGHUP);
  world.until("it says so", [&] { return contains(world.log_text(), "everything stays as it was"); });
  CHECK(world.database()["lag_actions"] == 0);
  world.stop_agent();
}

TEST_SUITE_END();
