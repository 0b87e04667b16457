#include <doctest/doctest.h>

#include "platform/this_system.h"
#include "sqlite/file_vfs.h"
#include "state/state_db.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {
struct Vfs {
  TemporaryDirectory folder;
  SystemFiles files;
  SystemClock clock;
  SystemRandom random;
  FileVfs vfs{files, clock, random};
  static constexpr int kCreate = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  Connection open(const std::string& name) { return must(Connection::open(folder / name, kCreate, vfs.name())); }
};

// A database with a write-ahead log, on a disk in memory.
struct Logged {
  MemoryFileSystem disk;
  FaultyFileSystem files{disk};
  FakeClock clock;
  SeededRandom random;
  FileVfs vfs{files, clock, random};
  explicit Logged(uint64_t seed) : random(seed) { disk.add_directory("/state"); }
  Connection open() {
    auto db = must(Connection::open("/state/s.db", Vfs::kCreate, vfs.name()));
    must(db.execute("PRAGMA page_size=1024; PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=NORMAL"));
    REQUIRE(must(db.query_text("PRAGMA journal_mode=WAL")) == "wal");
    return db;
  }
};

std::string content_of(Connection& db) {
  return must(
      db.query_text("SELECT coalesce(group_concat(a || ':' || hex(b), ','), '') FROM (SELECT * FROM t ORDER BY a)"));
}
}  // namespace

TEST_SUITE("sqlite") {
  TEST_CASE("file vfs: what a commit appends to the log is one write") {
    Logged logged(1);
    auto db = logged.open();
    must(db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"));
    int writes = 0;
    uint64_t frames = 0;
    const auto size = [&] { return must(logged.disk.stat("/state/s.db-wal")).size; };
    logged.files.on_call([&](const std::string& call) -> std::optional<ErrorKind> {
      writes += call.starts_with("write ") && call.ends_with("-wal");
      return std::nullopt;
    });
    const uint64_t before = size();
    must(
        db.execute("BEGIN; INSERT INTO t WITH n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<40) SELECT x, "
                   "randomblob(900) FROM n; COMMIT"));
    frames = (size() - before) / (1024 + 24);
    CHECK(frames >= 40);
    CHECK(writes == 1);
    // More than is kept in memory.
    must(
        db.execute("BEGIN; INSERT INTO t WITH n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<400) SELECT 100+x, "
                   "randomblob(900) FROM n; COMMIT"));
    CHECK(writes > 1);
    CHECK(writes < 6);
  }

  TEST_CASE("file vfs: after each commit the files hold it, whatever came before") {
    SeededRandom random(SeededRandom::seed_of_this_run());
    Logged logged(random.next());
    auto db = logged.open();
    must(db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"));
    const auto change = [&] {
      const std::string a = std::to_string(random.below(300)), n = std::to_string(random.below(1500));
      switch (random.below(3)) {
        case 0: return "DELETE FROM t WHERE a=" + a + ";";
        case 1: return "INSERT OR REPLACE INTO t VALUES(" + a + ", randomblob(" + n + "));";
        default: return "UPDATE t SET b=randomblob(" + n + ") WHERE a BETWEEN " + a + " AND " + a + "+9;";
      }
    };
    for (int i = 0; i < 200; i++) {
      CAPTURE(i);
      // Where the cache is small, pages go into the log before the commit, and again: their checksums are renewed.
      must(db.execute("PRAGMA cache_size=" + std::to_string(random.chance(50) ? 3 : 200) +
                      "; PRAGMA wal_autocheckpoint=" + std::to_string(random.chance(50) ? 30 : 1000) + "; BEGIN"));
      for (uint64_t n = 1 + random.below(20); n > 0; n--) {
        std::string sql = change();
        if (random.chance(20)) sql = "SAVEPOINT s;" + sql + change() + "ROLLBACK TO s; RELEASE s;";
        must(db.execute(sql));
        // Reads what was put into the log in this transaction.
        if (random.chance(10)) (void)content_of(db);
      }
      if (random.chance(20)) {
        must(db.execute("ROLLBACK"));
        continue;
      }
      must(db.execute("COMMIT"));
      Logged killed(1);
      killed.disk.copy_from(logged.disk);
      auto again = killed.open();
      CHECK(must(again.query_text("PRAGMA integrity_check")) == "ok");
      REQUIRE(content_of(again) == content_of(db));
    }
  }

  TEST_CASE("file vfs: a commit that finds no room is undone, and the next one is whole") {
    Logged logged(1);
    auto db = logged.open();
    must(db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES(1, x'01')"));
    for (const int cache : {3, 200}) {
      must(db.execute("PRAGMA cache_size=" + std::to_string(cache)));
      const std::string before = content_of(db);
      logged.disk.set_capacity(logged.disk.used() + 20000);
      CHECK(kind_of(db.execute("BEGIN; INSERT INTO t WITH n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<100) "
                               "SELECT 1000+x, randomblob(900) FROM n; COMMIT")) == ErrorKind::no_space);
      (void)db.execute("ROLLBACK").has_value();
      logged.disk.set_capacity(100 << 20);
      CHECK(content_of(db) == before);
      must(db.execute("INSERT INTO t VALUES(" + std::to_string(cache) + ", x'02')"));
      Logged killed(1);
      killed.disk.copy_from(logged.disk);
      auto again = killed.open();
      CHECK(content_of(again) == content_of(db));
    }
  }

  TEST_CASE_FIXTURE(Vfs, "file vfs: a database written through it is an ordinary one for SQLite's own vfs") {
    for (const char* mode : {"delete", "truncate", "persist", "wal"}) {
      CAPTURE(mode);
      std::string name = std::string(mode) + ".db";
      {
        auto db = open(name);
        must(db.execute("PRAGMA locking_mode=EXCLUSIVE"));
        CHECK(must(db.query_text("PRAGMA journal_mode=" + std::string(mode))) == mode);
        must(
            db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB); CREATE INDEX i ON t(b);"
                       "WITH n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<2000) INSERT INTO t SELECT x, "
                       "randomblob(300) FROM n"));
        must(db.execute("DELETE FROM t WHERE a%3=0; VACUUM"));
      }
      auto plain = must(Connection::open(folder / name, SQLITE_OPEN_READWRITE));
      CHECK(must(plain.query_text("PRAGMA integrity_check")) == "ok");
      CHECK(must(plain.query_integer("SELECT count(*) FROM t")) == 1334);
    }
  }

  TEST_CASE_FIXTURE(Vfs, "file vfs: a rolled back transaction leaves nothing") {
    auto db = open("r.db");
    must(db.execute("CREATE TABLE t(a)"));
    {
      auto transaction = must(Transaction::begin(db));
      must(db.execute("INSERT INTO t VALUES(1)"));
    }
    CHECK(must(db.query_integer("SELECT count(*) FROM t")) == 0);
    auto transaction = must(Transaction::begin(db));
    must(db.execute("INSERT INTO t VALUES(1)"));
    must(transaction.commit());
    CHECK(must(db.query_integer("SELECT count(*) FROM t")) == 1);
  }

  TEST_CASE_FIXTURE(Vfs, "file vfs: temporary tables and large sorts work without a named file") {
    auto db = open("t.db");
    must(db.execute("PRAGMA temp_store=FILE; PRAGMA cache_size=10; CREATE TEMP TABLE s(a, b)"));
    must(
        db.execute("WITH n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<5000) INSERT INTO s SELECT x, "
                   "hex(randomblob(200)) FROM n"));
    CHECK(must(db.query_integer("SELECT count(*) FROM (SELECT b FROM s ORDER BY b, a)")) == 5000);
  }

  TEST_CASE_FIXTURE(Vfs, "file vfs: a second opener is told busy") {
    auto first = open("b.db");
    must(first.execute("CREATE TABLE t(a)"));
    auto second = open("b.db");
    CHECK(kind_of(second.execute("INSERT INTO t VALUES(1)")) == ErrorKind::transient);
  }

  TEST_CASE_FIXTURE(Vfs, "file vfs: WAL without exclusive locking is refused, because there is no shared memory") {
    auto db = open("w.db");
    CHECK(must(db.query_text("PRAGMA journal_mode=WAL")) != "wal");
  }

  TEST_CASE_FIXTURE(Vfs, "connection: errors carry the statement and SQLite's words") {
    auto db = open("e.db");
    auto error = refused(db.execute("SELECT * FROM absent"));
    CAPTURE(error.context);
    CHECK(contains(error.context, "SELECT * FROM absent"));
    CHECK(contains(error.context, "no such table"));
    CHECK(sqlite_error(SQLITE_FULL, "x").kind == ErrorKind::no_space);
    CHECK(sqlite_error(SQLITE_IOERR_READ, "x").kind == ErrorKind::transient);
    CHECK(sqlite_error(SQLITE_BUSY_SNAPSHOT, "x").kind == ErrorKind::transient);
    CHECK(kind_of(Connection::open(folder / "no/e.db", SQLITE_OPEN_READONLY, vfs.name())) == ErrorKind::not_found);
    must(must(files.open(folder / "garbage", OpenMode::create))->write(0, Bytes(4096, 'x')));
    auto garbage = open("garbage");
    CHECK(kind_of(garbage.query_integer("SELECT count(*) FROM sqlite_schema")) == ErrorKind::corrupt);
  }

  TEST_CASE_FIXTURE(Vfs, "connection: values come back as they were bound") {
    auto db = open("v.db");
    auto query = must(db.prepare("SELECT ?1, ?2, ?3, ?4, ?5, ?6"));
    query.bind(1, int64_t{-7})
        .bind(2, 2.5)
        .bind(3, "t\xc3\xa9xt")
        .bind(4, ByteView())
        .bind(5, std::string_view())
        .bind_null(6);
    REQUIRE(must(query.step()));
    CHECK(query.integer(0) == -7);
    CHECK(query.real(1) == 2.5);
    CHECK(query.text(2) == "t\xc3\xa9xt");
    CHECK_FALSE(query.is_null(3));
    CHECK(query.blob(3).empty());
    CHECK_FALSE(query.is_null(4));
    CHECK(query.is_null(5));
    CHECK_FALSE(query.optional_text(5).has_value());
    CHECK_FALSE(must(query.step()));
    CHECK(quote_identifier("a\"b") == "\"a\"\"b\"");
  }
}

TEST_SUITE("state") {
  TEST_CASE_FIXTURE(Vfs, "state.db: opens through the file vfs, keeps its settings and has every migration recorded") {
    {
      auto state = must(StateDb::open(folder / "state.db", vfs.name(), clock));
      CHECK(must(state->lease()->query_text("PRAGMA journal_mode")) == "wal");
      must(state->set_setting("a", "1"));
      must(state->set_setting("a", "2"));
      must(state->make_durable());
      CHECK(state->durable_syncs() == 1);
    }
    auto state = must(StateDb::open(folder / "state.db", vfs.name(), clock));
    CHECK(must(state->setting("a")) == "2");
    CHECK_FALSE(must(state->setting("b")).has_value());
    CHECK(must(state->lease()->query_integer("SELECT max(version) FROM migrations")) == state_schema_version_latest());
  }

  TEST_CASE_FIXTURE(Vfs, "state.db: a second agent on the same folder is refused and told why") {
    auto first = must(StateDb::open(folder / "state.db", vfs.name(), clock));
    auto error = refused(StateDb::open(folder / "state.db", vfs.name(), clock));
    CHECK(error.kind == ErrorKind::conflict);
    CHECK(contains(error.context, "another agent"));
  }

  TEST_CASE_FIXTURE(Vfs, "state.db: one made by a newer tillsync is refused and left alone") {
    {
      must(must(StateDb::open(folder / "state.db", vfs.name(), clock))
               ->lease()
               ->execute("INSERT INTO migrations(version, name, applied_at, checksum) VALUES(999, 'later', 0, '')"));
    }
    auto error = refused(StateDb::open(folder / "state.db", vfs.name(), clock));
    CHECK(error.kind == ErrorKind::schema);
    CHECK(contains(error.context, "newer"));
  }
}
