// Segments merged with each snapshot, with real processes: the same log in a fraction of the objects.
#include "actionlog/segment_rows.h"
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// As if they had been stored two days ago.
void age_merged(const std::string& store) {
  for (auto& entry : std::filesystem::recursive_directory_iterator(store))
    if (entry.path().extension() == ".merged")
      std::filesystem::last_write_time(entry, entry.last_write_time() - std::chrono::hours(48));
}

bool can_be_merged(const Segment& segment) {
  size_t bytes = 0;
  for (auto& action : segment.actions) bytes += row_bytes(action);
  return segment.head.flags == 0 && segment.actions.size() <= kMergedActionsMax / 2 && bytes <= kMergedRowBytesMax / 2;
}

// Neighbours before the sequence that should be one.
size_t left_to_merge(StoreSide& side, Sequence up_to) {
  LogReader reader(*side.store, side.lineage);
  const auto all = must(reader.list());
  size_t pairs = 0;
  bool before = false;
  for (auto& object : all) {
    const bool can_be = !object.merged && object.last <= up_to && can_be_merged(must(reader.read(object)));
    pairs += can_be && before;
    before = can_be;
  }
  return pairs;
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("merged log: a shop sells, the agent is killed, and the log becomes few objects that hold the same") {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  World world("", "20ms");
  const int64_t sales = soak() ? 20000 : 1200;
  const int kills = 8;
  const auto sell = [&](int64_t count) {
    world.start_shop(
        {"--sales", std::to_string(count), "--rate", "300", "--seed", std::to_string(random.below(1000000))});
  };
  // Before the first snapshot, which may take longer than all the others.
  sell(20);
  world.wait_for_shop();
  world.start_agent();
  world.back_up("full");
  // Slow enough for segments of a few sales.
  sell(sales);
  for (int i = 1; i <= kills; i++) {
    const int64_t next =
        sales * i / (kills + 2) + static_cast<int64_t>(random.below(static_cast<uint64_t>(sales / 20)));
    world.until("more sales",
                [&] { return !world.shop.is_running() || world.query("SELECT n FROM sale_counter") >= next; });
    world.back_up("incremental");
    // While it merges, or before, or after.
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(30000)));
    world.kill_agent();
    world.start_agent();
  }
  world.wait_for_shop();
  // However little of the machine was left for that: these are segments of their own.
  auto app = world.application();
  for (int i = 0; i < 40; i++) {
    must(app.execute("UPDATE sale_counter SET n=n+1"));
    world.flush();
  }
  const Json flushed = world.flush();
  const Sequence up_to = world.back_up("incremental")["sequence"];
  StoreSide side(world);
  // A few at a time, every half a minute: the log and the till go first.
  const std::chrono::minutes patience(soak() ? 10 : 2);
  world.until(
      "what lies before a snapshot is merged", [&] { return left_to_merge(side, up_to) == 0; }, patience);

  const LogListing listing = must(list_log(*side.store, side.lineage));
  uint64_t bytes_before = 0, bytes_after = 0;
  for (auto& part : listing.parts) bytes_before += part.size;
  for (auto& segment : listing.segments)
    if (segment.merged) bytes_after += segment.size;
  MESSAGE(listing.parts.size() << " segments of " << bytes_before << " bytes became " << listing.segments.size()
                               << " objects of which the merged have " << bytes_after);
  CHECK(listing.parts.size() > 2 * listing.segments.size());
  const LogFacts facts = read_log(side);
  CHECK(facts.last_sequence == flushed["sequence"].get<Sequence>());
  CHECK(world.cli({"log", "verify"}).status == 0);

  // A day later the parts are in nobody's way.
  age_merged(world.store);
  const auto pruned = world.cli({"prune"});
  INFO(pruned.out << pruned.err);
  REQUIRE(pruned.status == 0);
  CHECK(must(list_log(*side.store, side.lineage)).parts.empty());
  const LogFacts after = read_log(side);
  CHECK(after.transaction_of_sale == facts.transaction_of_sale);
  CHECK(after.last_sequence == facts.last_sequence);
  const auto verified = world.cli({"log", "verify"});
  INFO(verified.out << verified.err);
  CHECK(verified.status == 0);
  CHECK(side.restore({}).proven);
  check_equal_to(world.db, side.staging);
  const TransactionNo first = must(list_manifests(*side.store, side.lineage)).front().transaction;
  std::vector<std::pair<int64_t, TransactionNo>> sales_after;
  for (auto& sale : facts.transaction_of_sale)
    if (sale.second > first) sales_after.push_back(sale);
  REQUIRE_FALSE(sales_after.empty());
  for (int i = 0; i < 4; i++) {
    const auto& sale = sales_after[random.below(sales_after.size())];
    RestoreMoment moment;
    moment.transaction = sale.second;
    must(remove_staged(side.files, side.staging));
    CHECK(side.restore(moment).proven);
    auto restored = must(Connection::open(side.staging, SQLITE_OPEN_READONLY));
    CHECK(must(restored.query_integer("SELECT n FROM sale_counter")) == sale.first);
  }

  // And it goes on from there, over a start too.
  world.stop_agent();
  world.start_agent();
  for (int i = 0; i < 5; i++) {
    must(app.execute("UPDATE sale_counter SET n=n+1"));
    world.flush();
  }
  const Sequence later = world.back_up("incremental")["sequence"];
  world.until("the new ones are merged", [&] { return left_to_merge(side, later) == 0; });
  CHECK(world.cli({"log", "verify"}).status == 0);
  world.stop_agent();
}

TEST_SUITE_END();
