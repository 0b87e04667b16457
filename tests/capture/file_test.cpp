// Files as applications leave them: a page nobody may use, logs of another byte order, logs of an application that
// crashed, files that shrink and grow, pages that are used again, journals of every kind.
#include <filesystem>

#include "capture/replica_checks.h"
#include "support/lock_byte_database.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

void capture_exactly(Till& till, Model& model) {
  till.capture();
  check_exact(till, model);
  // Attached again, before the application goes on.
  till.capture();
}

// The application is gone without closing: the log stays, as it was, and the shared memory with it is worth nothing.
void crash_application(Till& till) {
  const Bytes database = read_whole(till.path), log = read_whole(till.path + "-wal");
  till.app.close();
  write_whole(till.path, database);
  write_whole(till.path + "-wal", log);
  std::filesystem::remove(till.path + "-shm");
}

void follow_over_lock_byte(uint32_t page_size) {
  Till till(31, "");
  till.app.close();
  std::filesystem::remove(till.path);
  make_lock_byte_database(till.path, page_size);
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  till.run("PRAGMA synchronous=OFF");
  till.capture();
  Model model(till);
  model.start();
  const auto lock_page = static_cast<PageNo>(kLockByte / page_size + 1);
  // Both sides, the freelist between them, and a tree that moves over the page as it shrinks and grows.
  till.run("UPDATE low SET v=zeroblob(500) WHERE id%3=0; UPDATE high SET v='behind' WHERE id%5=0");
  till.run("DELETE FROM high WHERE id<=300");
  till.run(numbers(300) + "INSERT INTO high SELECT n, zeroblob(700) FROM g");
  till.run("CREATE TABLE later AS SELECT * FROM high");
  till.capture();
  model.follow();
  check_same(model.content(), till.live());
  REQUIRE(must(till.app.query_integer("PRAGMA page_count")) > lock_page);
  check_replica(till);
}

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: rows on both sides of the page that holds the lock bytes, pages of 65536") {
  follow_over_lock_byte(65536);
}

TEST_CASE("capture: rows on both sides of the page that holds the lock bytes, pages of 4096") {
  follow_over_lock_byte(4096);
}

TEST_CASE("capture: rows on both sides of the page that holds the lock bytes, pages of 1024") {
  follow_over_lock_byte(1024);
}

TEST_CASE("capture: a log with checksums of the other byte order is read, as SQLite reads it") {
  Till till(32, kNoCheckpoint);
  till.run(kTable);
  till.run("INSERT INTO t VALUES(1, 'before'); INSERT INTO t VALUES(2, zeroblob(3000))");
  crash_application(till);
  auto header = WalHeader::parse(ByteView(read_whole(till.path + "-wal")).first(kWalHeaderSize));
  REQUIRE(header);
  const bool was = header->big_endian_checksum;
  turn_checksums(till.path + "-wal");
  SUBCASE("the application opens it first") {
    till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
    CHECK(must(till.app.query_integer("SELECT count(*) FROM t")) == 2);
    till.capture();
  }
  SUBCASE("the agent opens it first") {
    till.capture();
    till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
    CHECK(must(till.app.query_integer("SELECT count(*) FROM t")) == 2);
  }
  till.run("PRAGMA wal_autocheckpoint=0");
  Model model(till);
  model.start();
  // SQLite goes on with the byte order it found, and so each frame is checked in it.
  for (int i = 0; i < 10; i++) {
    till.run("INSERT INTO t(v) VALUES('sold')");
    till.run("UPDATE t SET v=zeroblob(length(v)+400) WHERE id=2");
    till.capture();
  }
  header = WalHeader::parse(ByteView(read_whole(till.path + "-wal")).first(kWalHeaderSize));
  REQUIRE(header);
  CHECK(header->big_endian_checksum != was);
  CHECK(till.logged("transactions WHERE flags=0") == 20);
  capture_exactly(till, model);
  // And over a restart of the agent, which looks for its frame by checksum.
  till.restart();
  till.run("DELETE FROM t WHERE id=1");
  capture_exactly(till, model);
  CHECK(till.logged("transactions WHERE flags<>0") == 0);
}

TEST_CASE("capture: the log of an application that crashed, the agent being the first to open it") {
  Till till(33, kNoCheckpoint);
  till.run(kTable);
  till.run("INSERT INTO t VALUES(1, 'kept')");
  till.capture();
  Model model(till);
  model.start();
  till.capturer.reset();
  till.run("INSERT INTO t VALUES(2, 'committed, seen by nobody')");
  // Spilled into the log, and never committed.
  till.run("PRAGMA cache_size=5; BEGIN; " + numbers(400) + "INSERT INTO t SELECT n+10, zeroblob(300) FROM g");
  crash_application(till);
  till.restart();
  till.capture();
  till.app = must(Connection::open(till.path, SQLITE_OPEN_READWRITE));
  CHECK(must(till.app.query_integer("SELECT count(*) FROM t")) == 2);
  CHECK(till.logged("action_log") == 1);
  till.run("INSERT INTO t VALUES(3, 'after')");
  capture_exactly(till, model);
  CHECK(till.logged("transactions WHERE flags=0") == 2);
}

TEST_CASE("capture: pages are freed and used again by other tables, the file shrinks and grows") {
  for (const char* vacuum : {"NONE", "FULL", "INCREMENTAL"}) {
    INFO("auto_vacuum " << vacuum);
    Till till(34, std::string("PRAGMA page_size=1024; PRAGMA auto_vacuum=") + vacuum +
                      "; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF");
    till.run("CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    till.capture();
    Model model(till);
    model.start();
    auto pages = [&] { return must(till.app.query_integer("PRAGMA page_count")); };
    for (int round = 0; round < 3; round++) {
      INFO("round " << round);
      till.run(numbers(400) + "INSERT INTO a SELECT n, zeroblob(n*13%2500) FROM g");
      capture_exactly(till, model);
      const int64_t full = pages();
      // What one table gives up, the other takes, under the same page numbers.
      till.run("DELETE FROM a WHERE id%2");
      capture_exactly(till, model);
      till.run(numbers(300) + "INSERT INTO b SELECT 'k'||n, zeroblob(n*7%1500) FROM g");
      capture_exactly(till, model);
      if (std::string(vacuum) == "NONE") CHECK(pages() < full + full / 2);
      till.run("BEGIN; DELETE FROM b; DELETE FROM a WHERE id>20; PRAGMA incremental_vacuum; COMMIT");
      capture_exactly(till, model);
      if (std::string(vacuum) != "NONE") CHECK(pages() < full / 4);
      if (round == 1) {
        till.run("VACUUM");
        CHECK(pages() < full / 4);
        capture_exactly(till, model);
      }
      till.run("DELETE FROM a");
    }
    CHECK(till.logged("transactions WHERE flags & 1") == 0);
  }
}

TEST_CASE("capture: a shop that opens with another page size each time, the agent running all the while") {
  Till till(35);
  till.run(kTable);
  till.run(numbers(200) + "INSERT INTO t SELECT n, zeroblob(100) FROM g");
  till.capture();
  Model model(till);
  model.start();
  for (int page_size : {4096, 512, 65536}) {
    INFO("page size " << page_size);
    step_until_idle(till);
    // The page size of a database changes only outside WAL mode.
    till.run("PRAGMA journal_mode=DELETE; PRAGMA page_size=" + std::to_string(page_size) +
             "; VACUUM; PRAGMA journal_mode=WAL; UPDATE t SET v='seen' WHERE id=" + std::to_string(page_size % 199));
    REQUIRE(must(till.app.query_integer("PRAGMA page_size")) == page_size);
    till.capturer->changed();
    capture_exactly(till, model);
    till.run("INSERT INTO t(v) VALUES('after')");
    capture_exactly(till, model);
  }
}

TEST_CASE("capture: journals that are deleted, cut off, kept, or nowhere, by scans") {
  for (const char* mode : {"DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"}) {
    INFO("journal_mode " << mode);
    Till till(36, std::string("PRAGMA page_size=1024; PRAGMA journal_mode=") + mode + "; PRAGMA synchronous=OFF");
    till.run(kTable);
    till.capture();
    Model model(till);
    model.start();
    for (int i = 0; i < 5; i++) {
      till.run("INSERT INTO t(v) VALUES(zeroblob(900)); UPDATE t SET v=id WHERE id%2");
      // Not asked: at its interval.
      till.clock.advance(std::chrono::minutes(2));
      till.capturer->step();
      CHECK(till.capturer->status().mode == "scan");
      CHECK(till.capturer->status().transaction == static_cast<TransactionNo>(i + 1));
    }
    capture_exactly(till, model);
  }
}

TEST_CASE("capture: the agent is off for a day, while the log is begun anew many times") {
  Till till(37, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=10");
  till.run(kTable);
  till.run("INSERT INTO t VALUES(1, 'of yesterday'), (2, 'of yesterday')");
  till.capture();
  Model model(till);
  model.start();
  till.capturer.reset();
  auto salt = [&] {
    return WalHeader::parse(ByteView(read_whole(till.path + "-wal")).first(kWalHeaderSize))->salts.salt1;
  };
  const uint32_t before = salt();
  for (int i = 0; i < 200; i++) till.run("INSERT INTO t(v) VALUES(zeroblob(500)); UPDATE t SET v='today' WHERE id=2");
  till.run("DELETE FROM t WHERE id=1");
  REQUIRE(salt() - before > 10);
  till.restart();
  capture_exactly(till, model);
  // One transaction, with the net of it all.
  CHECK(till.logged("transactions WHERE flags & 1") == 1);
  CHECK(till.logged("transactions") == 1);
  CHECK(till.logged("action_log") == 202);
}

TEST_CASE("hold: nothing is captured, requests fail with the reason, and nothing is lost afterwards") {
  Till till(41);
  till.run(kTable);
  till.capture();
  Model model(till);
  model.start();
  const auto transaction = till.capturer->status().transaction;
  till.run("INSERT INTO t VALUES(1, 'before')");
  const Error full{ErrorKind::no_space, 0, "7 bytes are free"};
  int released = 0;
  till.capturer->hold(CaptureHold{full, capture_problem(full, "")}, [&] { released++; });
  CHECK(released == 0);
  till.capturer->step();
  CHECK(released == 1);
  CHECK(till.capturer->status().mode == "paused");
  CHECK(till.capturer->status().problem->code == "disk_full");
  CHECK(till.capturer->status().transaction == transaction);
  std::optional<Error> answer;
  till.capturer->request_capture([&](Result<Sequence> r) { answer = r.error(); });
  till.capturer->step();
  REQUIRE(answer.has_value());
  CHECK(answer->context == "7 bytes are free");
  SUBCASE("its log kept everything") { till.run("INSERT INTO t VALUES(2, 'meanwhile')"); }
  SUBCASE("its log was begun anew") {
    till.run("INSERT INTO t VALUES(2, 'meanwhile'); PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(3, 'x')");
  }
  till.capturer->hold(std::nullopt);
  till.capture();
  CHECK(till.capturer->status().mode == "wal");
  CHECK_FALSE(till.capturer->status().problem.has_value());
  model.follow();
  check_same(model.content(), till.live());
}

TEST_CASE("hold: the first copy is not begun where it would not leave the till its room") {
  Till till(42);
  till.run(kTable);
  till.run(numbers(200) + "INSERT INTO t SELECT n, zeroblob(800) FROM g");
  till.setup.free_space_min = uint64_t{1} << 60;
  till.capturer = std::make_unique<Capturer>(till.setup);
  for (int i = 0; i < 3; i++) till.capturer->step();
  REQUIRE(till.capturer->status().problem.has_value());
  CHECK(till.capturer->status().problem->code == "disk_full");
  CHECK_FALSE(std::filesystem::exists(till.our_folder + "/pos/replica"));
}

TEST_SUITE_END();
