// What a change of schema, a VACUUM and the like become in the log: what they mean, not what they did to pages.
#include <filesystem>

#include "capture/replica_checks.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// What was logged since the last look: "CREATE t", "SCHEMA sqlite_schema" … with how often.
class Logged {
 public:
  explicit Logged(Till& till) : till_(till) { (void)since(); }
  std::map<std::string, int> since() {
    static const char* names[] = {"", "CREATE ", "UPDATE ", "DELETE ", "SCHEMA ", "RENUMBER ", "RESTORE "};
    auto db = till_.state->lease();
    auto query =
        must(db->prepare("SELECT a.id, a.action, t.name FROM action_log a JOIN tracked_tables t ON t.id=a.table_id "
                         "WHERE a.id>? ORDER BY a.id"));
    query.bind(1, last_);
    std::map<std::string, int> counts;
    while (must(query.step())) {
      last_ = query.integer(0);
      counts[names[query.integer(1)] + query.text(2)]++;
    }
    return counts;
  }

 private:
  Till& till_;
  int64_t last_ = 0;
};

using Counts = std::map<std::string, int>;

std::string text(const Counts& counts) {
  std::string out;
  for (auto& [what, n] : counts) out += std::to_string(n) + " " + what + "; ";
  return out;
}

// Captures, and looks at the log and at everything that is kept beside it.
void expect(Till& till, Logged& logged, Model& model, const Counts& expected) {
  till.capture();
  CHECK(text(logged.since()) == text(expected));
  model.follow();
  check_same(model.content(), till.live());
  check_replica(till);
}

std::string numbers(int n) {
  return "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<" + std::to_string(n) + ") ";
}

struct Scene {
  Till till{3};
  std::optional<Logged> logged;
  std::optional<Model> model;
  explicit Scene(const std::string& sql) {
    till.run(sql);
    till.capture();
    logged.emplace(till);
    model.emplace(till);
    model->start();
  }
  void run(const std::string& sql, const Counts& expected) {
    INFO("SQL: " << sql);
    till.run(sql);
    expect(till, *logged, *model, expected);
  }
};

}  // namespace

TEST_SUITE_BEGIN("capture");

TEST_CASE("capture: a VACUUM that renumbers a table without key and index is one mark and no row actions") {
  Scene scene("CREATE TABLE k(a, b); " + numbers(500) +
              "INSERT INTO k SELECT n, zeroblob(n%90 + (n%50=0)*3000) FROM g; DELETE FROM k WHERE rowid%3=0");
  scene.run("VACUUM", {{"RENUMBER k", 1}});
  // Nothing to renumber any more.
  scene.run("VACUUM", {});
  // Rows are followed under their new names.
  scene.run("UPDATE k SET a=-1 WHERE rowid=7; DELETE FROM k WHERE rowid=8", {{"UPDATE k", 1}, {"DELETE k", 1}});
}

TEST_CASE("capture: a VACUUM keeps keyed and indexed tables without any action") {
  Scene scene(
      "CREATE TABLE i(id INTEGER PRIMARY KEY, v); CREATE TABLE x(a, b); CREATE INDEX x_a ON x(a);"
      "CREATE TABLE s(k TEXT PRIMARY KEY, v); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;" +
      numbers(300) +
      "INSERT INTO i SELECT n, zeroblob(n) FROM g; INSERT INTO x SELECT id, v FROM i; INSERT INTO s SELECT 'k'||id, v "
      "FROM i;"
      "INSERT INTO w SELECT id, v FROM i; DELETE FROM i WHERE id%3=0; DELETE FROM x WHERE rowid%3=0; DELETE FROM s "
      "WHERE rowid%3=0");
  scene.run("VACUUM", {});
}

TEST_CASE("capture: the kind of a table changes under its name") {
  Scene scene("CREATE TABLE t(k TEXT PRIMARY KEY, v); " + numbers(60) +
              "INSERT INTO t SELECT 'k'||n, zeroblob(n*9) FROM g");
  scene.run(
      "BEGIN; CREATE TABLE n(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER "
      "TABLE n RENAME TO t; COMMIT",
      {{"SCHEMA sqlite_schema", 2}, {"DELETE t", 60}, {"CREATE t", 60}});
  scene.run("UPDATE t SET v=1 WHERE k='k5'", {{"UPDATE t", 1}});
}

TEST_CASE("capture: the twelve steps of ALTER TABLE change the schema and no row that stays equal") {
  Scene scene("CREATE TABLE t(id INTEGER PRIMARY KEY, v); " + numbers(200) +
              "INSERT INTO t SELECT n, zeroblob(n*5) FROM g");
  scene.run(
      "BEGIN; CREATE TABLE new_t(id INTEGER PRIMARY KEY, v NOT NULL); INSERT INTO new_t SELECT * FROM t; DROP TABLE t;"
      "ALTER TABLE new_t RENAME TO t; COMMIT",
      {{"SCHEMA sqlite_schema", 1}});
  scene.run(
      "BEGIN; CREATE TABLE new_t(id INTEGER PRIMARY KEY, v NOT NULL, w DEFAULT 4); INSERT INTO new_t SELECT id, v, id "
      "FROM t WHERE id>20;"
      "DROP TABLE t; ALTER TABLE new_t RENAME TO t; COMMIT",
      {{"SCHEMA sqlite_schema", 1}, {"DELETE t", 20}, {"UPDATE t", 180}});
}

TEST_CASE("capture: DROP and CREATE in one transaction") {
  Scene scene("CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(k PRIMARY KEY, v) WITHOUT ROWID; " +
              numbers(50) + "INSERT INTO a SELECT n, zeroblob(n*40) FROM g; INSERT INTO b SELECT id, v FROM a");
  // The same table again is no change of schema, and only its rows changed.
  scene.run(
      "BEGIN; DROP TABLE a; CREATE TABLE a(id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES(1, zeroblob(40)), (2, "
      "'two'), (70, 'new'); COMMIT",
      {{"UPDATE a", 1}, {"CREATE a", 1}, {"DELETE a", 48}});
  // Another in its place: the old rows go under the old name.
  scene.run("BEGIN; DROP TABLE b; CREATE TABLE c(x); INSERT INTO c VALUES(1), (2); COMMIT",
            {{"SCHEMA sqlite_schema", 2}, {"DELETE b", 50}, {"CREATE c", 2}});
  scene.run("ALTER TABLE c RENAME TO d", {{"SCHEMA sqlite_schema", 2}});
  // Made and dropped in one transaction: nothing came of it.
  scene.run("BEGIN; CREATE TABLE e(x); INSERT INTO e SELECT v FROM a; DROP TABLE e; COMMIT", {});
}

TEST_CASE("capture: a table takes over the pages of one that was dropped, each under the parent it had there") {
  const std::string fill = numbers(500) + "INSERT INTO b SELECT n, hex(n) FROM g";
  Scene scene("CREATE TABLE b(n, x); CREATE TABLE a(n, x); " + numbers(500) +
              "INSERT INTO a SELECT n, hex(n) FROM g; VACUUM");
  // The agent sees only the end of it, as one transaction: the same numbers of pages, and the same links between them.
  scene.till.capturer.reset();
  scene.till.run("DROP TABLE b; DROP TABLE a; CREATE TABLE c(x); CREATE TABLE b(n, x); " + fill +
                 "; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  scene.till.restart();
  scene.run("", {{"CREATE b", 500}, {"DELETE a", 500}, {"SCHEMA sqlite_schema", 2}});
}

TEST_CASE("capture: REPLACE on a TEXT key is an UPDATE, and a changed key another entity") {
  Scene scene("CREATE TABLE s(k TEXT PRIMARY KEY, v); " + numbers(100) + "INSERT INTO s SELECT 'k'||n, n FROM g");
  scene.run("INSERT OR REPLACE INTO s VALUES('k5', 'new'), ('k6', 'newer'), ('k200', 'first')",
            {{"UPDATE s", 2}, {"CREATE s", 1}});
  scene.run("UPDATE s SET k='k300' WHERE k='k7'", {{"DELETE s", 1}, {"CREATE s", 1}});
  // The same content under another rowid is no change.
  scene.run("INSERT OR REPLACE INTO s VALUES('k5', 'new')", {});
  // Two keys exchanged.
  scene.run(
      "BEGIN; UPDATE s SET k='x' WHERE k='k1'; UPDATE s SET k='k1' WHERE k='k2'; UPDATE s SET k='k2' WHERE k='x'; "
      "COMMIT",
      {{"UPDATE s", 2}});
}

TEST_CASE("capture: our own copy is lost or cut off: a new one is made, and the log says that it does not lead there") {
  for (std::string file : {"replica-1.db", "replica-1.map", "replica-1.map cut off"}) {
    INFO(file);
    Scene scene("CREATE TABLE t(n INTEGER PRIMARY KEY, x); " + numbers(300) + "INSERT INTO t SELECT n, hex(n) FROM g");
    Till& till = scene.till;
    till.capturer.reset();
    std::string path = till.our_folder + "/pos/" + file.substr(0, file.find(' '));
    if (file.ends_with("cut off")) {
      std::filesystem::resize_file(path, 16);
    } else {
      REQUIRE(std::filesystem::remove(path));
    }
    till.run("UPDATE t SET x='seen by nobody' WHERE n<10");
    int lost = 0, barriers = 0;
    till.setup.on_copy_lost = [&](const Error& why) {
      CHECK(why.context.find("replica-1") != std::string::npos);
      lost++;
    };
    till.setup.on_barrier = [&] { barriers++; };
    till.restart();
    till.capture();
    CHECK(lost == 1);
    CHECK(barriers == 1);
    CHECK(text(scene.logged->since()) == text({{"SCHEMA sqlite_schema", 1}}));
    check_replica(till);
    scene.model->start();
    scene.run("UPDATE t SET x='seen' WHERE n<20; DELETE FROM t WHERE n=30", {{"UPDATE t", 19}, {"DELETE t", 1}});
    CHECK(lost == 1);
  }
}

TEST_CASE("capture: what ANALYZE writes is kept as hidden rows and shown as no action") {
  Scene scene("CREATE TABLE t(a, b); CREATE INDEX t_a ON t(a); " + numbers(40) + "INSERT INTO t SELECT n, n%3 FROM g");
  auto hidden = [&] { return must(scene.till.state->lease()->query_integer("SELECT count(*) FROM hidden_rows")); };
  scene.run(
      "CREATE INDEX t_b ON t(b); ANALYZE",
      {{"SCHEMA sqlite_schema",
        2 + static_cast<int>(must(scene.till.app.query_integer("SELECT sqlite_compileoption_used('ENABLE_STAT4')")))}});
  int64_t first = hidden();
  CHECK(first >= 2);
  scene.run("INSERT INTO t VALUES(1, 1); ANALYZE", {{"CREATE t", 1}});
  CHECK(hidden() > first);
}

TEST_SUITE_END();
