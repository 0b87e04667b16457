// The agent with a real S3 server over TLS, whose certificate a private authority has signed. Not behind the proxy: it
// can't look into TLS.
#include "s3/s3_world.h"
#include "s3/wrong_server.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

struct TlsWorld : S3World {
  TlsWorld() { tls_settings(""); }
  void tls_settings(const std::string& more) {
    const auto& server = S3Server::running();
    settings(server.tls_endpoint(), "ca_file = \"" + server.ca_file() + "\"\n" + more);
  }
  void sell(int64_t sales) {
    start_shop({"--sales", std::to_string(sales), "--shared"});
    wait_for_shop();
  }
  // Upload id and parts of the one that is under way.
  std::pair<std::string, int64_t> upload() {
    auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
    must(state.execute("PRAGMA busy_timeout = 60000"));
    auto row =
        must(state.prepare("SELECT upload_id, count(p.number) FROM uploads u LEFT JOIN upload_parts p "
                           "USING(object_key) GROUP BY u.object_key"));
    if (!must(row.step())) return {};
    return {row.text(0), row.integer(1)};
  }
  std::optional<Json> problem_of_the_store() {
    const Json problems = call("status")["problems"];
    for (const auto& problem : problems)
      if (problem["code"] == "store") return problem;
    return std::nullopt;
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 agent: over tls it sells, is killed in the middle of an upload, goes on with that, and restores") {
  TlsWorld world;
  world.tls_settings("upload_limit = \"4MiB/s\"\n");
  world.change_photos(20);
  world.start_agent();
  world.sell(200);
  const Json begun = world.call("backup", {{"type", "full"}});
  world.until("a part is through", [&] { return world.upload().second > 0; });
  world.kill_agent();
  const auto before = world.upload();
  CHECK(!before.first.empty());
  world.start_agent();
  world.until("a part more of the same upload is through", [&] {
    const auto now = world.upload();
    REQUIRE(now.first == before.first);
    return now.second > before.second;
  });
  world.tls_settings("");
  world.agent.signal(SIGHUP);
  CHECK(world.call("workflow.wait", {{"uuid", begun["uuid"]}})["status"] == "COMPLETED");
  world.sell(50);
  world.check_all();
  CHECK(world.proxy.requests().empty());
  CHECK(world.unfinished_on_the_server() == 0);
  world.stop_agent();
}

TEST_CASE(
    "s3 agent: a server with a certificate that ca_file does not vouch for gets nothing, status says what to do") {
  TlsWorld world;
  auto& server = S3Server::running();
  world.start_agent();
  world.sell(20);
  world.back_up("full");
  world.flush();
  CHECK(world.database()["lag_actions"] == 0);
  {
    const ServerIsBack afterwards;
    server.kill();
    constexpr long kDay = 86'400;
    WrongServer stranger("IP:127.0.0.1", -kDay, kDay, server.tls_port());
    world.sell(20);
    world.until("status says so", [&] {
      const auto problem = world.problem_of_the_store();
      return problem && contains((*problem)["text"].get<std::string>(), "nothing was sent");
    });
    const Json problem = *world.problem_of_the_store();
    INFO(problem.dump());
    CHECK(contains(problem["text"].get<std::string>(), "certificate"));
    CHECK(contains(problem["remedy"].get<std::string>(), "ca_file"));
    CHECK(contains(world.cli({"status"}).out, "ca_file"));
    CHECK(world.database()["lag_actions"] > 0);
    const Json begun = world.call("backup", {{"type", "incremental"}});
    const Json ended = world.call("workflow.wait", {{"uuid", begun["uuid"]}});
    INFO(ended.dump());
    CHECK(ended["status"] == "FAILED");
    CHECK(contains(ended["error"]["message"].get<std::string>(), "store.ca_file"));
    // Nor is anything believed that comes from there.
    const auto restored = world.cli({"restore", "--to", world.folder / "never.db"});
    CHECK(restored.status != 0);
    CHECK(contains(restored.err, "store.ca_file"));
    CHECK(!std::filesystem::exists(world.folder / "never.db"));
    CHECK(stranger.greetings() > 0);
    CHECK(!stranger.was_asked());
  }
  world.until("it goes on by itself", [&] { return world.database()["lag_actions"] == 0; });
  CHECK(!world.problem_of_the_store());
  world.back_up("incremental");
  world.check_store();
  world.stop_agent();
}

TEST_SUITE_END();
