// The agent with a real S3 server: sales and snapshots over a link that breaks, from a till whose power fails.
#include "agent/cli/compare_databases.h"
#include "integration/world.h"
#include "s3/behind_proxy.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Kind = Fault::Kind;

namespace {

struct S3World : World {
  FaultProxy proxy{S3Server::running().port()};
  s3::S3Store::Options options = BehindProxy::options_through(proxy);

  S3World() {
    settings("");
    auto app = application();
    must(app.execute("PRAGMA journal_mode=WAL"));
  }
  void settings(const std::string& more) {
    store_settings = "url = \"s3://" + options.address.bucket + "/" + options.prefix + "\"\nendpoint = \"" +
                     proxy.endpoint() + "\"\nregion = \"" + options.address.region +
                     "\"\npath_style = true\ncredentials = \"" + options.credentials_file + "\"\n" + more;
    write_config("");
  }
  void check_restored() {
    const std::string target = folder / "back.db";
    std::filesystem::remove(target);
    auto restored = cli({"restore", "--to", target});
    INFO(restored.err);
    REQUIRE(restored.status == 0);
    CHECK(must(compare_databases(db, target)).is_equal());
  }
  uint64_t part_bytes() const {
    uint64_t sum = 0;
    for (const auto& request : proxy.requests())
      if (request.is_part()) sum += request.body_bytes;
    return sum;
  }
  // Uploads in parts below our prefix that were begun and have not ended.
  size_t unfinished_on_the_server() {
    LinuxFileSystem files;
    SystemClock clock;
    s3::S3Client client(options.address, {}, files, options.credentials_file, clock);
    const auto outcome = client.perform({.method = "GET", .query = {{"uploads", ""}, {"prefix", options.prefix}}});
    REQUIRE_FALSE(outcome.failure);
    const std::string text(as_text(outcome.response.body));
    REQUIRE(contains(text, "ListMultipartUploadsResult"));
    size_t count = 0;
    for (size_t at = 0; (at = text.find("<UploadId>", at)) != text.npos; at++) count++;
    return count;
  }
  std::map<std::string, int64_t> uploads() {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    auto rows =
        must(state.prepare("SELECT u.object_key, count(p.number) FROM uploads u LEFT JOIN upload_parts p "
                           "USING(object_key) GROUP BY 1"));
    std::map<std::string, int64_t> all;
    while (must(rows.step())) all[rows.text(0)] = rows.integer(1);
    return all;
  }
  // Of everything that is queued.
  int64_t parts_through(int64_t part_size) {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    return must(state.query_integer("SELECT (SELECT count(*) FROM upload_parts) + (SELECT coalesce(sum(size) / " +
                                    std::to_string(part_size) + ", 0) FROM transfer_queue WHERE sent_at IS NOT NULL)"));
  }
};

// `./dev s3` wants more than a test has time for.
int64_t wish(const char* variable, int64_t usual) {
  const char* wanted = std::getenv(variable);
  return wanted ? std::atoll(wanted) : usual;
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 agent: sales and snapshots over kills and a network that breaks, nothing is lost or overwritten") {
  S3World world;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  SeededRandom random(seed);
  world.start_shop({"--rate", "50", "--sales", "1000000", "--shared", "--seed", "5"});
  world.start_agent();
  world.back_up("full");
  for (int64_t round = 0; round < wish("TILLSYNC_S3_ROUNDS", 8); round++) {
    CAPTURE(round);
    const uint64_t what = random.below(6);
    CAPTURE(what);
    if (what == 0)
      world.proxy.add(Fault{.kind = Kind::drop, .method = "PUT", .times = 3, .at_byte = random.below(2000)});
    if (what == 1) world.proxy.add(Fault{.kind = Kind::lose_answer, .method = "PUT", .times = 2});
    if (what == 2) world.proxy.add(Fault::error(503, "SlowDown").so_often(4));
    if (what == 3) world.proxy.add(Fault{.kind = Kind::truncate, .times = 4, .at_byte = random.below(100)});
    // The network is cut for everything, until the next round.
    if (what == 4) world.proxy.add(Fault{.kind = Kind::drop, .times = 1'000'000});
    world.call("backup", {{"type", random.chance(30) ? "full" : random.chance(50) ? "incremental" : "differential"}});
    if (random.chance(70)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(random.below(400)));  // the moment of the kill
      world.kill_agent();
      world.start_agent();
    }
    world.proxy.clear_faults();
    if (random.chance(30)) world.flush();
  }
  world.proxy.clear_faults();
  world.shop.signal(SIGTERM);
  (void)must(world.shop.wait(60s, [] { return false; }));
  world.until("every workflow ends well", [&] {
    const Json workflows = world.call("workflows");
    for (auto& workflow : workflows) {
      INFO(workflow.dump());
      if (workflow["type"] == "BACKUP") REQUIRE(workflow["status"] != "FAILED");
      if (workflow["status"] == "PENDING" || workflow["status"] == "IN_PROGRESS") return false;
    }
    return true;
  });
  world.flush();
  const Json status = world.call("status");
  CHECK(status["transfers"]["queued"] == 0);
  CHECK(status["databases"][0]["lag_actions"] == 0);
  world.check_restored();
  CHECK(world.cli({"log", "verify"}).status == 0);
  CHECK(world.cli({"verify", "--data"}).status == 0);
  CHECK(world.proxy.overwritten().empty());
  CHECK(world.uploads().empty());
  world.stop_agent();
}

TEST_CASE("s3 agent: killed in the middle of a large pack, it sends what is missing and no more") {
  S3World world;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  SeededRandom random(seed);
  constexpr int64_t kPart = 8 << 20, kInFlight = 4 * kPart;  // docs/architecture.md
  const int64_t megabytes = wish("TILLSYNC_S3_MB", 60), kills = wish("TILLSYNC_S3_KILLS", 3);
  {
    auto app = world.application();
    must(app.execute("PRAGMA synchronous=OFF; CREATE TABLE photo(id INTEGER PRIMARY KEY, bytes BLOB)"));
    for (int64_t i = 0; i < megabytes; i++) must(app.execute("INSERT INTO photo(bytes) VALUES(randomblob(1000000))"));
  }
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
  {
    auto app = world.application();
    must(app.execute("CREATE TABLE photo(id INTEGER PRIMARY KEY, bytes BLOB)"));
    for (int i = 0; i < 12; i++) must(app.execute("INSERT INTO photo(bytes) VALUES(randomblob(1000000))"));
  }
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
