// What runs inside the virtual machine that loses its power: a till that was cut off, and is switched on again.
//
// First it is looked at, as run.sh tells what had been promised before the cut; nobody helps the agent. Then the till
// sells, backups and restores in place run in turn, until the power is gone again.
//
// Facts, lines of POWERCUT_FACTS (a disk of its own, which the cut does not touch):
//   seed N             of what happens after this start
//   sold UUID          a sale that the application reported after its commit, synchronous=FULL
//   durable UUID       a snapshot that was reported durable
//   last               nothing follows: the whole log is replayed as well, and the machine is switched off
// Events, lines on standard output: up, step WHAT (of what is looked at), recovered (and what was seen), begin WHAT,
// end WHAT, durable UUID, well. Each is a sign of life: run.sh waits as long as they come.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

const char* const kFolder = "/srv/till";
const char* const kSales = "/dev/ttyS2";
constexpr std::chrono::seconds kPatience(120);
constexpr size_t kOlderSnapshots = 3;  // of those that an earlier start restored already

void say(const std::string& line) {
  const std::string whole = line + "\n";
  REQUIRE(::write(STDOUT_FILENO, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size()));
}

struct Facts {
  uint64_t seed = 1;
  bool last = false;
  std::map<std::string, int> sold;  // after a restore in place a till sells the same number once more
  std::vector<std::string> durable;

  static Facts read() {
    Facts facts;
    const char* path = std::getenv("POWERCUT_FACTS");
    REQUIRE(path);
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    for (std::string what; in >> what && what[0] != '\0';) {
      std::string value;
      if (what == "last") {
        facts.last = true;
        continue;
      }
      in >> value;
      if (what == "seed") facts.seed = std::stoull(value);
      if (what == "sold") facts.sold[value]++;
      if (what == "durable") facts.durable.push_back(value);
    }
    return facts;
  }
};

struct Till : World {
  explicit Till(const Facts& known)
      // A snapshot that was promised stays; what retention does is not asked here.
      : World(Kept{kFolder}, "[retention]\nlast = 1000\n"), facts(known), random(known.seed) {}
  const Facts& facts;
  SeededRandom random;

  void begin_trading() {
    start_shop({"--sales", "1", "--synchronous", "FULL"});
    wait_for_shop();
    say("step the shop was opened");
    start_agent();
    say("step the agent was started");
    flush();
    back_up("full");
    say("step first backup");
  }

  // What was under way when the power went ends by itself, and well. On a busy host that takes long; without any
  // progress it may not: tries that fail again are none.
  size_t wait_for_workflows() {
    size_t were_unfinished = 0;
    bool first = true;
    std::string seen;
    auto last_progress = std::chrono::steady_clock::now();
    until(
        "the workflows end",
        [&] {
          size_t open = 0;
          std::string now;
          for (auto& workflow : call("workflows")) {
            const std::string status = workflow["status"];
            INFO(workflow.dump());
            CHECK(status != "FAILED");
            CHECK(status != "CANCELLED");
            open += status == "PENDING" || status == "IN_PROGRESS";
            now += status + " " + workflow["step"].dump() + " " + workflow["percent"].dump() + "; ";
          }
          if (std::exchange(first, false)) were_unfinished = open;
          if (std::exchange(seen, now) != now) {
            last_progress = std::chrono::steady_clock::now();
            if (open > 0) say("step workflows: " + std::to_string(open) + " are open");
          }
          if (std::chrono::steady_clock::now() - last_progress > kPatience) FAIL("no progress: " << now);
          return open == 0;
        },
        std::chrono::hours(1));
    return were_unfinished;
  }

  // The log has every sale that was promised to a customer, also those that a restore took back later.
  size_t check_log_has_sales(StoreSide& side) {
    std::map<std::string, int> logged;
    size_t actions = 0;
    LogReader reader(*side.store, side.lineage);
    auto all = must(reader.list());
    must(LogReader::check_whole(all));
    Sequence last = 0;
    for (auto& object : all) {
      Segment segment = must(reader.read(object));
      for (auto& action : segment.actions) {
        REQUIRE(action.sequence == last + 1);
        last = action.sequence;
        actions++;
        if (segment.tables[action.table_index] != "orders" || action.kind != ActionKind::create) continue;
        auto values = decode_record(action.after);
        REQUIRE(values);
        logged[std::string(as_text((*values)[1].bytes))]++;
      }
    }
    for (auto& [uuid, times] : facts.sold) {
      INFO("sale " << uuid);
      CHECK(logged[uuid] >= times);
    }
    return actions;
  }

  // All that came since the last start, and some of the older ones again.
  void check_snapshots(StoreSide& side, size_t already_restored) {
    std::set<std::string> complete;
    for (auto& snapshot : cli({"snapshots", "--json"}).json()) complete.insert(snapshot["uuid"].get<std::string>());
    for (auto& uuid : facts.durable) {
      INFO("snapshot " << uuid);
      CHECK(complete.contains(uuid));
    }
    std::vector<std::string> chosen(facts.durable.begin() + static_cast<long>(already_restored), facts.durable.end());
    for (size_t i = 0; i < kOlderSnapshots && already_restored > 0; i++)
      chosen.push_back(facts.durable[random.below(already_restored)]);
    for (auto& uuid : chosen) {
      INFO("snapshot " << uuid);
      RestoreMoment moment;
      moment.snapshot = must(Uuid::parse(uuid));
      CHECK(side.restore(moment).proven);
      say("step snapshot " + uuid);
    }
  }

  // Not even what nobody came for is left after a start.
  void check_files() {
    for (const char* part : {"spool", "staging"}) {
      for (auto& entry : std::filesystem::directory_iterator(folder / ("state/" + std::string(part)))) {
        INFO(entry.path());
        CHECK(!entry.is_regular_file());
      }
    }
  }

  void check_all(size_t already_restored) {
    start_agent();
    say("step the agent answers");
    const size_t unfinished = wait_for_workflows();
    const Json at_start = database();
    back_up("incremental");
    say("step backed up");
    flush();
    wait_for_workflows();
    for (auto words : {std::vector<std::string>{"verify", "--data"}, {"log", "verify"}}) {
      auto ran = cli(words);
      INFO(words[0] << ": " << ran.out << ran.err);
      CHECK(ran.status == 0);
      say("step " + words[0]);
    }
    const std::string restored = folder / "restored.db";
    std::filesystem::remove(restored);
    auto ran = cli({"restore", "--to", restored, "--json"});
    INFO(ran.out << ran.err);
    REQUIRE(ran.status == 0);
    CHECK(ran.json()["proven"] == true);
    check_equal_to(db, restored);
    say("step restored");
    StoreSide side(*this);
    const size_t actions = check_log_has_sales(side);
    say("step the log has the sales");
    check_snapshots(side, already_restored);
    wait_for_workflows();
    stop_agent();
    start_agent();
    say("step started again");
    check_files();
    if (facts.last) replay_whole_log(side);
    const std::string log = log_text();
    for (const char* never : {"is lost", "stopped by a fault"}) {
      INFO(never);
      CHECK(log.find(never) == std::string::npos);
    }
    say("recovered: " + std::to_string(unfinished) + " workflows were under way; catch-ups " +
        at_start["catch_ups"].dump() + "; " + std::to_string(facts.sold.size()) + " sales and " +
        std::to_string(facts.durable.size()) + " snapshots had been reported; " + std::to_string(actions) + " actions");
  }

  void replay_whole_log(StoreSide& side) {
    auto manifests = must(list_manifests(*side.store, side.lineage, nullptr));
    auto by_transaction = [](const Manifest& a, const Manifest& b) { return a.transaction < b.transaction; };
    auto fulls = manifests;
    std::erase_if(fulls, [](const Manifest& m) { return m.type != SnapshotType::full; });
    REQUIRE(!fulls.empty());
    const Manifest from = *std::min_element(fulls.begin(), fulls.end(), by_transaction);
    const Manifest to = *std::max_element(manifests.begin(), manifests.end(), by_transaction);
    auto plan =
        must(plan_between(*side.store, side.lineage, must(resolve_chain(*side.store, side.lineage, from.uuid)), to));
    REQUIRE(plan);
    CHECK(side.carry_out(*plan).proven);
    say("step replayed");
    check_equal_to(db, side.staging);
  }

  // Until the power goes.
  [[noreturn]] void trade() {
    const auto first = must(make_first_moment());
    ChildProcess till =
        must(ChildProcess::start({bin + "/pos_writer", "--db", db, "--rate", "20", "--sales", "1000000", "--shared",
                                  "--synchronous", "FULL", "--seed", std::to_string(facts.seed), "--print-sales"},
                                 kSales));
    static const char* types[] = {"incremental", "incremental", "differential", "full"};
    while (true) {
      if (!till.is_running()) FAIL("the till ended");
      const auto kind = random.below(10);
      if (kind < 3) {
        std::this_thread::sleep_for(std::chrono::milliseconds(random.below(2000)));
      } else if (kind < 7) {
        say("begin backup");
        Json made = back_up(types[random.below(std::size(types))]);
        say("durable " + made["uuid"].get<std::string>());
        say("end backup");
      } else {
        // Mostly to a moment some seconds ago.
        const auto now = database()["transaction"].get<uint64_t>();
        const auto back = random.below(random.chance(80) ? 100 : now - first + 1);
        say("begin restore");
        Json begun = call("restore", {{"in_place", true}, {"transaction", now - std::min(back, now - first)}});
        Json ended = call("workflow.wait", {{"uuid", begun["uuid"]}});
        INFO(ended.dump());
        REQUIRE(ended["status"] == "COMPLETED");
        say("end restore");
      }
    }
  }

 private:
  // Of the oldest snapshot: what is before it can't be restored.
  Result<uint64_t> make_first_moment() {
    StoreSide side(*this);
    TILLSYNC_LET(auto manifests, list_manifests(*side.store, side.lineage, nullptr));
    uint64_t first = UINT64_MAX;
    for (auto& manifest : manifests) first = std::min<uint64_t>(first, manifest.transaction);
    return first;
  }
};

}  // namespace

TEST_CASE("a till whose power was cut goes on by itself, and has all that it promised") {
  say("up");
  const Facts facts = Facts::read();
  INFO("seed " << facts.seed);
  Till till(facts);
  // Which snapshots an earlier start has restored is kept here; should the cut take it back, some are restored again.
  const std::string seen = till.folder / "snapshots-seen";
  size_t already_restored = 0;
  std::ifstream(seen) >> already_restored;
  if (!std::filesystem::exists(till.db + "-made")) {
    till.begin_trading();
    till.stop_agent();
    std::ofstream(till.db + "-made") << "\n";
    ::sync();
  }
  till.check_all(std::min(already_restored, facts.durable.size()));
  std::ofstream(seen, std::ios::trunc) << facts.durable.size() << "\n";
  if (!facts.last) till.trade();
  till.stop_agent();
  say("well");
}
