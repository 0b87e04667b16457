// The main promise, with real processes: a shop at full speed, the agent attached, killed and started again.
#include "actionlog/log_reader.h"
#include "agent/cli/compare_databases.h"
#include "dbfile/record.h"
#include "integration/world.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "restore/staging.h"
#include "sqlite/file_vfs.h"
#include "store/open_store.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("integration");

namespace {

// ./dev soak asks for the full numbers; ctest runs the same with fewer sales, because sanitizers make the agent ten
// times slower than the shop it follows.
bool soak() { return std::getenv("TILLSYNC_SOAK") != nullptr; }

// The store, read in this process.
struct StoreSide {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  FileVfs vfs{files, clock, random};
  std::unique_ptr<ObjectStore> store;
  Lineage lineage;
  std::string staging;

  explicit StoreSide(World& world) {
    store = must(make_store("file://" + world.store, files, random));
    lineage = {world.terminal(), "pos", 1};
    staging = world.folder / "staged.db";
  }

  RestoreOutcome restore(const RestoreMoment& moment) {
    auto plan = must(plan_restore(*store, lineage, moment));
    Staging staged(*store, files, vfs.name(), staging);
    must(staged.fill(plan, nullptr));
    must(staged.replay(plan, false, nullptr));
    auto outcome = must(staged.prove(nullptr));
    must(staged.seal());
    return outcome;
  }
};

struct LogFacts {
  Sequence last_sequence = 0;
  TransactionNo last_transaction = 0;
  uint64_t single = 0, catch_ups = 0;
  std::map<int64_t, TransactionNo> transaction_of_sale;  // of those that were captured by themselves
};

// Every segment in order: sequences and transactions without a gap, and which sale each transaction was.
LogFacts read_log(StoreSide& side) {
  LogFacts facts;
  LogReader reader(*side.store, side.lineage);
  auto all = must(reader.list());
  must(LogReader::check_whole(all));
  int64_t last_sale = 0;
  for (auto& object : all) {
    Segment segment = must(reader.read(object));
    for (auto& t : segment.transactions) {
      if (t.number != facts.last_transaction) CHECK(t.number == facts.last_transaction + 1);
      facts.last_transaction = t.number;
    }
    std::map<uint32_t, std::vector<int64_t>> sales;
    for (auto& a : segment.actions) {
      REQUIRE(a.sequence == facts.last_sequence + 1);
      facts.last_sequence = a.sequence;
      if (segment.tables[a.table_index] != "sale_counter" || a.after.empty()) continue;
      auto values = decode_record(a.after);
      REQUIRE(values);
      sales[a.transaction_index].push_back(values->back().integer);
    }
    for (auto& [index, numbers] : sales) {
      const SegmentTransaction& t = segment.transactions[index];
      REQUIRE(numbers.size() == 1);
      if (t.flags & kCatchUp) {
        CHECK(numbers[0] > last_sale);
        facts.catch_ups++;
      } else {
        // One transaction of the application is one of the log, in commit order.
        // (the first one in the log is whatever came after the baseline).
        if (last_sale) CHECK(numbers[0] == last_sale + 1);
        facts.single++;
        facts.transaction_of_sale[numbers[0]] = t.number;
      }
      last_sale = numbers[0];
    }
  }
  return facts;
}

void check_equal_to(const std::string& expected, const std::string& found) {
  auto compared = must(compare_databases(expected, found));
  for (auto& table : compared.tables) {
    INFO(table.name << ": " << table.expected_rows << " rows expected, " << table.found_rows << " found");
    CHECK(table.is_equal());
  }
  CHECK(compared.is_equal());
}

}  // namespace

TEST_CASE(
    "sales at full speed, the agent killed 20 times: the log is whole, and baseline plus replay is the database") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  World world;
  const int64_t sales = soak() ? 60000 : 5000;
  world.start_shop({"--sales", std::to_string(sales), "--seed", std::to_string(random.below(1000000)), "--ready-file",
                    world.folder / "ready"});
  world.until("the shop is open", [&] { return std::filesystem::exists(world.folder / "ready"); });
  std::string schema_before =
      world.query_text("SELECT group_concat(type||name||tbl_name||coalesce(sql,''), '|') FROM sqlite_schema");
  world.start_agent();
  world.back_up("full");
  int64_t sold = 0;
  for (int kills = 0; kills < 20; kills++) {
    // Spread over the sales, not over time: the machine may be slow.
    int64_t next = sold + sales / 120 + static_cast<int64_t>(random.below(static_cast<uint64_t>(sales / 24)));
    world.until("more sales",
                [&] { return !world.shop.is_running() || world.query("SELECT n FROM sale_counter") >= next; });
    sold = world.query("SELECT n FROM sale_counter");
    world.kill_agent();
    if (kills % 5 == 4)
      world.until("sales nobody sees", [&] {
        return !world.shop.is_running() || world.query("SELECT n FROM sale_counter") >= sold + sales / 200;
      });
    world.start_agent();
    if (kills == 10) world.back_up("incremental");
  }
  world.wait_for_shop();
  Json flushed = world.flush();
  StoreSide side(world);
  LogFacts facts = read_log(side);
  CHECK(facts.last_sequence == flushed["sequence"].get<Sequence>());
  MESSAGE("transactions captured singly: " << facts.single << ", catch-ups: " << facts.catch_ups
                                           << ", actions: " << facts.last_sequence);
  CHECK(world.query("SELECT n FROM sale_counter") == sales);

  auto outcome = side.restore({});
  CHECK(outcome.proven);
  check_equal_to(world.db, side.staging);

  // Nothing of ours is in the application's database.
  CHECK(world.query_text("SELECT group_concat(type||name||tbl_name||coalesce(sql,''), '|') FROM sqlite_schema") ==
        schema_before);
  world.stop_agent();
}

TEST_CASE("a restore to each of many random transactions equals a copy taken at that transaction") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  World world;
  const int64_t sales = soak() ? 6000 : 1000;
  const int marks_wanted = soak() ? 50 : 10;
  // The shop opens, then waits for the agent: every sale is captured.
  world.start_shop({"--sales", "1", "--seed", "5"});
  world.wait_for_shop();
  world.start_agent();
  world.back_up("full");
  world.start_shop({"--sales", std::to_string(sales), "--seed", std::to_string(random.below(1000000)), "--mark",
                    std::to_string(marks_wanted), "--mark-dir", world.folder / "marks"});
  const char* types[] = {"incremental", "incremental", "differential", "incremental"};
  for (int i = 0; i < 4; i++) {
    world.until("more sales", [&] {
      return !world.shop.is_running() || world.query("SELECT n FROM sale_counter") >= sales / 5 * (i + 1);
    });
    world.back_up(types[i]);
  }
  world.wait_for_shop();
  world.flush();
  StoreSide side(world);
  LogFacts facts = read_log(side);
  CHECK(facts.catch_ups == 0);
  std::ifstream marks(world.folder / "marks/marks.jsonl");
  std::string line;
  int compared = 0;
  while (std::getline(marks, line)) {
    int64_t sale = Json::parse(line)["sale"];
    REQUIRE(facts.transaction_of_sale.contains(sale));
    INFO("sale " << sale);
    RestoreMoment moment;
    moment.transaction = facts.transaction_of_sale[sale];
    auto outcome = side.restore(moment);
    CHECK(outcome.transaction == *moment.transaction);
    CHECK(outcome.proven);
    check_equal_to(world.folder / ("marks/" + std::to_string(sale) + ".db"), side.staging);
    compared++;
  }
  CHECK(compared == marks_wanted);
  world.stop_agent();
}

TEST_SUITE_END();
