#include "capture/random_shop.h"
#include "capture/replica_checks.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("capture");

namespace {
void random_run(uint64_t seed, const std::string& pragmas, int transactions, bool restarts) {
  SeededRandom random(seed);
  INFO("seed " << seed << " " << pragmas);
  Till till(seed, pragmas);
  RandomShop shop(till, random);
  shop.create();
  for (int i = 0; i < 30; i++) shop.transaction();
  till.capture();
  Model model(till);
  model.start();
  check_same(model.content(), till.live());
  for (int i = 0; i < transactions; i++) {
    shop.transaction();
    if (random.below(40) == 0) till.run("VACUUM");
    if (random.below(25) == 0) (void)till.app.execute("PRAGMA wal_checkpoint(RESTART)").has_value();
    if (random.below(100) == 0)
      till.run("ALTER TABLE item ADD COLUMN c" + std::to_string(i) + " TEXT DEFAULT 'd" + std::to_string(i) + "'");
    if (restarts && random.below(20) == 0) till.restart();
    if (random.below(4) == 0) continue;  // several transactions at once
    till.capture();
    model.follow();
    check_same(model.content(), till.live());
    if (i % 10 == 9) check_replica(till);
  }
  till.capture();
  model.follow();
  check_same(model.content(), till.live());
  // What is kept in step equals what is made afresh.
  auto kept = till.capturer->status();
  CHECK(kept.sequence == model.sequence());
  check_replica(till);
}
}  // namespace

TEST_CASE("capture: random transactions, WAL, small pages: log equals the database after each") {
  random_run(SeededRandom::seed_of_this_run(), "PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
             250, false);
}
TEST_CASE("capture: random transactions with auto-vacuum") {
  random_run(SeededRandom::seed_of_this_run(),
             "PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 250,
             false);
}
TEST_CASE("capture: random transactions, UTF-16, the agent restarted meanwhile") {
  random_run(SeededRandom::seed_of_this_run(),
             "PRAGMA encoding='UTF-16le'; PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;", 250,
             true);
}
TEST_CASE("capture: random transactions in a rollback-journal database, by scans") {
  random_run(SeededRandom::seed_of_this_run(), "PRAGMA page_size=1024; PRAGMA synchronous=OFF;", 150, true);
}
TEST_CASE("capture: each transaction of the application is one of the log while attached") {
  Till till(7);
  till.run(kTable);
  till.capture();
  for (int i = 1; i <= 300; i++) {
    till.run("INSERT INTO t VALUES(" + std::to_string(i) + ", 'x')");
    if (i % 17 == 0) till.capture();
  }
  till.capture();
  CHECK(till.logged("transactions") == 300);
  CHECK(till.logged("action_log") == 300);
  CHECK(till.logged("transactions WHERE flags<>0") == 0);
}

TEST_CASE("capture: a database that was deleted and made anew is captured as the next transaction") {
  Till till(9, "PRAGMA synchronous=OFF;");
  till.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'old')");
  till.capture();
  Model model(till);
  model.start();
  till.app.close();
  must(till.files.remove(till.path));
  CHECK(till.capturer->step() > std::chrono::milliseconds(0));
  CHECK(till.capturer->status().problem->code == "database_missing");
  // Made, and empty for a moment.
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  till.run("PRAGMA user_version");
  (void)till.files.open(till.path, OpenMode::create).has_value();
  till.capturer->request_capture([](Result<Sequence>) {});
  till.capturer->step();
  till.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(7, 'new')");
  till.capture();
  model.follow();
  check_same(model.content(), till.live());
  CHECK(model.sequence() == 2);
}

TEST_CASE("capture: the first frames of a log that was empty are no gap") {
  Till till(8);
  till.run(kTable);
  till.run("PRAGMA wal_checkpoint(TRUNCATE)");
  // As after the application's last close: no frame, no salts.
  till.app.close();
  till.capture();
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  for (int i = 1; i <= 3; i++) till.run("INSERT INTO t VALUES(" + std::to_string(i) + ", 'x')");
  till.capture();
  CHECK(till.logged("transactions") == 3);
  CHECK(till.logged("transactions WHERE flags<>0") == 0);
}

TEST_SUITE_END();
