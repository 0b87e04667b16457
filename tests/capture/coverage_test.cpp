// Kinds of tables, statements, values and files, one by one: after each transaction the log leads to what SQL says, and
// what is kept beside it equals what is made afresh.
#include <cmath>
#include <filesystem>
#include <limits>

#include "capture/replica_checks.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr const char* kPragmas = "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;";

// A database with its log, step by step.
struct Followed {
  Till till;
  std::optional<Model> model;
  explicit Followed(const std::string& sql, const std::string& pragmas = kPragmas) : till(21, pragmas) {
    till.run(sql);
    till.capture();
    model.emplace(till);
    model->start();
  }
  // One transaction of the application; says how many actions it is in the log.
  int64_t run(const std::string& sql) {
    INFO("SQL: " << sql.substr(0, 300));
    auto before = static_cast<int64_t>(till.capturer->status().sequence);
    till.run(sql);
    check();
    return static_cast<int64_t>(till.capturer->status().sequence) - before;
  }
  void check() {
    till.capture();
    model->follow();
    check_same(model->content(), till.live());
    check_replica(till);
    till.capture();
  }
};

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: rowids at their limits, negative, aliased, chosen by SQLite") {
  Followed f(
      "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(v); CREATE TABLE c(n INTEGER PRIMARY KEY DESC, v);"
      "CREATE TABLE d(id INTEGER PRIMARY KEY AUTOINCREMENT, v)");
  CHECK(f.run("INSERT INTO a VALUES(-9223372036854775808, 'least'), (9223372036854775807, 'most'), (0, 'none'), (-1, "
              "'x')") == 4);
  CHECK(f.run("INSERT INTO b(rowid, v) VALUES(-5, 1), (9223372036854775806, 2)") == 2);
  CHECK(f.run("UPDATE a SET id=-id WHERE id=-1; ") == 2);
  // DESC makes it no alias of the rowid: its key is a column like another.
  CHECK(f.run("INSERT INTO c VALUES(7, 'seven'), (3, 'three')") == 2);
  CHECK(f.run("UPDATE c SET v='changed' WHERE n=3") == 1);
  // The counter is a row of its own.
  CHECK(f.run("INSERT INTO d(v) VALUES('x'), ('y')") == 3);
  CHECK(f.run("DELETE FROM d") == 2);
}

TEST_CASE("capture: WITHOUT ROWID with composite, descending and collated keys, rows in interior pages") {
  Followed f(
      "CREATE TABLE w(a TEXT COLLATE NOCASE, b INTEGER, c BLOB, v, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;"
      "CREATE TABLE x(k ANY PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID");
  CHECK(f.run(numbers(600) + "INSERT INTO w SELECT 'Name'||n, n%40, zeroblob(n%7*50), n FROM g") == 600);
  CHECK(f.run("UPDATE w SET v=v+1 WHERE b=3") == 15);
  // 'NAME5' is the same key for the table, and another entity for the log.
  CHECK(f.run("INSERT OR REPLACE INTO w VALUES('NAME5', 5, NULL, 'replaced')") == 2);
  CHECK(f.run("DELETE FROM w WHERE b>30") == 135);
  CHECK(f.run("INSERT INTO x VALUES(1, 'int'), (1.5, 'real'), ('1', 'text'), (x'31', 'blob')") == 4);
}

TEST_CASE("capture: another key whose cell looks the same, because only its overflow pages differ, is another row") {
  Followed f("CREATE TABLE w(k BLOB PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE t(k BLOB PRIMARY KEY, v)");
  for (const char* table : {"w", "t"}) {
    const std::string name = table;
    // SQLite takes the freed page for the new row's end again: same cell, same first overflow page.
    CHECK(f.run("INSERT INTO " + name + " VALUES(zeroblob(1200), 'one')") == 1);
    CHECK(f.run("UPDATE " + name + " SET k = CAST(zeroblob(1199) || x'01' AS BLOB)") == 2);
    // The key stays, the value's end differs: the same row.
    CHECK(f.run("UPDATE " + name + " SET v = 'two'") == 1);
  }
}

TEST_CASE("capture: a key of 0 or 1 is the same key in either form in which SQLite stores it") {
  // DROP COLUMN writes 0 and 1 as bytes; every other statement writes them as serial types of their own.
  Followed f(
      "CREATE TABLE w(k INT, l, x, v, PRIMARY KEY(k, l)) WITHOUT ROWID; CREATE TABLE t(k INT PRIMARY KEY, x, v);"
      "INSERT INTO w VALUES(0, 1, 0, 'a'), (1, 0, 0, 'b'); INSERT INTO t VALUES(0, 0, 'a'), (1, 0, 'b');"
      "ALTER TABLE w DROP COLUMN x; ALTER TABLE t DROP COLUMN x");
  for (const char* table : {"w", "t"}) {
    const std::string name = table;
    CHECK(f.run("UPDATE " + name + " SET v = v || ' changed'") == 2);
    CHECK(f.run("UPDATE " + name + " SET v = v || ' again'") == 2);
    CHECK(f.run("DELETE FROM " + name) == 2);
  }
}

TEST_CASE("capture: columns that are generated, added, renamed and dropped") {
  Followed f(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b AS (a*2) VIRTUAL, c AS (a||'!') STORED);"
      "INSERT INTO t(id, a) VALUES(1, 10), (2, 20)");
  CHECK(f.run("UPDATE t SET a=11 WHERE id=1") == 1);
  f.run("ALTER TABLE t ADD COLUMN d TEXT DEFAULT 'old row'");
  CHECK(f.run("INSERT INTO t(id, a, d) VALUES(3, 30, 'new row')") == 1);
  CHECK(f.run("UPDATE t SET a=21 WHERE id=2") == 1);
  f.run("ALTER TABLE t RENAME COLUMN d TO e");
  f.run("ALTER TABLE t RENAME TO u");
  CHECK(f.run("UPDATE u SET e='renamed' WHERE id=3") == 1);
  f.run("ALTER TABLE u DROP COLUMN e");
  CHECK(f.run("DELETE FROM u WHERE id=2") == 1);
}

TEST_CASE("capture: what REPLACE, UPSERT, cascades and triggers do to other rows") {
  Followed f(
      "PRAGMA foreign_keys=ON; CREATE TABLE customer(id INTEGER PRIMARY KEY, mail UNIQUE, phone UNIQUE);"
      "CREATE TABLE bill(id INTEGER PRIMARY KEY, customer REFERENCES customer ON DELETE CASCADE ON UPDATE CASCADE, "
      "total);"
      "CREATE TABLE line(id INTEGER PRIMARY KEY, bill REFERENCES bill ON DELETE CASCADE, note);"
      "CREATE TABLE sum(k TEXT PRIMARY KEY, n INT);"
      "CREATE TRIGGER counted AFTER INSERT ON bill BEGIN INSERT INTO sum VALUES('bills', 1) ON CONFLICT(k) DO UPDATE "
      "SET n=n+1; END;"
      "INSERT INTO customer VALUES(1, 'a', '1'), (2, 'b', '2'), (3, 'c', '3')");
  CHECK(f.run("INSERT INTO bill VALUES(10, 1, 5), (11, 2, 6)") == 3);
  CHECK(f.run("INSERT INTO line VALUES(1, 10, 'x'), (2, 10, 'y'), (3, 11, 'z')") == 3);
  // Takes the mail of one and the phone of another: both go, and with them what hangs on them.
  f.run("INSERT OR REPLACE INTO customer VALUES(9, 'a', '2')");
  CHECK(must(f.till.app.query_integer("SELECT count(*) FROM bill")) == 0);
  CHECK(f.run("INSERT INTO sum VALUES('bills', 7) ON CONFLICT(k) DO UPDATE SET n=excluded.n") == 1);
  CHECK(f.run("INSERT INTO bill VALUES(12, 3, 1)") == 2);
  CHECK(f.run("UPDATE customer SET id=30 WHERE id=3") == 3);
}

TEST_CASE("capture: a table emptied at once, blobs written in place, savepoints, and what is rolled back") {
  Followed f("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); " + numbers(2000) +
             "INSERT INTO t SELECT n, zeroblob(40) FROM g");
  CHECK(f.run("DELETE FROM t WHERE id<=1000") == 1000);
  CHECK(f.run("DELETE FROM t") == 1000);
  CHECK(f.run("INSERT INTO t VALUES(1, zeroblob(9000))") == 1);
  sqlite3_blob* blob = nullptr;
  REQUIRE(sqlite3_blob_open(f.till.app.handle(), "main", "t", "v", 1, 1, &blob) == SQLITE_OK);
  CHECK(sqlite3_blob_write(blob, "written in place", 16, 7000) == SQLITE_OK);
  CHECK(sqlite3_blob_close(blob) == SQLITE_OK);
  CHECK(f.run("SELECT 1") == 1);
  CHECK(f.run("BEGIN; INSERT INTO t VALUES(2, 'kept'); SAVEPOINT s; DELETE FROM t; INSERT INTO t VALUES(3, 'gone');"
              "ROLLBACK TO s; RELEASE s; COMMIT") == 1);
  CHECK(f.run("BEGIN; DELETE FROM t; ROLLBACK") == 0);
  // Large enough to be spilled into the log before it is rolled back.
  CHECK(f.run("PRAGMA cache_size=5; BEGIN; " + numbers(3000) +
              "INSERT INTO t SELECT n+10, zeroblob(500) FROM g; ROLLBACK") == 0);
  CHECK(f.run("INSERT INTO t VALUES(4, 'after')") == 1);
}

TEST_CASE("capture: values of every kind, at their borders") {
  Followed f(
      "CREATE TABLE v(id INTEGER PRIMARY KEY, x); CREATE TABLE typed(id INTEGER PRIMARY KEY, r REAL, n NUMERIC, t "
      "TEXT, i INT)");
  auto insert = must(f.till.app.prepare("INSERT INTO v(x) VALUES(?)"));
  int64_t rows = 0;
  for (int bits : {0, 7, 8, 15, 16, 23, 24, 31, 32, 47, 48, 62}) {
    for (int64_t around : {-1, 0, 1}) {
      for (int64_t sign : {-1, 1}) {
        must(insert.bind(1, sign * ((int64_t{1} << bits) + around)).run());
        rows++;
      }
    }
  }
  for (double d : {0.0, -0.0, 1e308, -1e308, 5e-324, std::numeric_limits<double>::infinity(),
                   -std::numeric_limits<double>::infinity(), std::nan(""), 9007199254740993.0, 0.1}) {
    must(insert.bind(1, d).run());
    rows++;
  }
  for (std::string text : {std::string(), std::string("\xff\xfe bad utf-8 \xc3"), std::string("nul\0inside", 10),
                           std::string(100000, 't')}) {
    must(insert.bind(1, text).run());
    must(insert.bind(1, as_bytes(text)).run());
    rows += 2;
  }
  must(insert.bind_null(1).run());
  rows++;
  insert.reset();
  f.check();
  CHECK(static_cast<int64_t>(f.till.capturer->status().sequence) == rows);
  CHECK(
      f.run(
          "INSERT INTO typed VALUES(1, 3, '4.0', 5, '6'), (2, 3.5, '4.5', 5.5, 6.5), (3, '3', 'four', x'05', 'six')") ==
      3);
  CHECK(f.run("UPDATE typed SET r=3.0, n=4 WHERE id=1") == 0);
  CHECK(f.run("UPDATE typed SET r=7 WHERE id=2") == 1);
}

TEST_CASE("capture: a BLOB and a text of 100 MB") {
  Followed f("CREATE TABLE v(id INTEGER PRIMARY KEY, x)",
             "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
  auto newest = [&] {
    return must(f.till.state->lease()->query_integer("SELECT length(data) FROM action_log ORDER BY id DESC LIMIT 1"));
  };
  f.till.run("INSERT INTO v VALUES(1, zeroblob(100000000))");
  f.till.capture();
  CHECK(f.till.capturer->status().sequence == 1);
  f.till.run("UPDATE v SET x=zeroblob(99999999)||x'01'");
  f.till.capture();
  CHECK(f.till.capturer->status().sequence == 2);
  CHECK(newest() > 100000000);
  f.till.run("UPDATE v SET x=hex(zeroblob(49999999))||'é'");
  f.till.capture();
  CHECK(f.till.capturer->status().sequence == 3);
  CHECK(newest() > 100000000);
}

TEST_CASE("capture: every page size, with reserved bytes, and each way of vacuuming") {
  for (int page_size : {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}) {
    for (const char* vacuum : {"NONE", "FULL", "INCREMENTAL"}) {
      INFO("page size " << page_size << ", auto_vacuum " << vacuum);
      int reserve = page_size == 512 ? 0 : 32;
      Till till(22, "");
      if (reserve) {
        REQUIRE(sqlite3_file_control(till.app.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve) == SQLITE_OK);
      }
      till.run("PRAGMA page_size=" + std::to_string(page_size) + "; PRAGMA auto_vacuum=" + vacuum +
               "; CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
               "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF");
      till.capture();
      Model model(till);
      model.start();
      const char* steps[] = {"INSERT INTO t SELECT n, zeroblob(n*97%5000) FROM g",
                             "INSERT INTO w SELECT 'k'||n, zeroblob(n*31%900) FROM g", "DELETE FROM t WHERE id%3=0",
                             "DELETE FROM w", "UPDATE t SET v=zeroblob(length(v)+1) WHERE id%5=0"};
      for (auto* step : steps) {
        till.run(numbers(150) + step);
        till.run("PRAGMA incremental_vacuum(3)");
        till.capture();
        model.follow();
        check_same(model.content(), till.live());
      }
      till.run("VACUUM");
      till.capture();
      model.follow();
      check_same(model.content(), till.live());
      check_replica(till);
    }
  }
}

TEST_CASE("capture: VACUUM to another page size, and VACUUM INTO") {
  Followed f(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE k(a, b); " + numbers(300) +
      "INSERT INTO t SELECT n, zeroblob(200) FROM g; INSERT INTO k SELECT id, v FROM t; DELETE FROM k WHERE a%4=0");
  CHECK(f.run("VACUUM INTO '" + f.till.folder.path() + "/copy.db'") == 0);
  // The page size changes only outside WAL mode.
  f.till.capturer.reset();
  f.till.run(
      "PRAGMA journal_mode=DELETE; PRAGMA page_size=4096; VACUUM; PRAGMA journal_mode=WAL; UPDATE t SET v='seen' WHERE "
      "id=7");
  f.till.restart();
  f.check();
  CHECK(f.run("INSERT INTO t VALUES(1000, 'after')") == 1);
}

TEST_CASE("capture: full-text and R-tree tables, by their shadow tables") {
  Followed f(
      "CREATE VIRTUAL TABLE f3 USING fts3(body); CREATE VIRTUAL TABLE f4 USING fts4(title, body);"
      "CREATE VIRTUAL TABLE f5 USING fts5(body); CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)");
  f.run("INSERT INTO f3 VALUES('milk and bread'), ('coffee')");
  f.run("INSERT INTO f4 VALUES('a', 'milk and bread')");
  f.run("INSERT INTO f5 VALUES('milk and bread'), ('coffee'), ('tea')");
  f.run("INSERT INTO r VALUES(1, 0, 1), (2, 5, 9)");
  f.run("DELETE FROM f5 WHERE f5 MATCH 'coffee'");
  f.run("UPDATE r SET x1=20 WHERE id=2");
  f.run("INSERT INTO f5(f5) VALUES('optimize')");
  f.run("DROP TABLE f4");
}

TEST_CASE("capture: an attached database takes part in a transaction, two writers take turns") {
  Followed f("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  auto other = f.till.folder.path() + "/other.db";
  CHECK(f.run("ATTACH '" + other +
              "' AS o; CREATE TABLE o.x(v); BEGIN; INSERT INTO t VALUES(1, 'a'); INSERT INTO o.x VALUES(2); COMMIT; "
              "DETACH o") == 1);
  auto second = must(Connection::open(f.till.path, SQLITE_OPEN_READWRITE));
  for (int i = 0; i < 20; i++) {
    f.till.run("INSERT INTO t(v) VALUES('first')");
    must(second.execute("INSERT INTO t(v) VALUES('second')"));
  }
  f.check();
  CHECK(f.till.logged("transactions WHERE flags=0") == 41);
}

TEST_SUITE_END();
