// What of the log leaves state.db: the oldest, when it is durable in the store and old enough. Never anything else.
#include "actionlog/log_trim.h"

#include "actionlog/log_query.h"
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// Between the third and the fourth of seven sales, an hour each.
constexpr std::chrono::milliseconds kKept = std::chrono::minutes(4 * 60 + 30);

struct TrimWorld : RestoreWorld {
  TrimWorld() {
    run("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    capture();
    snapshot();
  }
  void hour_later() { clock.advance(std::chrono::hours(1)); }
  int64_t count(const std::string& what) { return must(state->lease()->query_integer("SELECT count(*) FROM " + what)); }
  // As the shipper notes it when a segment is in the store.
  void all_durable() {
    seal();
    must(state->lease()->execute("UPDATE databases SET durable_sequence=flushed_sequence"));
  }
  uint64_t trim(std::chrono::milliseconds keep, uint64_t actions_max = 1000) {
    return must(trim_log(*state, 1, clock.now() - keep, actions_max));
  }
  std::vector<Sequence> shown() {
    auto page = must(query_log(*state, 1, lineage, Json::object(), {}));
    std::vector<Sequence> all;
    for (auto& action : page.actions) all.push_back(action["sequence"]);
    return all;
  }
};

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("log trim: what is durable and old goes, the rest stays, and log and restores go on") {
  TrimWorld world;
  for (int i = 1; i <= 6; i++) {
    world.sell("INSERT INTO t VALUES(" + std::to_string(i) + ", 'sold')");
    world.hour_later();
  }
  world.all_durable();
  world.sell("INSERT INTO t VALUES(7, 'not in the store yet')");
  world.hour_later();
  CHECK(world.trim(kKept) == 3);
  CHECK(world.shown() == std::vector<Sequence>{4, 5, 6, 7});
  CHECK(world.count("transactions") == 4);
  CHECK(world.trim(kKept) == 0);

  // However old: what the store does not hold stays.
  world.clock.advance(std::chrono::hours(1000));
  CHECK(world.trim(kKept) == 3);
  CHECK(world.trim(kKept) == 0);
  CHECK(world.shown() == std::vector<Sequence>{7});

  // The entities keep their versions; capture, sealing and replay go on.
  const TransactionNo after = world.sell("UPDATE t SET v='changed' WHERE id=1");
  world.all_durable();
  CHECK(world.trim(kKept) == 1);
  auto page = must(query_log(*world.state, 1, world.lineage, Json::object(), {}));
  REQUIRE(page.actions.size() == 1);
  CHECK(page.actions[0]["version"] == 2);
  world.restart();
  world.capture();
  for (TransactionNo n = 1; n <= after; n++) world.check_moment(n);
}

TEST_CASE("log trim: a large transaction goes step by step, and is shown as far as it is there") {
  TrimWorld world;
  world.sell(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<250) INSERT INTO t SELECT i, i FROM n");
  world.sell("ANALYZE; INSERT INTO t VALUES(1000, 'last')");
  world.hour_later();
  world.all_durable();
  CHECK(world.count("hidden_rows") > 0);
  CHECK(world.trim(std::chrono::hours(0), 100) == 100);
  CHECK(world.count("transactions") >= 2);
  CHECK(world.shown().front() == 101);
  CHECK(world.trim(std::chrono::hours(0), 100) == 100);
  int rounds = 0;
  while (world.trim(std::chrono::hours(0), 100) > 0) REQUIRE(++rounds < 10);
  for (const char* table : {"action_log", "transactions", "hidden_rows"}) CHECK(world.count(table) == 0);
  CHECK(world.shown().empty());
}

TEST_CASE("log trim: where the disk is short what is sealed goes too, what is not sealed stays, and restores go on") {
  TrimWorld world;
  for (int i = 1; i <= 3; i++) world.sell("INSERT INTO t VALUES(" + std::to_string(i) + ", 'sold')");
  world.seal();
  world.sell("INSERT INTO t VALUES(4, 'in no segment yet')");
  world.hour_later();
  CHECK(world.trim(std::chrono::minutes(1)) == 0);
  CHECK(must(trim_log(*world.state, 1, world.clock.now() - std::chrono::minutes(1), 1000, TrimUpTo::sealed)) == 3);
  CHECK(world.shown() == std::vector<Sequence>{4});
  CHECK(must(trim_log(*world.state, 1, world.clock.now() - std::chrono::minutes(1), 1000, TrimUpTo::sealed)) == 0);
  // The next segment goes on where the last one ended.
  world.all_durable();
  CHECK(must(trim_log(*world.state, 1, world.clock.now() - std::chrono::minutes(1), 1000, TrimUpTo::sealed)) == 1);
  CHECK(world.count("action_log") == 0);
}

TEST_SUITE_END();
