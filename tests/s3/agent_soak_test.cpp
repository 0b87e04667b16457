// The agent with a real S3 server: sales and snapshots over a link that breaks, from a till whose power fails, to a
// server that dies.
#include <mutex>

#include "s3/s3_world.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Kind = Fault::Kind;

namespace {

// Whoever comes first: a request that was waited for, in the proxy's thread, or the test, which waits no longer.
class ServerKill {
 public:
  void now() {
    std::call_once(once_, [&] {
      S3Server::running().kill();
      is_done_ = true;
    });
  }
  bool is_done() const { return is_done_; }

 private:
  std::once_flag once_;
  std::atomic<bool> is_done_{false};
};

struct Soak : S3World {
  SeededRandom random;
  int64_t server_kills = 0, agent_kills = 0, shops = 0;
  std::map<std::string, int64_t> killed_in;  // a request of this kind

  explicit Soak(uint64_t seed) : random(seed) { sell(); }

  void sell() {
    const std::string ready = folder / ("ready-" + std::to_string(++shops));
    start_shop(
        {"--rate", "50", "--sales", "1000000", "--shared", "--seed", std::to_string(shops), "--ready-file", ready});
    // A child that is not the shop yet would take its end for the test's.
    until("the shop opens", [&] { return std::filesystem::exists(ready); });
  }
  void stop_selling() {
    shop.signal(SIGTERM);
    (void)must(shop.wait(60s, [] { return false; }));
  }
  void back_up_something() {
    call("backup", {{"type", random.chance(30) ? "full" : random.chance(50) ? "incremental" : "differential"}});
  }
  void agent_dies() {
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(400)));  // the moment of the kill
    kill_agent();
    start_agent();
    agent_kills++;
  }

  void break_the_network() {
    const uint64_t what = random.below(6);
    CAPTURE(what);
    if (what == 0) proxy.add(Fault{.kind = Kind::drop, .method = "PUT", .times = 3, .at_byte = random.below(2000)});
    if (what == 1) proxy.add(Fault{.kind = Kind::lose_answer, .method = "PUT", .times = 2});
    if (what == 2) proxy.add(Fault::error(503, "SlowDown").so_often(4));
    if (what == 3) proxy.add(Fault{.kind = Kind::truncate, .times = 4, .at_byte = random.below(100)});
    // The network is cut for everything, until the next round.
    if (what == 4) proxy.add(Fault{.kind = Kind::drop, .times = 1'000'000});
    back_up_something();
    if (random.chance(70)) agent_dies();
    proxy.clear_faults();
    if (random.chance(30)) flush();
  }

  // At any time, or while it has a request in hand: somewhere in its body, or before its answer.
  void kill_the_server() {
    constexpr const char *kAnyTime = "", *kPut = "/",
                         *kPart = "partNumber=", *kComplete = "?uploadId=", *kBegin = "?uploads";
    const bool in_parts = random.chance(50);
    if (in_parts) change_photos(9);
    const std::string when = in_parts ? std::array{kPart, kComplete, kComplete, kBegin}[random.below(4)]
                                      : std::array{kAnyTime, kPut}[random.below(2)];
    CAPTURE(when);
    const auto server = std::make_shared<ServerKill>();
    const auto pause = std::chrono::milliseconds(random.below(when == kComplete ? 80 : 15));
    Fault fault{.kind = Kind::call, .method = when == kPut || when == kPart ? "PUT" : "POST", .target = when};
    fault.after = static_cast<int>(random.below(when == kPart || when == kPut ? 2 : 1));
    fault.at_byte = random.chance(50) ? ~uint64_t{0} : random.below(when == kPart ? 5'000'000 : 500);
    fault.then = [server, pause] {
      std::this_thread::sleep_for(pause);  // the moment of the kill
      server->now();
    };
    auto back = std::make_optional<ServerIsBack>();
    if (when != kAnyTime) proxy.add(fault);
    back_up_something();
    const auto patience =
        std::chrono::steady_clock::now() + (when == kAnyTime ? std::chrono::milliseconds(random.below(1500)) : 20s);
    while (!server->is_done() && std::chrono::steady_clock::now() < patience)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (server->is_done()) killed_in[fault.method + " " + when]++;
    server->now();
    server_kills++;
    if (random.chance(25)) agent_dies();
    back.reset();
    if (random.chance(25)) agent_dies();
    proxy.clear_faults();
    stop_selling();
    check_all();
    sell();
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE(
    "s3 agent: sales and snapshots over kills of agent and server and a network that breaks, nothing is lost or "
    "overwritten") {
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  Soak world(seed);
  world.start_agent();
  world.back_up("full");
  int64_t the_server_dies = 0;
  const int64_t rounds = wish("TILLSYNC_S3_ROUNDS", 8);
  const int64_t once_in = rounds > 8 ? 4 : 8;  // it takes ten seconds
  for (int64_t round = 0; round < rounds; round++) {
    CAPTURE(round);
    if (round % once_in == 0)
      the_server_dies = round + static_cast<int64_t>(world.random.below(static_cast<uint64_t>(once_in)));
    if (round == the_server_dies)
      world.kill_the_server();
    else
      world.break_the_network();
  }
  world.proxy.clear_faults();
  world.stop_selling();
  world.check_all();
  std::string kills;
  for (const auto& [what, times] : world.killed_in) kills += ", " + what + " " + std::to_string(times);
  MESSAGE("seed " << seed << ": " << rounds << " rounds, the agent killed " << world.agent_kills
                  << " times, the server " << world.server_kills
                  << ", of them in a request:" << (kills.empty() ? " none" : kills.substr(1)));
  CHECK(world.server_kills >= rounds / once_in);
  world.stop_agent();
}

TEST_SUITE_END();
