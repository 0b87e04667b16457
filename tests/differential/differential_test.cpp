// SQLite is the oracle: random schemas, random transactions, and after each what was logged against what SQLite says.
//   TILLSYNC_DIFFERENTIAL_SECONDS   how long, instead of a few schemas
//   TILLSYNC_SCHEMA_SEED            one schema again, as a failure names it
//   TILLSYNC_DIFFERENTIAL_TRACE     file that gets every statement of the application
#include <chrono>
#include <cstdlib>

#include "differential/differential_run.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("differential");

TEST_CASE("differential: random schemas and transactions, logged as SQLite says, restored as they were") {
  SeededRandom seeds(SeededRandom::seed_of_this_run());
  const char* seconds = std::getenv("TILLSYNC_DIFFERENTIAL_SECONDS");
  const char* again = std::getenv("TILLSYNC_SCHEMA_SEED");
  const auto started = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(); };
  DifferentialTotals totals;
  do {
    const uint64_t seed = again ? std::strtoull(again, nullptr, 10) : seeds.next();
    DifferentialRun(seed, totals).go(seconds || again ? 400 : 60);
  } while (!again && (seconds ? elapsed() < std::atof(seconds) : totals.schemas < 8));
  MESSAGE(totals.schemas << " schemas, " << totals.transactions << " transactions in " << elapsed() << " s, "
                         << totals.compared << " row changes compared with the session extension, " << totals.moments
                         << " moments restored; writers killed " << totals.deaths << ", restarted " << totals.restarts
                         << ", journal modes set " << totals.switches << ", exclusive periods " << totals.exclusive
                         << ", old copies put back " << totals.put_back << ", captured while written " << totals.at_once
                         << ", catch-ups " << totals.catch_ups);
}

TEST_SUITE_END();
