// Every transaction that was captured, against the changeset that SQLite's session extension recorded of it.
#include "capture/session_oracle.h"

#include "capture/random_shop.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

void compare_with_sessions(const std::string& pragmas, int transactions) {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed() << " " << pragmas);
  Till till(random.seed(), pragmas);
  RandomShop shop(till, random);
  shop.create();
  for (int i = 0; i < 20; i++) shop.transaction();
  till.capture();
  SessionOracle oracle(till);
  size_t compared = 0;
  for (int i = 0; i < transactions; i++) {
    TransactionNo before = till.capturer->status().transaction;
    oracle.begin();
    shop.transaction();
    till.capture();
    TransactionNo after = till.capturer->status().transaction;
    CAPTURE(i);
    REQUIRE(after <= before + 1);
    compared += oracle.check();
  }
  MESSAGE(transactions << " transactions, " << compared << " row changes compared");
  CHECK(compared > static_cast<size_t>(transactions));
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: what is logged is what SQLite's session extension records") {
  compare_with_sessions("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 400);
}
TEST_CASE(
    "capture: what is logged is what SQLite's session extension records, with auto-vacuum and the smallest pages") {
  compare_with_sessions(
      "PRAGMA page_size=512; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 300);
}
TEST_CASE("capture: what is logged is what SQLite's session extension records, by scans") {
  compare_with_sessions("PRAGMA page_size=4096; PRAGMA synchronous=OFF;", 200);
}

TEST_SUITE_END();
