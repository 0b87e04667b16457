// The agent is killed while backups, restores and a prune run: each of them ends by itself, and what it made is whole.
//
// Kills by the clock, and inside the agent's own writes (support/die_in_write.cpp): of state.db, the spool, the store,
// the staged file, the safety copy and the application's database. Several in a row, also while it recovers. A till
// sells all the time. One in three is a power cut for state.db: it goes back to its last sync, and no other file does.
//   TILLSYNC_WORKFLOW_KILLS   how many (8)
//   TILLSYNC_DATABASE_MB      of how many MB (4)
#include <algorithm>
#include <array>
#include <future>
#include <set>

#include "crash/death.h"
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct KillClass {
  const char* name;
  uint64_t calls_max;  // which call is drawn up to this
};
constexpr std::array<KillClass, 9> kClasses{{{"wal", 30},
                                             {"state", 100},
                                             {"replica", 100},
                                             {"spool", 40},
                                             {"spool", 6},
                                             {"store", 30},
                                             {"staging", 1000},
                                             {"safety", 200},
                                             {"live", 300}}};

int number_from(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

class WorkflowKills {
 public:
  WorkflowKills(SeededRandom& random, int megabytes) : random_(random) {
    world.write_config(kRetention);
    world.start_shop({"--sales", "1"});
    world.wait_for_shop();
    fill(megabytes);
    world.start_agent();
    // The time of a FULL is that of this machine, this build and this database: kills by the clock fall into it.
    const auto began = Steady::now();
    world.back_up("full");
    span_ = std::clamp<milliseconds>(std::chrono::duration_cast<milliseconds>(Steady::now() - began), milliseconds(100),
                                     milliseconds(3000));
    keep_selling();
    world.flush();
    first_moment_ = world.database()["transaction"].get<uint64_t>();
    // Something that can be undone.
    restore_in_place(0);
    wait_for_end();
  }
  ~WorkflowKills() { MESSAGE(totals()); }

  World world;
  std::map<std::string, int> kills, hit, begun, ended;
  int torn = 0, in_recovery = 0, power_cuts = 0;

  void keep_selling() {
    if (world.shop.is_running()) return;
    world.start_shop({"--rate", "20", "--sales", "1000000", "--shared", "--seed",
                      std::to_string(random_.below(1000000)), "--synchronous", random_.chance(50) ? "OFF" : "NORMAL"});
  }

  void stop_selling() { world.shop.kill(); }

  // One life of the agent: it recovers (mostly), begins something, and is killed.
  void one_kill() {
    const bool by_call = random_.chance(60);
    const KillClass& where = kClasses[random_.below(kClasses.size())];
    const std::string report = world.folder / "death";
    std::filesystem::remove(report);
    const bool power = random_.chance(33);
    if (power) state_is_synced(world);
    if (by_call || power) {
      const uint64_t part = random_.chance(30) ? 0 : random_.chance(30) ? 1000 : 1 + random_.below(999);
      const uint64_t at = 1 + random_.below(1 + random_.below(where.calls_max));
      world.agent = must(ChildProcess::start(
          agent_that_dies(world, {by_call ? where.name : "nothing", at, part, report, power}), world.agent_log));
    } else {
      world.agent = must(ChildProcess::start({world.bin + "/tillsyncd", "--config", world.config}, world.agent_log));
    }
    // Who waits for the end of what the last kill hit sees it; who does not kills it once more.
    const bool patient = random_.chance(75);
    if (!answers() || !note_what_was_hit() || (patient && !wait_for_end())) {
      died(report, where.name, power);
      in_recovery++;
      return;
    }
    keep_selling();
    change_history();
    // Something is always under way until then: the moment is what is random here.
    const auto moment =
        Steady::now() + (by_call ? 6 * span_ : milliseconds(random_.below(uint64_t(2 * span_.count()))));
    begin_something();
    if (random_.chance(30)) begin_something();
    while (world.agent.is_running() && Steady::now() < moment) {
      if (all_ended()) begin_something();
      std::this_thread::sleep_for(milliseconds(random_.below(5)));
    }
    died(report, where.name, power);
  }

  // Without a kill: recovered, and all that was begun has ended.
  void recover() {
    world.start_agent();
    REQUIRE(note_what_was_hit());
    REQUIRE(wait_for_end());
  }

  // The till pauses; what is restored is what it has.
  void check_newest() {
    stop_selling();
    recover();
    world.flush();
    StoreSide side(world);
    CHECK(side.restore({}).proven);
    check_equal_to(world.db, side.staging);
    std::filesystem::remove(side.staging);
    keep_selling();
    world.kill_agent();
    kills["clock"]++;
  }

  void check_end() {
    stop_selling();
    recover();
    if (begins_.valid()) begins_.wait();
    command_.kill();
    world.back_up("full");
    world.flush();
    for (auto words : {std::vector<std::string>{"verify", "--data"}, {"log", "verify"}}) {
      auto ran = world.cli(words);
      INFO(words[0] << ": " << ran.out << ran.err);
      CHECK(ran.status == 0);
    }
    StoreSide side(world);
    CHECK(side.restore({}).proven);
    check_equal_to(world.db, side.staging);
    // The whole log that is kept, and a sample of the snapshots.
    auto manifests = must(list_manifests(*side.store, side.lineage, nullptr));
    std::sort(manifests.begin(), manifests.end(), [](auto& a, auto& b) { return a.transaction < b.transaction; });
    size_t restored = 0;
    for (size_t i = 0; i < manifests.size(); i++) {
      if (manifests.size() > kSample && random_.below(manifests.size()) >= kSample) continue;
      INFO("snapshot " << manifests[i].uuid.str());
      RestoreMoment moment;
      moment.snapshot = manifests[i].uuid;
      CHECK(side.restore(moment).proven);
      restored++;
    }
    for (auto& from : manifests) {
      auto chain = must(resolve_chain(*side.store, side.lineage, from.uuid));
      auto plan = plan_between(*side.store, side.lineage, chain, manifests.back());
      if (!plan || !*plan) continue;  // the log does not reach back so far any more
      CHECK(side.carry_out(**plan).proven);
      check_equal_to(world.db, side.staging);
      MESSAGE(manifests.size() << " snapshots, " << restored << " of them restored; the log replayed from transaction "
                               << from.transaction << " to " << manifests.back().transaction);
      break;
    }
    // Not even what nobody came for is left after the next start.
    world.stop_agent();
    world.start_agent();
    for (const char* part : {"spool", "staging"})
      world.until(std::string(part) + " is empty",
                  [&] { return files_in(part).empty(); });  // its log may be merged first
    CHECK(files_in("safety").size() <= 1);
    const std::string log = world.log_text();
    for (const char* never : {"is lost", "stopped by a fault", "AddressSanitizer", "runtime error"}) {
      INFO(never);
      CHECK(log.find(never) == std::string::npos);
    }
    world.stop_agent();
  }

  std::string totals() {
    auto list = [](const std::map<std::string, int>& counts) {
      std::string text;
      for (auto& [name, n] : counts) text += (text.empty() ? "" : ", ") + name + " " + std::to_string(n);
      return text;
    };
    return "kills: " + list(kills) + "; with a write torn " + std::to_string(torn) + ", before it had recovered " +
           std::to_string(in_recovery) + ", state.db taken back to its last sync " + std::to_string(power_cuts) +
           "\nfound unfinished afterwards: " + list(hit) + "\nasked for: " + list(begun) + "\nended: " + list(ended);
  }

 private:
  static constexpr size_t kSample = 8;
  static constexpr std::chrono::seconds kStuck{120};
  static constexpr const char* kRetention =
      "[retention]\nlast = 4\nhourly = 1\ndaily = 1\nweekly = 1\nmonthly = 1\nlog = \"1h\"\n";

  void fill(int megabytes) {
    auto db = world.application();
    must(
        db.execute("PRAGMA busy_timeout=60000; PRAGMA synchronous=OFF; "
                   "CREATE TABLE history(id INTEGER PRIMARY KEY, body)"));
    auto insert =
        must(db.prepare("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<500) INSERT INTO "
                        "history(body) SELECT randomblob(1000) FROM g"));
    while (must(db.query_integer("PRAGMA page_count")) * 4096 < int64_t{megabytes} * 1000000) must(insert.run());
    insert = {};
    must(db.execute("PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  // Some of the large table changes, so that snapshots have something to hold.
  void change_history() {
    auto db = world.application();
    must(db.execute("PRAGMA busy_timeout=60000; PRAGMA synchronous=OFF"));
    const auto rows = static_cast<uint64_t>(must(db.query_integer("SELECT max(id) FROM history")));
    const uint64_t from = random_.below(rows);
    must(db.execute("UPDATE history SET body=randomblob(1000) WHERE id BETWEEN " + std::to_string(from) + " AND " +
                    std::to_string(from + random_.below(200))));
  }

  bool ask(const std::string& method, const Json& params, Json* answer = nullptr) {
    auto client = ControlClient::connect(world.socket);
    if (!client) return false;
    auto said = client->call(method, params);
    if (said && answer) *answer = *said;
    return said.has_value();
  }
  // false: it died before.
  bool answers() {
    const auto patience = Steady::now() + std::chrono::seconds(60);
    while (world.agent.is_running()) {
      if (ask("store.info", Json::object())) return true;
      if (Steady::now() > patience) FAIL("it does not answer: " << world.log_text());
      std::this_thread::sleep_for(milliseconds(2));
    }
    return false;
  }
  bool look(Json& workflows) {
    if (!ask("workflows", Json::object(), &workflows)) return false;
    for (auto& workflow : workflows) {
      const std::string status = workflow["status"];
      if (status != "COMPLETED" && status != "FAILED" && status != "CANCELLED") continue;
      if (!seen_.insert(workflow["uuid"].get<std::string>()).second) continue;
      ended[workflow["type"].get<std::string>() + " " + status]++;
      INFO(workflow.dump(2));
      INFO(world.log_text().substr(std::max<size_t>(world.log_text().size(), 4000) - 4000));
      // A restore that was begun again may find a newer snapshot, and nothing to replay.
      const bool part = workflow["data"].contains("parent");
      CHECK((status == "COMPLETED" || (part && status == "CANCELLED")));
    }
    return true;
  }
  static bool is_open(const Json& workflow) {
    return workflow["status"] == "PENDING" || workflow["status"] == "IN_PROGRESS";
  }
  bool all_ended() {
    Json workflows;
    return look(workflows) && std::none_of(workflows.begin(), workflows.end(), is_open);
  }
  // What the kill before this start left unfinished, by its step.
  bool note_what_was_hit() {
    Json workflows;
    if (!look(workflows)) return false;
    int open = 0;
    for (auto& workflow : workflows) {
      if (!is_open(workflow)) continue;
      open++;
      std::string step = "before its first step";
      for (auto& one : workflow["steps"])
        if (one["status"] != "PENDING") step = one["name"];
      hit[workflow["type"].get<std::string>() + "/" + step]++;
    }
    if (!open) hit["nothing"]++;
    return true;
  }
  // Everything that was begun has ended; false: the agent died before.
  bool wait_for_end() {
    // Counted from the last thing that changed: a large restore on a busy machine is slow, not stuck.
    std::string before;
    auto patience = Steady::now() + kStuck;
    while (true) {
      Json workflows;
      if (look(workflows) && std::none_of(workflows.begin(), workflows.end(), is_open)) return true;
      if (!world.agent.is_running()) return false;
      if (workflows.is_array()) std::erase_if(workflows.get_ref<Json::array_t&>(), std::not_fn(is_open));
      if (std::string now = workflows.dump(); now != before) {
        before = std::move(now);
        patience = Steady::now() + kStuck;
      }
      if (Steady::now() > patience) FAIL("stuck: " << world.log_text() << "\nstuck: " << workflows.dump(2));
      std::this_thread::sleep_for(milliseconds(5));
    }
  }

  void died(const std::string& report, const std::string& wanted, bool power) {
    std::ifstream in(report);
    std::string what, call, moment;
    uint64_t written = 0, asked = 0;
    if (world.agent.is_running()) world.kill_agent();
    if (in >> what >> call >> written >> asked >> moment) {
      REQUIRE(what == wanted);
      kills[what]++;
      if (written > 0 && written < asked) torn++;
    } else {
      kills["clock"]++;
    }
    if (power) {
      cut_power_of_state(world);
      power_cuts++;
    }
    // What waited for its answer has none.
    if (begins_.valid()) begins_.wait();
  }

  void restore_in_place(uint64_t back) {
    Json status;
    if (!ask("status", Json::object(), &status)) return;
    const auto now = status["databases"][0]["transaction"].get<uint64_t>();
    begun["restore in place"]++;
    ask("restore", {{"in_place", true}, {"transaction", std::max(first_moment_, now - std::min(now, back))}});
  }

  // The agent may die before it answers.
  void begin_something() {
    static const char* types[] = {"full", "incremental", "incremental", "differential"};
    switch (random_.below(8)) {
      case 0:
      case 1:
      case 2: {
        const std::string type = types[random_.below(std::size(types))];
        const bool anew = type == "full" && random_.chance(30);
        begun[anew ? "full anew" : type]++;
        ask("backup", {{"type", type}, {"dedup", !anew}});
        break;
      }
      case 3:
      case 4: restore_in_place(random_.below(random_.chance(80) ? 100 : 1000)); break;
      case 5:
        begun["undo"]++;
        ask("restore", {{"in_place", true}, {"undo", true}});
        break;
      case 6: {
        begun["restore to a file"]++;
        const std::string to = world.folder / "restored.db";
        command_.kill();
        std::filesystem::remove(to);
        command_ = must(ChildProcess::start({world.bin + "/tillsync", "--config", world.config, "restore", "--to", to},
                                            world.folder / "command.log"));
        break;
      }
      default:
        begun["prune"]++;
        if (begins_.valid()) begins_.wait();
        begins_ = std::async(std::launch::async, [this] { return ask("prune", Json::object()); });
    }
  }

  std::vector<std::string> files_in(const std::string& name) {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(world.folder / ("state/" + name)))
      if (entry.is_regular_file()) names.push_back(entry.path());
    return names;
  }

  SeededRandom& random_;
  milliseconds span_{1000};
  uint64_t first_moment_ = 0;
  std::set<std::string> seen_;
  ChildProcess command_;
  std::future<bool> begins_;
};

}  // namespace

TEST_SUITE_BEGIN("crash");

TEST_CASE("the agent is killed in backups, restores and prunes: all of them end, and what they made is whole") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  MESSAGE("seed " << random.seed());
  const int count = number_from("TILLSYNC_WORKFLOW_KILLS", 8);
  const int megabytes = number_from("TILLSYNC_DATABASE_MB", 4);
  const auto started = Steady::now();
  WorkflowKills test(random, megabytes);
  test.world.kill_agent();
  test.kills["clock"]++;
  auto all = [&] {
    int sum = 0;
    for (auto& [name, n] : test.kills) sum += n;
    return sum;
  };
  while (all() < count) {
    CAPTURE(all());
    if (all() % 100 == 50)
      test.check_newest();
    else
      test.one_kill();
    if (all() % 25 == 0 && count > 25)
      std::printf("%d kills, %.0f s\n%s\n", all(), std::chrono::duration<double>(Steady::now() - started).count(),
                  test.totals().c_str());
    std::fflush(stdout);
  }
  MESSAGE(all() << " kills in " << std::chrono::duration<double>(Steady::now() - started).count() << " s, database of "
                << megabytes << " MB");
  test.check_end();
}

TEST_SUITE_END();
