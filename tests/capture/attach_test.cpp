// Letting go of the application's files, coming back to them, and keeping its log bounded: nothing is lost on the way,
// and nothing of ours stands in the application's.
#include <filesystem>
#include <fstream>

#include "capture/replica_checks.h"
#include "support/faulty_file_system.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

uint64_t log_bytes(Till& till) {
  std::error_code none;
  auto size = std::filesystem::file_size(till.path + "-wal", none);
  return none ? 0 : size;
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: what was committed between two empty logs, seen by nobody, is caught up") {
  Till till(8);
  till.run(kTable);
  till.app.close();
  till.capture();
  Model model(till);
  model.start();
  till.capturer.reset();
  // Opened, changed, closed: the log is empty again, and looks as it did.
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  till.run("INSERT INTO t VALUES(1, 'unseen'); CREATE TABLE b(x)");
  till.app.close();
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  till.restart();
  till.capture();
  CHECK(till.logged("transactions WHERE flags & 1") == 1);
  CHECK(till.logged("action_log WHERE action=1") == 1);
}

TEST_CASE("capture: a commit at any moment of letting the files go is captured") {
  // Call n of those that look at the application's files is preceded by a commit; with it the files are closed, as by
  // an application that was started for one sale.
  uint64_t calls = 0;
  for (uint64_t n = 0; n <= calls; n++) {
    CAPTURE(n);
    Till till(9, kNoCheckpoint);
    till.run(kTable);
    till.capture();
    Model model(till);
    model.start();
    FaultyFileSystem watched(till.files);
    till.setup.application = &watched;
    till.capturer = std::make_unique<Capturer>(till.setup);
    till.run("INSERT INTO t VALUES(1, 'before')");
    till.app.close();
    till.capture();
    watched.reset();
    // The first time only counts.
    if (n)
      watched.at_call(n, [&] {
        till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
        till.run("INSERT INTO t VALUES(2, 'meanwhile')");
        if (n % 2) till.run("PRAGMA wal_checkpoint(PASSIVE)");
        till.app.close();
      });
    step_until_idle(till);
    if (n == 0) calls = watched.calls();
    // The commit's own file event comes after it.
    till.capturer->changed();
    till.capturer->step();
    step_until_idle(till);
    if (!till.app) till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
    int64_t sold = must(till.app.query_integer("SELECT count(*) FROM t"));
    CHECK(till.logged("action_log") == sold);
    till.setup.application = &till.files;
    check_exact(till, model);
  }
  CHECK(calls > 5);
}

TEST_CASE("capture: a log that lost its end in a power cut is not taken for news") {
  Till till(10, kNoCheckpoint);
  till.run(kTable);
  till.capture();
  step_until_idle(till);
  Model model(till);
  model.start();
  till.run("INSERT INTO t VALUES(1, 'kept')");
  auto short_log = std::filesystem::path(till.path + "-short");
  std::filesystem::copy_file(till.path + "-wal", short_log);
  till.run("INSERT INTO t VALUES(2, 'lost'); UPDATE t SET v='lost too' WHERE id=1");
  till.capture();
  model.follow();
  till.capturer.reset();
  // The till's power goes: its log had been written, and synced only in part.
  std::filesystem::copy_file(till.path, till.path + "-copy");
  till.app.close();
  std::filesystem::rename(till.path + "-copy", till.path);
  std::filesystem::rename(short_log, till.path + "-wal");
  std::filesystem::remove(till.path + "-shm");
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  CHECK(must(till.app.query_text("SELECT group_concat(v) FROM t")) == "kept");
  till.restart();
  till.capture();
  check_exact(till, model);
}

TEST_CASE("capture: a log beyond the hard limit is let go, captured, and bounded again") {
  Till till(11, kNoCheckpoint);
  till.setup.wal_bytes_max = 16 << 10;
  till.setup.wal_bytes_hard = 64 << 10;
  till.restart();
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  SUBCASE("nobody writes any more") {
    for (int i = 0; i < 300; i++) till.run("INSERT INTO t VALUES(NULL, zeroblob(700))");
    till.app.close();
    till.capture();
    till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
    check_exact(till, model);
  }
  SUBCASE("the agent comes back to it") {
    till.capturer.reset();
    for (int i = 0; i < 300; i++) till.run("INSERT INTO t VALUES(NULL, zeroblob(700))");
    till.restart();
    till.capture();
    check_exact(till, model);
  }
  SUBCASE("a reader of the application's own is in the way") {
    auto reader = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
    must(reader.execute("BEGIN"));
    must(reader.query_integer("SELECT count(*) FROM t"));
    for (int i = 0; i < 300; i++) {
      till.run("INSERT INTO t VALUES(NULL, zeroblob(700))");
      till.capture();
    }
    CHECK(till.logged("transactions WHERE flags=0") == 300);
    must(reader.execute("COMMIT"));
    check_exact(till, model);
  }
}

TEST_CASE("capture: in the middle of relief, the log past its bound is not given to a writer before it is captured") {
  Till till(13, kNoCheckpoint);
  till.setup.wal_bytes_max = 16 << 10;
  till.setup.wal_bytes_hard = 128 << 10;
  till.restart();
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  // Three transactions past the bound: a round captures one and relieves, relief captures one more under the lock.
  for (int i = 0; i < 2; i++) till.run("INSERT INTO t VALUES(NULL, zeroblob(30000))");
  for (int i = 0; i < 3; i++) till.run("INSERT INTO t VALUES(NULL, 'small')");
  const auto scans = till.capturer->status().catch_ups;
  for (int i = 0; i < 5; i++) {
    till.capturer->step();
    till.run("UPDATE t SET v=" + std::to_string(i) + " WHERE id=1");
  }
  till.capture();
  CHECK(till.capturer->status().catch_ups == scans);
  CHECK(till.logged("transactions WHERE flags=0") == 10);
  check_exact(till, model);
}

TEST_CASE("capture: what a burst left of the log is given back to the disk") {
  Till till(12, kNoCheckpoint);
  till.setup.wal_bytes_max = 16 << 10;
  till.restart();
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  till.run(
      "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<3000) INSERT INTO t SELECT n, "
      "zeroblob(300) FROM g");
  till.capture();
  REQUIRE(log_bytes(till) > 500 << 10);
  for (int i = 0; i < 50 && log_bytes(till) > 2 * till.setup.wal_bytes_max; i++) {
    till.capturer->step();
    till.clock.advance(std::chrono::milliseconds(100));
  }
  CHECK(log_bytes(till) <= 2 * till.setup.wal_bytes_max);
  till.run("INSERT INTO t VALUES(-1, 'after')");
  till.capture();
  CHECK(till.logged("transactions WHERE flags=0") == 2);
  check_exact(till, model);
}

TEST_CASE("capture: the disk has it back within seconds, though no file event comes any more") {
  Till till(17, kNoCheckpoint);
  till.setup.wal_bytes_max = 16 << 10;
  till.restart();
  till.run(kTable);
  till.capture();
  till.run(
      "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<3000) INSERT INTO t SELECT n, "
      "zeroblob(300) FROM g");
  // The agent sleeps as long as it said.
  std::chrono::milliseconds slept{0};
  till.capturer->changed();
  while (true) {
    auto wait = till.capturer->step();
    if (log_bytes(till) <= 2 * till.setup.wal_bytes_max || slept > std::chrono::seconds(60)) break;
    till.clock.advance(wait);
    slept += wait;
  }
  CHECK(slept <= std::chrono::seconds(3));
}

TEST_CASE("capture: a writer that is faster than the agent does not make the log grow without end") {
  // The writer commits whenever the agent looks at the clock, also between two looks of one round: a tick is a sale.
  struct BusyClock : FakeClock {
    std::chrono::steady_clock::time_point steady_now() override {
      if (on_look) on_look();
      return FakeClock::steady_now();
    }
    std::function<void()> on_look;
  } clock;
  Till till(18, kNoCheckpoint);
  till.setup.wal_bytes_max = 1 << 20;
  till.setup.wal_bytes_hard = 8 << 20;
  till.restart();
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  auto setup = till.setup;
  setup.clock = &clock;
  till.capturer = std::make_unique<Capturer>(setup);
  int64_t sold = 0, refused = 0;
  sqlite3_busy_timeout(till.app.handle(), 0);
  int looks = 0;  // of this round; time stands still in it, so the sales of a round have an end
  clock.on_look = [&] {
    if (++looks > 10) return;
    for (int i = 0; i < 20; i++) {
      auto done = till.app.execute("INSERT INTO t(v) VALUES(zeroblob(700))");
      done ? sold++ : refused++;  // while the agent has the writer lock, which is short
    }
  };
  uint64_t bytes_max = 0;
  for (int i = 0; i < 100; i++) {
    looks = 0;
    till.capturer->step();
    clock.advance(std::chrono::milliseconds(20));
    bytes_max = std::max(bytes_max, log_bytes(till));
    if (auto problem = till.capturer->status().problem) FAIL("capture: " << problem->text);
  }
  clock.on_look = nullptr;
  CAPTURE(sold);
  CAPTURE(refused);
  CAPTURE(till.capturer->status().catch_ups);
  CHECK(sold > 2000);
  CHECK(bytes_max <= 2 * till.setup.wal_bytes_hard);
  till.capturer = std::make_unique<Capturer>(till.setup);
  till.capture();
  CHECK(must(till.app.query_integer("SELECT count(*) FROM t")) == sold);
  check_exact(till, model);
}

TEST_CASE("capture: the application empties its log, and the agent sees it empty") {
  Till till(14, kNoCheckpoint);
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  for (int i = 0; i < 5; i++) {
    till.run("INSERT INTO t(v) VALUES('sold')");
    till.capture();
    // Copied whole: our mark then stands in nobody's way.
    till.run("PRAGMA wal_checkpoint(PASSIVE)");
    till.capture();
    till.run("PRAGMA wal_checkpoint(TRUNCATE)");
    CHECK(log_bytes(till) == 0);
    till.capture();
  }
  CHECK(till.logged("transactions WHERE flags=0") == 5);
  CHECK(till.logged("transactions") == 5);
  check_exact(till, model);
}

TEST_CASE("capture: a writer of a rollback-journal database waits for the reading alone") {
  Till till(13, "PRAGMA page_size=1024; PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;");
  till.run(kTable);
  till.run("INSERT INTO t VALUES(1, 'x')");
  till.capture();
  Model model(till);
  model.start();
  till.run("UPDATE t SET v='y'; INSERT INTO t VALUES(2, zeroblob(5000))");
  // While the rows are compared and committed, the application writes.
  bool wrote = false;
  till.setup.on_commit = [&] {
    if (std::exchange(wrote, true)) return;
    till.run("INSERT INTO t VALUES(3, 'written meanwhile')");
  };
  till.capturer = std::make_unique<Capturer>(till.setup);
  till.capture();
  CHECK(wrote);
  till.clock.advance(std::chrono::minutes(2));
  till.capture();
  check_exact(till, model);
}

TEST_CASE("capture: idle, the agent is in nobody's way: other journal modes, exclusive locking, a last close") {
  Till till(15);
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  step_until_idle(till);

  CHECK(must(till.app.query_text("PRAGMA journal_mode=DELETE")) == "delete");
  till.run("INSERT INTO t VALUES(1, 'without a log')");
  till.capture();
  CHECK(till.capturer->status().mode == "scan");
  check_exact(till, model);

  CHECK(must(till.app.query_text("PRAGMA journal_mode=WAL")) == "wal");
  till.run("INSERT INTO t VALUES(2, 'with a log again')");
  till.clock.advance(std::chrono::minutes(2));
  till.capture();
  till.run("INSERT INTO t VALUES(3, 'seen as it comes')");
  till.capture();
  CHECK(till.capturer->status().mode == "wal");
  check_exact(till, model);

  till.capture();
  step_until_idle(till);
  till.app.close();
  CHECK_FALSE(std::filesystem::exists(till.path + "-wal"));

  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  till.run("PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES(4, 'alone')");
  // Reported when it lasts, and captured when it ends.
  for (int i = 0; i < 30; i++) {
    till.clock.advance(std::chrono::seconds(1));
    till.capturer->changed();
    till.capturer->step();
  }
  REQUIRE(till.capturer->status().problem);
  CHECK(till.capturer->status().problem->code == "database_busy");
  till.app.close();
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  for (int i = 0; i < 30 && till.capturer->status().problem; i++) {
    till.clock.advance(std::chrono::seconds(1));
    till.capturer->step();
  }
  till.capture();
  check_exact(till, model);
}

TEST_CASE("capture: a database that was away while it was idle, and came back as it was, is no problem any more") {
  Till till(17);
  till.run(kTable);
  till.capture();
  step_until_idle(till);
#ifdef _WIN32
  till.app.close();  // else it could not go away
#endif
  const auto move = [&](const char* from, const char* to) {
    std::filesystem::rename(till.path + from, till.path + to);
    till.capturer->changed();
    till.capturer->step();
  };
  move("", ".away");
  REQUIRE(till.capturer->status().problem);
  CHECK(till.capturer->status().problem->code == "database_missing");
  move(".away", "");
  CHECK(!till.capturer->status().problem);
  CHECK(till.capturer->status().mode == "wal");
  // Nobody asks in between: letting go again is no reason to have a problem, either.
  step_until_idle(till);
  CHECK(!till.capturer->status().problem);
}

TEST_CASE(
    "capture: a script puts another database in the place of the one that is followed, and leaves its log there") {
  Till till(16);
  till.run(kTable);
  till.run("INSERT INTO t VALUES(1, 'of the first'), (2, 'too')");
  till.capture();
  Model model(till);
  model.start();
  step_until_idle(till);
  // The upgrade was made elsewhere; only the database file is copied.
  {
    auto made = must(Connection::open(till.folder.path() + "/new.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    must(made.execute(std::string("PRAGMA page_size=1024; PRAGMA journal_mode=WAL;") + kTable +
                      "; INSERT INTO t VALUES(1, 'of the second'), (3, 'new')"));
  }
  till.app.close();
  SUBCASE("by another file") { std::filesystem::rename(till.folder.path() + "/new.db", till.path); }
  SUBCASE("by other content") {
    std::ifstream made(till.folder.path() + "/new.db", std::ios::binary);
    std::ofstream(till.path, std::ios::binary) << made.rdbuf();
  }
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  till.capturer->changed();
  till.capturer->step();
  till.capture();
  check_exact(till, model);
  till.run("INSERT INTO t VALUES(4, 'after')");
  till.capture();
  check_exact(till, model);
}

TEST_SUITE_END();
