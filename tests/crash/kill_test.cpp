// The agent is killed again and again, while the shop goes on: nothing is lost, doubled or reordered.
//
// Two kinds of kill. By the clock: at any moment from the start of the process on. By the call: the agent runs with
// support/die_in_write.cpp in front of the C library, and ends at a chosen write to a file of a chosen class, often
// with only a part of it done: inside a commit of state.db, in the middle of a page of the replica.
//   TILLSYNC_KILLS   how many (24)
#include <array>

#include "crash/death.h"
#include "integration/store_side.h"
#include "snapshot/chain.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct KillClass {
  const char* name;
  uint64_t calls_max;  // which call is drawn up to this
  bool needs_backup;   // what makes the agent write there at once
};
// Three of ten are kills by the clock.
constexpr std::array<KillClass, 7> kClasses{{{"wal", 100, false},
                                             {"wal", 15, false},
                                             {"state", 500, false},
                                             {"replica", 300, true},
                                             {"map", 300, true},
                                             {"spool", 6, true},
                                             {"store", 12, true}}};
constexpr int kRound = 10;

class KillTest {
 public:
  explicit KillTest(SeededRandom& random) : random_(random) {}
  ~KillTest() { MESSAGE(totals()); }

  World world;
  std::map<std::string, int> kills;
  int inside_commit = 0, torn = 0;
  int64_t shops_killed = 0;

  // Half of small numbers, now and then a large one.
  uint64_t up_to(uint64_t most) { return 1 + random_.below(1 + random_.below(most)); }

  // The shop never rests: one after the other, slow ones and fast ones.
  void keep_selling() {
    if (world.shop.is_running()) return;
    static const char* rates[] = {"40", "150", "400", "1500", "0"};
    const size_t rate = random_.below(std::size(rates));
    const uint64_t sales = rate == 4 ? 200 + random_.below(1000) : 20 + random_.below(400);
    world.start_shop({"--rate", rates[rate], "--sales", std::to_string(sales), "--seed",
                      std::to_string(random_.below(1000000)), "--synchronous", random_.chance(50) ? "OFF" : "NORMAL"});
  }

  // It may die itself, and leave a log that the next one recovers.
  void maybe_kill_shop() {
    if (random_.below(12) != 0 || !world.shop.is_running()) return;
    world.shop.kill();
    shops_killed++;
  }

  void configure() {
    // Small limits make the agent relieve, release and attach again, all the time.
    world.write_config(random_.chance(40) ? "wal = \"1MiB\"\n" : "",
                       random_.chance(40) ? "idle_release = \"100ms\"\n" : "");
  }

  void kill_by_clock() {
    configure();
    world.agent = must(ChildProcess::start({world.bin + "/tillsyncd", "--config", world.config}, world.agent_log));
    if (random_.chance(70)) wait_until_it_answers();
    if (random_.chance(30)) ask("backup", {{"type", backup_type()}});
    // Not to wait for anything: the moment is what is random here.
    std::this_thread::sleep_for(std::chrono::microseconds(random_.below(random_.chance(80) ? 120000 : 600000)));
    REQUIRE(world.agent.is_running());
    world.agent.kill();
    kills["clock"]++;
  }

  void kill_by_call(const KillClass& where) {
    configure();
    const std::string report = world.folder / "death";
    std::filesystem::remove(report);
    const uint64_t part = random_.chance(30) ? 0 : random_.chance(30) ? 1000 : 1 + random_.below(999);
    const auto words = agent_that_dies(world, {where.name, up_to(where.calls_max), part, report});
    world.agent = must(ChildProcess::start(words, world.agent_log));
    const auto patience = Steady::now() + std::chrono::seconds(30);
    auto next_backup = Steady::now();
    while (world.agent.is_running() && Steady::now() < patience) {
      keep_selling();
      if (where.needs_backup && Steady::now() >= next_backup && ask("backup", {{"type", backup_type()}}))
        next_backup = Steady::now() + std::chrono::seconds(1);
      std::this_thread::sleep_for(milliseconds(5));
    }
    if (world.agent.is_running()) {
      // It never came to that call. A kill all the same.
      world.agent.kill();
      kills["clock"]++;
      return;
    }
    std::ifstream in(report);
    std::string what, call, moment;
    uint64_t written = 0, asked = 0;
    INFO(world.log_text());
    REQUIRE(bool(in >> what >> call >> written >> asked >> moment));
    REQUIRE(what == where.name);
    kills[what]++;
    if (moment == "inside") inside_commit++;
    if (written > 0 && written < asked) torn++;
  }

  // Everything that was committed up to now is in the store when this returns.
  void settle() {
    configure();
    world.start_agent();
    world.flush();
    if (random_.chance(50)) world.back_up(backup_type());
    world.kill_agent();
    kills["clock"]++;
  }

 private:
  void wait_until_it_answers() {
    world.until("the agent answers", [&] {
      if (!world.agent.is_running()) FAIL("the agent ended: " << world.log_text());
      return ask("store.info", Json::object());
    });
  }
  // The agent may die before it answers, or not be there yet.
  bool ask(const std::string& method, const Json& params) {
    auto client = ControlClient::connect(world.socket);
    return client && client->call(method, params).has_value();
  }
  const char* backup_type() {
    static const char* types[] = {"incremental", "incremental", "incremental", "differential", "full"};
    return types[random_.below(std::size(types))];
  }
  std::string totals() {
    std::string text;
    for (auto& [name, n] : kills) text += name + " " + std::to_string(n) + ", ";
    return "kills: " + text + "of them inside a commit of state.db " + std::to_string(inside_commit) +
           ", with a write torn " + std::to_string(torn) + "; shops killed: " + std::to_string(shops_killed);
  }
  SeededRandom& random_;
};

Manifest first_full(StoreSide& side) {
  auto all = must(list_manifests(*side.store, side.lineage, nullptr));
  std::erase_if(all, [](const Manifest& m) { return m.type != SnapshotType::full; });
  REQUIRE(!all.empty());
  return *std::min_element(all.begin(), all.end(), [](auto& a, auto& b) { return a.transaction < b.transaction; });
}

}  // namespace

TEST_SUITE_BEGIN("crash");

TEST_CASE("the agent is killed at random and inside its writes: nothing is lost, doubled or reordered") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  const char* wanted = std::getenv("TILLSYNC_KILLS");
  const int count = wanted ? std::atoi(wanted) : 24;
  KillTest test(random);
  World& world = test.world;
  const auto started = Steady::now();
  // A shop with its first sale: from here on the log has every one, or a baseline that holds it.
  world.start_shop({"--sales", "1", "--seed", "1"});
  world.wait_for_shop();
  const char* schema = "SELECT group_concat(type||name||tbl_name||coalesce(sql,''), '|') FROM sqlite_schema";
  const std::string schema_before = world.query_text(schema);

  // Kills during the very first start, and the baseline, as well.
  const int first_ones = count / 20;
  std::vector<int> order;
  bool snapshot_taken = false;
  for (int i = 0; i < count; i++) {
    CAPTURE(i);
    test.maybe_kill_shop();
    test.keep_selling();
    if (!snapshot_taken && i >= first_ones) {
      test.configure();
      world.start_agent();
      world.back_up("full");
      world.kill_agent();
      test.kills["clock"]++;
      snapshot_taken = true;
      continue;
    }
    if (i % 50 == 49) {
      test.settle();
      continue;
    }
    // Every class in every round, in any order.
    if (order.empty()) {
      for (int kind = 0; kind < kRound; kind++) order.push_back(kind);
      for (size_t at = order.size() - 1; at > 0; at--) std::swap(order[at], order[random.below(at + 1)]);
    }
    const auto kind = static_cast<size_t>(order.back());
    order.pop_back();
    if (kind < kClasses.size())
      test.kill_by_call(kClasses[kind]);
    else
      test.kill_by_clock();
  }
  world.wait_for_shop();
  int all = 0;
  for (auto& [name, n] : test.kills) all += n;
  CHECK(all == count);
  for (const char* name : {"clock", "wal", "state", "replica", "map", "spool", "store"}) {
    INFO(name);
    CHECK(test.kills[name] > 0);
  }
  CHECK(test.inside_commit > 0);
  CHECK(test.torn > 0);
  const double seconds = std::chrono::duration<double>(Steady::now() - started).count();

  world.write_config("");
  world.start_agent();
  Json flushed = world.flush();
  world.back_up("full");
  StoreSide side(world);
  LogFacts facts = read_log(side);
  const int64_t sales = world.query("SELECT n FROM sale_counter");
  MESSAGE(all << " kills in " << seconds << " s, sales: " << sales << ", transactions captured singly: " << facts.single
              << ", catch-ups: " << facts.catch_ups << ", actions: " << facts.last_sequence);
  CHECK(facts.last_sequence == flushed["sequence"].get<Sequence>());
  CHECK(facts.last_order == world.query("SELECT max(id) FROM orders"));
  CHECK(facts.last_order - facts.first_order + 1 ==
        world.query("SELECT count(*) FROM orders WHERE id >= " + std::to_string(facts.first_order)));
  CHECK(facts.single > facts.catch_ups);

  // The newest snapshot, then the whole log from the first one on.
  auto newest = side.restore({});
  CHECK(newest.proven);
  check_equal_to(world.db, side.staging);
  auto manifests = must(list_manifests(*side.store, side.lineage, nullptr));
  const Manifest from = first_full(side);
  const Manifest to = *std::max_element(manifests.begin(), manifests.end(),
                                        [](auto& a, auto& b) { return a.transaction < b.transaction; });
  auto plan =
      must(plan_between(*side.store, side.lineage, must(resolve_chain(*side.store, side.lineage, from.uuid)), to));
  REQUIRE(plan);
  CHECK(side.carry_out(*plan).proven);
  check_equal_to(world.db, side.staging);
  MESSAGE(manifests.size() << " snapshots; replayed from transaction " << from.transaction << " to " << to.transaction);

  CHECK(world.query_text(schema) == schema_before);
  const std::string log = world.log_text();
  for (const char* never : {"is lost", "stopped by a fault", "AddressSanitizer", "runtime error"}) {
    INFO(never);
    CHECK(log.find(never) == std::string::npos);
  }
  world.stop_agent();
}

TEST_SUITE_END();
