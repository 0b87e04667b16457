// A stop of the agent: whatever it is doing ends soon, nothing is half done, and all of it is captured another time.
#include <fstream>
#include <mutex>

#include "capture/replica_checks.h"
#include "support/faulty_file_system.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: asked to stop in the middle of a scan or of a long log, it stops, and goes on another time") {
  Till till(19, kNoCheckpoint);
  till.run(std::string(kTable) + ";" + numbers(500) + "INSERT INTO t SELECT n, 'before' FROM g");
  till.capture();
  Model model(till);
  model.start();
  const auto sequence = till.capturer->status().sequence;
  SUBCASE("the rows of a scan are compared") {
    till.capturer.reset();
    // The log is begun anew, so that the agent has to look at everything.
    till.run("UPDATE t SET v='after'; PRAGMA wal_checkpoint(TRUNCATE); UPDATE t SET v='again' WHERE id%2=0");
    till.run("PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t WHERE id%3=0");
    till.restart();
    till.capturer->interrupt();
    till.capturer->step();
    CHECK(till.capturer->status().sequence == sequence);
  }
  SUBCASE("transactions of a log are read") {
    for (int i = 1; i <= 20; i++) till.run("UPDATE t SET v=" + std::to_string(i));
    till.capturer->interrupt();
    till.capturer->step();
    CHECK(till.capturer->status().sequence < sequence + 20 * 500);
  }
  till.restart();
  till.capture();
  check_exact(till, model);
}

TEST_CASE("capture: a stop at any moment of a scan ends it within a few reads and writes") {
  SystemFiles real;
  FaultyFileSystem files(real);
  TemporaryDirectory ours;
  std::mutex strings;  // state.db is checkpointed in a thread of its own
  std::string call, moment;
  Till till(20, "PRAGMA page_size=4096; PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;", files, ours.path());
  till.open_state();
  // Rows that are compared in place, by their key, and by a key that is not the tree's: of those there are so many that
  // they are put aside, in a file.
  till.run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
      "CREATE TABLE k(k TEXT PRIMARY KEY, v);" +
      numbers(6000) + "INSERT INTO t SELECT n, zeroblob(300) FROM g; INSERT INTO w SELECT 'w'||id, v FROM t;" +
      "INSERT INTO k SELECT 'k'||id, zeroblob(700) FROM t");
  till.capture();
  Model model(till);
  model.start();
  const Sequence before = till.capturer->status().sequence;
  till.capturer.reset();
  till.run(
      "UPDATE t SET v=id; UPDATE w SET v=1; UPDATE k SET rowid=rowid+100000, v=v||'1'; ALTER TABLE k ADD COLUMN c "
      "DEFAULT 'counted anew'");

  // 256 pages are compared, and put aside, between two looks.
  constexpr uint64_t kCallsMax = 2 * 256 + 64;
  // While rows are logged: what does not fit into memory is written in few calls.
  till.restart();
  files.reset();
  uint64_t calls_at_stop = 0;
  bool pairs = false;
  files.on_call([&](const std::string& one) -> std::optional<ErrorKind> {
    std::lock_guard lock(strings);
    pairs = pairs || (one.starts_with("read ") && one.ends_with("/pairing.tmp"));
    if (pairs && calls_at_stop == 0 && one.starts_with("write ") && one.ends_with("/state.db-wal")) {
      calls_at_stop = files.calls();
      till.capturer->interrupt();
    }
    return std::nullopt;
  });
  till.capturer->step();
  files.on_call(nullptr);
  REQUIRE(calls_at_stop > 0);
  CHECK(files.calls() - calls_at_stop <= kCallsMax);
  CHECK(model.last_sequence() == before);

  std::map<std::string, int> stops;
  bool asked = true;
  for (uint64_t n = 1; asked; n += 449) {
    till.restart();
    files.reset();
    files.on_call([&](const std::string& one) -> std::optional<ErrorKind> {
      std::lock_guard lock(strings);
      call = one.substr(0, one.find(' ')) + " " + one.substr(one.rfind('/') + 1);
      return std::nullopt;
    });
    asked = false;
    files.at_call(n, [&] {
      std::lock_guard lock(strings);
      asked = true;
      moment = call;
      till.capturer->interrupt();
    });
    till.capturer->step();
    if (till.capturer->status().sequence != before) break;  // it came when all was done but the commit
    CAPTURE(n);
    CAPTURE(moment);
    REQUIRE(asked);
    CHECK(files.calls() - n <= kCallsMax);
    CHECK(model.last_sequence() == before);
    stops[moment]++;
  }
  // While pages were put aside and compared, and rows put aside and paired.
  for (const std::string one :
       {"write scan.tmp", "read replica-1.db", "write pairing.tmp", "read pairing.tmp", "read scan.tmp"}) {
    CAPTURE(one);
    CHECK(stops[one] > 0);
  }
  till.restart();
  till.capture();
  check_exact(till, model);
}

// What can't be read is compared with our copy before it is called damaged. A pause in the middle of that says nothing
// of the copy.
TEST_CASE("capture: a hold at any moment of looking at a damaged database does not lose our copy of it") {
  constexpr const char* kSound = "PRAGMA page_size=1024; PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;";
  uint64_t held = 0;
  for (uint64_t moment = 1; moment == 1 || held > 0; moment += 7) {
    CAPTURE(moment);
    SystemFiles real;
    FaultyFileSystem files(real);
    TemporaryDirectory ours;
    Till till(23, kSound, files, ours.path());
    till.open_state();
    till.run(std::string(kTable) + ";" + numbers(200) + "INSERT INTO t SELECT n, zeroblob(300) FROM g");
    till.capture();
    till.capturer.reset();
    till.setup.scan_interval = std::chrono::milliseconds(0);
    int lost = 0, damaged = 0;
    till.setup.on_copy_lost = [&](const Error&) { lost++; };
    till.setup.on_damaged = [&](const Error&) { damaged++; };
    till.restart();
    // A row on every page, so that all of them are looked at; then one page is no page any more.
    till.run("UPDATE t SET v='after'");
    const auto pages = must(till.app.query_integer("PRAGMA page_count"));
    till.app.close();
    {
      std::fstream file(till.path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp((pages - 1) * 1024);
      file << std::string(1024, '\xff');
    }
    const Error why{ErrorKind::conflict, 0, "an installer"};
    held = 0;
    files.reset();
    files.at_call(moment, [&] {
      held = moment;
      till.capturer->hold(CaptureHold{why, {"paused", "", ""}});
    });
    for (int i = 0; i < 12 && damaged == 0; i++) {
      till.clock.advance(std::chrono::seconds(60));
      till.capturer->step();
      if (till.capturer->status().mode == "paused") till.capturer->hold(std::nullopt);
    }
    files.reset();  // the moment may never have come
    CHECK(lost == 0);
    CHECK(damaged == 1);
  }
}

TEST_SUITE_END();
