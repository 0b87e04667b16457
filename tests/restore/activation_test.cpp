// Restored content put into the live database: one transaction for everybody who looks, captured as what it is.
#include <filesystem>
#include <thread>

#include "actionlog/log_query.h"
#include "capture/replica_checks.h"
#include "restore/activation.h"
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// A shop that was restored to `then` while an application has it open.
struct LiveRestore : RestoreWorld {
  Uuid workflow = Uuid::parse("01a2148f-85c6-71bc-a933-22e66d8c2a46").value();
  std::string staged = folder / "staged.db", safety = folder / "safety.db";
  using RestoreWorld::RestoreWorld;

  // What the database holds now becomes what is to be restored.
  void stage() {
    std::filesystem::remove(staged);
    auto copy = must(Connection::open(staged, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    auto* backup = sqlite3_backup_init(copy.handle(), "main", app.handle(), "main");
    REQUIRE(sqlite3_backup_step(backup, -1) == SQLITE_DONE);
    sqlite3_backup_finish(backup);
    capture();
    restored_sequence = capturer->status().sequence;
    state_then = state_digest(must(count_tables(files, staged)));
  }
  Sequence restored_sequence = 0;
  Digest state_then{};

  ActivationRequest request() {
    ActivationRequest what;
    what.workflow = workflow;
    what.restored_sequence = restored_sequence;
    what.state = state_then;
    what.description = R"({"workflow":"w"})";
    what.schema_cookie_min = must(schema_cookie_of(files, staged));
    what.write = [this](Connection& live, uint32_t cookie) -> Result<void> {
      auto done = replace_content(live, {&files, staged, safety}, cookie, nullptr);
      if (!done) return std::move(done).error();
      return {};
    };
    return what;
  }
  Result<void> activate(ActivationRequest what, int steps = 2000) {
    std::optional<Result<void>> outcome;
    capturer->request_activation(std::move(what), [&](Result<void> r) { outcome = std::move(r); });
    for (int i = 0; i < steps && !outcome; i++) clock.advance(capturer->step());
    REQUIRE(outcome);
    return std::move(*outcome);
  }
  std::optional<CapturedActivation> captured() {
    return must(captured_activation(*state->lease(), database_id, workflow));
  }
  Json log() {
    Json all = Json::array();
    LogFilter filter;
    filter.limit = 1000;
    for (auto& action : must(query_log(*state, database_id, lineage, Json::object(), filter)).actions)
      all.push_back(action);
    return all;
  }
  void check_integrity() {
    CHECK(must(app.query_text("PRAGMA integrity_check")) == "ok");
    auto fresh = must(Connection::open(path, SQLITE_OPEN_READWRITE));
    CHECK(must(fresh.query_text("PRAGMA integrity_check")) == "ok");
  }
};

constexpr const char* kShop =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE INDEX t_v ON t(v); CREATE TABLE u(k TEXT PRIMARY KEY, w) "
    "WITHOUT "
    "ROWID";

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("activation: an attached application sees the old content, then the new, and goes on, the log has it") {
  std::string pragmas = "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;";
  SUBCASE("WAL") {}
  SUBCASE("a rollback journal") { pragmas = "PRAGMA page_size=1024; PRAGMA journal_mode=DELETE;"; }
  SUBCASE("auto-vacuum") { pragmas.insert(0, "PRAGMA auto_vacuum=FULL; "); }
  SUBCASE("UTF-16, pages of 65536") { pragmas.replace(0, 22, "PRAGMA encoding='UTF-16'; PRAGMA page_size=65536;"); }
  LiveRestore w(1, pragmas);
  w.run(std::string(kShop) + ";" + numbers(300) + "INSERT INTO t SELECT n, hex(zeroblob(n)) FROM g");
  w.run("INSERT INTO u VALUES('a', 1), ('b', 2)");
  w.stage();
  const Content then = w.live();
  bool grows = false;
  SUBCASE("shrinks") {}
  SUBCASE("grows") { grows = true; }
  w.run(grows ? "DELETE FROM t WHERE id>20; VACUUM"
              : numbers(900) + "INSERT INTO t SELECT 1000+n, hex(zeroblob(n)) FROM g; DELETE FROM u");
  w.run("UPDATE t SET v='sold' WHERE id%3=0");
  const Content before = w.live();
  // Prepared and cached, as an application has it: what it shows must be the new content.
  auto total = must(w.app.prepare("SELECT count(*), sum(length(v)) FROM t"));
  REQUIRE(must(total.step()));
  total.reset();

  must(w.activate(w.request()));
  REQUIRE(must(total.step()));
  CHECK(total.integer(0) == 300);
  total.reset();
  CHECK(w.live() == then);
  w.check_integrity();
  w.capture();
  auto captured = w.captured();
  REQUIRE(captured);
  if (pragmas.find("DELETE") == pragmas.npos) CHECK(captured->proven == true);
  CHECK_FALSE(must(read_pending_activation(*w.state->lease(), w.database_id)));
  check_replica(w);
  w.restart();

  // What was there before is a database of its own.
  auto old = must(Connection::open(w.safety, SQLITE_OPEN_READWRITE));
  CHECK(must(old.query_text("PRAGMA integrity_check")) == "ok");
  auto counted = must(count_tables(w.files, w.safety));
  for (auto& table : counted) CHECK(table.rows == before.at(table.name).size());
  old.close();

  w.run("INSERT INTO t VALUES(5000, 'after the restore')");
  w.capture();
  check_replica(w);
  w.restart();
  for (auto& action : w.log()) {
    const auto sequence = action["sequence"].get<Sequence>();
    INFO(action.dump());
    if (sequence == captured->sequence) {
      CHECK(action["action"] == "RESTORE");
      CHECK(action["data"]["workflow"] == "w");
    }
    CHECK((action["status"] == "ROLLED_BACK") == (sequence > w.restored_sequence && sequence < captured->sequence));
  }
}

TEST_CASE("activation: the agent ends after the commit, and still knows its transaction") {
  LiveRestore w(2, kNoCheckpoint);
  w.run(std::string(kTable) + "; INSERT INTO t VALUES(1, 'one')");
  w.stage();
  w.run("INSERT INTO t VALUES(2, 'two')");
  w.capture();
  must(w.activate(w.request()));
  // Killed here: the capturer has not looked at the log since.
  CHECK_FALSE(w.captured());
  w.capturer.reset();
  SUBCASE("the log is there") {}
  SUBCASE("the log was begun anew, and the schema changed meanwhile") {
    w.run("CREATE TABLE later(x); PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO later VALUES(1)");
    w.run("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO later VALUES(2)");
  }
  w.restart();
  w.capture();
  CHECK(w.captured());
  CHECK(w.logged("activations") == 1);
  CHECK(w.logged("pending_activations") == 0);
  check_replica(w);
}

TEST_CASE("activation: someone keeps writing: nothing is changed, capture goes on, and it is said who") {
  LiveRestore w(3, kNoCheckpoint);
  w.run(std::string(kTable) + "; INSERT INTO t VALUES(1, 'one')");
  w.stage();
  w.run("INSERT INTO t VALUES(2, 'two')");
  w.setup.who_holds = [](const std::string&) { return std::string("process 4711 (till)"); };
  w.restart();
  w.capture();
  w.run("BEGIN IMMEDIATE; INSERT INTO t VALUES(3, 'three')");
  auto what = w.request();
  what.patience = std::chrono::milliseconds(500);
  auto refused_by = w.activate(what);
  REQUIRE(!refused_by);
  CHECK(refused_by.error().kind == ErrorKind::timeout);
  CHECK(refused_by.error().context.find("process 4711 (till)") != std::string::npos);
  w.run("COMMIT");
  CHECK(must(w.app.query_integer("SELECT count(*) FROM t")) == 3);
  w.capture();
  CHECK_FALSE(w.captured());
  // And then it works.
  must(w.activate(w.request()));
  CHECK(must(w.app.query_integer("SELECT count(*) FROM t")) == 1);
}

TEST_CASE("activation: a failure on the way leaves the old content") {
  LiveRestore w(4, kNoCheckpoint);
  w.run(std::string(kTable) + "; " + numbers(2000) + "INSERT INTO t SELECT n, zeroblob(200) FROM g");
  w.stage();
  w.run("UPDATE t SET v='changed'");
  const Content before = w.live();
  auto what = w.request();
  SUBCASE("cancelled in the middle") {
    what.write = [&](Connection& live, uint32_t cookie) -> Result<void> {
      int looks = 0;
      auto done = replace_content(live, {&w.files, w.staged, w.safety}, cookie,
                                  [&](uint64_t, uint64_t) { return ++looks < 2; });
      REQUIRE(!done);
      CHECK(done.error().kind == ErrorKind::cancelled);
      return std::move(done).error();
    };
  }
  SUBCASE("after everything was written") {
    what.write = [&](Connection& live, uint32_t cookie) -> Result<void> {
      must(replace_content(live, {&w.files, w.staged, w.safety}, cookie, nullptr));
      return Error{ErrorKind::no_space, 0, "the disk is full"};
    };
  }
  CHECK_FALSE(w.activate(what));
  CHECK(w.live() == before);
  w.check_integrity();
  w.capture();
  CHECK_FALSE(w.captured());
  CHECK(w.logged("pending_activations") == 0);
  check_replica(w);
}

TEST_CASE("activation: a file that differs in kind is refused, with what to do") {
  LiveRestore w(5, kNoCheckpoint);
  w.run(std::string(kTable) + "; INSERT INTO t VALUES(1, 'one')");
  w.capture();
  std::string pragma, named;
  SUBCASE("page size") { pragma = "page_size=4096", named = "4096 bytes"; }
  SUBCASE("encoding") { pragma = "page_size=1024; PRAGMA encoding='UTF-16'", named = "text encoding"; }
  SUBCASE("auto-vacuum") { pragma = "page_size=1024; PRAGMA auto_vacuum=INCREMENTAL", named = "auto-vacuum"; }
  {
    auto other = must(Connection::open(w.staged, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    must(other.execute("PRAGMA " + pragma + "; CREATE TABLE t(id INTEGER PRIMARY KEY, v)"));
  }
  auto live = must(AppDatabase::open(w.path, AppDatabase::Use::read));
  must(live.begin_read());
  auto error = refused(check_replaceable(w.files, w.staged, live));
  live.end_read();
  CHECK(error.kind == ErrorKind::schema);
  CHECK(error.context.find(named) != std::string::npos);
  CHECK(error.context.find("--to") != std::string::npos);
  CHECK_FALSE(w.activate(w.request()));
  CHECK(must(w.app.query_integer("SELECT count(*) FROM t")) == 1);
}

TEST_CASE("activation: a damaged database is restored as it is, and captured again") {
  LiveRestore w(6, kNoCheckpoint);
  w.run(std::string(kTable) + "; " + numbers(500) + "INSERT INTO t SELECT n, zeroblob(300) FROM g");
  w.stage();
  w.run("PRAGMA wal_checkpoint(TRUNCATE)");
  w.capture();
  w.capturer.reset();
  w.app.close();
  {
    auto file = must(w.files.open(w.path, OpenMode::read_write));
    Bytes rubbish(1024, 0x5a);
    must(file->write(5 * 1024, rubbish));
    must(file->write(9 * 1024, rubbish));
  }
  w.restart();
  for (int i = 0; i < 20; i++) w.clock.advance(w.capturer->step());
  REQUIRE(w.capturer->status().problem);
  REQUIRE(w.capturer->status().problem->code == "database_damaged");
  must(w.activate(w.request()));
  w.app = must(Connection::open(w.path, SQLITE_OPEN_READWRITE));
  w.check_integrity();
  for (int i = 0; i < 20; i++) w.clock.advance(w.capturer->step());
  CHECK_FALSE(w.capturer->status().problem);
  w.run("INSERT INTO t VALUES(9999, 'after')");
  w.capture();
  CHECK(w.captured());
  check_replica(w);
}

TEST_CASE("activation: readers that look all the while see one content or the other") {
  LiveRestore w(7, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
  w.run(std::string(kTable) + "; " + numbers(3000) + "INSERT INTO t SELECT n, 'old' FROM g");
  w.stage();
  w.run("UPDATE t SET v='newer'");
  w.capture();
  std::atomic<bool> stop = false;
  std::atomic<int64_t> looks = 0, mixed = 0;
  std::thread reader([&] {
    auto db = must(Connection::open(w.path, SQLITE_OPEN_READWRITE));
    while (!stop) {
      auto kinds = must(db.query_integer("SELECT count(DISTINCT v)*1000000+count(*) FROM t"));
      if (kinds != 1003000) mixed++;
      looks++;
    }
  });
  struct Join {
    std::atomic<bool>& stop;
    std::thread& thread;
    ~Join() {
      stop = true;
      if (thread.joinable()) thread.join();
    }
  } join{stop, reader};
  while (looks == 0) std::this_thread::yield();
  for (int i = 0; i < 10; i++) {
    must(w.activate(w.request()));
    w.capture();
    if (i < 9) w.run("UPDATE t SET v='newer'");
  }
  stop = true;
  reader.join();
  CHECK(mixed == 0);
  CHECK(must(w.app.query_text("SELECT DISTINCT v FROM t")) == "old");
}

TEST_SUITE_END();
