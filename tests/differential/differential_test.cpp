// SQLite is the oracle: random schemas, random transactions, and after each what was logged against what SQLite says.
//
// For every transaction: the log, applied strictly to a model, gives every row of every table as SQL reads it; and its
// actions are the changeset of the session extension where that can record. For every schema: snapshots and log, put
// together again, give the content at moments picked on the way, and the end.
//   TILLSYNC_DIFFERENTIAL_SECONDS   how long, instead of a few schemas
//   TILLSYNC_SCHEMA_SEED            one schema again, as a failure names it
#include <chrono>
#include <cstdlib>

#include "capture/replica_checks.h"
#include "capture/session_oracle.h"
#include "differential/random_database.h"
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct Totals {
  uint64_t schemas = 0, transactions = 0, compared = 0, moments = 0;
};

// Statistics of the query planner wait for the next transaction that has an action: not part of a moment.
Content without_statistics(Content content) {
  std::erase_if(content, [](auto& table) { return table.first.starts_with("sqlite_stat"); });
  return content;
}

void check_moment(RestoreWorld& world, TransactionNo moment) {
  INFO("restored to transaction " << moment);
  auto outcome = must(world.try_restore(RestoreWorld::at_transaction(moment)));
  CHECK(outcome.proven);
  CHECK(outcome.transaction == moment);
  auto db = world.open_staged();
  const Content restored = without_statistics(dump(db)), expected = without_statistics(world.copies.at(moment));
  check_same(restored, expected);
  CHECK(restored.size() == expected.size());
}

// One schema from its baseline to its last restore.
void one_schema(uint64_t seed, int transactions, Totals& totals) {
  SeededRandom random(seed);
  const std::string pragmas = RandomDatabase::pragmas(random);
  INFO("schema seed " << seed << " " << pragmas);
  RestoreWorld world(seed, pragmas);
  bool barrier = false;
  world.setup.on_barrier = [&] { barrier = true; };
  world.restart();
  RandomDatabase application(world.app, random);
  application.create();
  for (int i = 0; i < 5; i++) application.transaction();
  world.capture();
  world.snapshot();
  barrier = false;
  Model model(world);
  model.start();
  check_same(model.content(), world.live());
  const bool sessions = must(world.app.query_text("PRAGMA encoding")) == "UTF-8";
  std::vector<TransactionNo> moments;
  TransactionNo captured = world.capturer->status().transaction;
  for (int i = 0; i < transactions; i++) {
    CAPTURE(i);
    if (random.below(50) == 0) world.restart();
    const TransactionNo before = captured;
    const bool single = random.below(5) != 0;
    bool schema_kept = true;
    {
      SessionOracle oracle(world);
      if (single && sessions) oracle.begin();
      schema_kept = application.transaction();
      if (single) {
        world.capture();
        const TransactionNo after = captured = world.capturer->status().transaction;
        REQUIRE(after <= before + 1);
        if (sessions && schema_kept)
          totals.compared += oracle.check(after > before ? std::optional(after) : std::nullopt);
      }
    }
    totals.transactions++;
    // Several at once, and what an application does between its transactions.
    if (!single) {
      for (uint64_t more = random.below(4); more > 0; more--, totals.transactions++) application.transaction();
      if (random.below(4) == 0) application.maintenance();
      world.capture();
      captured = world.capturer->status().transaction;
    }
    model.follow();
    check_same(model.content(), world.live());
    if (barrier) {
      // As the agent does: replay does not cross it.
      world.seal();
      world.snapshot(random.below(3) == 0 ? SnapshotType::differential : SnapshotType::incremental);
      barrier = false;
    }
    if (random.below(40) == 0) check_replica(world);
    if (random.below(60) == 0) moments.push_back(world.remember());
    world.clock.advance(std::chrono::milliseconds(10));
  }
  moments.push_back(world.remember());
  check_replica(world);
  world.seal();
  for (TransactionNo moment : moments) check_moment(world, moment);
  auto restored = world.open_staged();
  CHECK(must(restored.query_text("PRAGMA integrity_check")) == "ok");
  // Where a table's parent key is gone, SQLite can't answer.
  const char* violations = "SELECT count(*) FROM pragma_foreign_key_check";
  if (auto count = world.app.query_integer(violations)) CHECK(must(restored.query_integer(violations)) == *count);
  totals.moments += moments.size();
  totals.schemas++;
}

}  // namespace

TEST_SUITE_BEGIN("differential");

TEST_CASE("differential: random schemas and transactions, logged as SQLite says, restored as they were") {
  SeededRandom seeds(SeededRandom::seed_of_this_run());
  const char* seconds = std::getenv("TILLSYNC_DIFFERENTIAL_SECONDS");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds ? std::atoi(seconds) : 0);
  Totals totals;
  do {
    // One schema again: its seed, as a failure names it.
    const char* again = std::getenv("TILLSYNC_SCHEMA_SEED");
    one_schema(again ? std::strtoull(again, nullptr, 10) : seeds.next(), seconds || again ? 300 : 60, totals);
  } while (seconds ? std::chrono::steady_clock::now() < end : totals.schemas < 3);
  MESSAGE(totals.schemas << " schemas, " << totals.transactions << " transactions, " << totals.compared
                         << " row changes compared with the session extension, " << totals.moments
                         << " moments restored");
}

TEST_SUITE_END();
