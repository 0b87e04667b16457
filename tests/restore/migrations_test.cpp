// SQL steps from one version of an application's schema to the next.
#include "restore/migrations.h"

#include <fstream>

#include "crypto/hash.h"
#include "platform/this_system.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {

struct Steps {
  TemporaryDirectory folder;
  SystemFiles files;
  FakeClock clock;
  SchemaVersionQuery query;
  Connection db = must(Connection::open(folder / "staged.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));

  Steps() {
    must(files.make_directories(folder / "steps"));
    must(
        db.execute("PRAGMA user_version = 2; CREATE TABLE sale(id INTEGER PRIMARY KEY, total);"
                   "INSERT INTO sale VALUES(1, 5), (2, 7)"));
  }
  void write(const std::string& name, const std::string& sql) {
    std::ofstream(folder / "steps" + "/" + name, std::ios::binary) << sql;
  }
  Result<SchemaMigrations> read() { return SchemaMigrations::read(files, folder / "steps"); }
  Result<std::vector<AppliedMigration>> apply(int64_t target) {
    TILLSYNC_LET(auto migrations, read());
    return migrations.apply(db, target, query, clock);
  }
  int64_t version() { return must(db.query_integer("PRAGMA user_version")); }
};

}  // namespace

TEST_CASE("migrations: the steps after the snapshot's version are applied, in order, up to the target") {
  Steps steps;
  steps.write("001_first.sql", "this is never run");
  steps.write("002_second.sql", "nor is this");
  steps.write("10_last.sql", "CREATE TABLE ten(x)");
  for (int i = 4; i < 10; i++) steps.write("00" + std::to_string(i) + "_more.sql", "-- nothing\n");
  const std::string third =
      "-- discounts; with a semicolon\nALTER TABLE sale ADD COLUMN discount DEFAULT 0;\n\n/* all; of them */\n"
      "UPDATE sale SET discount = total - 4;\nCREATE TRIGGER t AFTER INSERT ON sale BEGIN UPDATE sale SET total = 0; "
      "END;\nSELECT ';' FROM sale;  -- end";
  steps.write("003_discount.sql", third);
  steps.write("readme.txt", "not a step");
  steps.write(".003_discount.sql", "nor an editor's file");
  CHECK(must(steps.read()).newest() == 10);

  auto log = must(steps.apply(9));
  REQUIRE(log.size() == 7);
  CHECK(log[0].version == 3);
  CHECK(log[0].name == "003_discount.sql");
  CHECK(log[0].checksum == sha256(as_bytes(third)));
  CHECK(log[0].applied_at == steps.clock.now());
  Json json = to_json(log[0]);
  CHECK(json["checksum"] == sha256(as_bytes(third)).hex());
  CHECK(json["applied_at"] == "2026-01-01T00:00:00.000Z");
  CHECK(json["elapsed_ms"] == 0);
  CHECK(steps.version() == 9);
  CHECK(must(steps.db.query_integer("SELECT sum(discount) FROM sale")) == 4);
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sqlite_schema WHERE name='ten'")) == 0);
  // There is nothing left to do, and nothing is done again.
  CHECK(must(steps.apply(9)).empty());
  CHECK(must(must(steps.read()).apply(steps.folder / "staged.db", nullptr, 10, steps.query, steps.clock)).size() == 1);
  CHECK(steps.version() == 10);
}

TEST_CASE("migrations: a folder of another form is refused and said") {
  Steps steps;
  auto refuse = [&](const std::string& name, std::string_view said) {
    steps.write(name, "SELECT 1");
    auto error = refused(steps.read());
    CHECK(error.kind == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.context, said), error.context);
    must(steps.files.remove(steps.folder / "steps" + "/" + name));
  };
  steps.write("003_a.sql", "SELECT 1");
  refuse("3_b.sql", "003_a.sql and 3_b.sql have the same number");
  refuse("005_c.sql", "gap");
  for (auto name : {"0_zero.sql", "x_y.sql", "4.sql", "4_.sql", "_a.sql", "4-a.sql", "9999999999_a.sql"})
    refuse(name, "was expected");
  must(steps.read());
  std::ofstream(steps.folder / "steps/004_zero.sql", std::ios::binary) << std::string("SELECT 1;\0DROP TABLE sale", 25);
  CHECK(contains(refused(steps.read()).context, "zero byte"));
  CHECK(kind_of(SchemaMigrations::read(steps.files, steps.folder / "none")) == ErrorKind::not_found);
}

TEST_CASE("migrations: a snapshot that is too new, or too old for the steps, is refused before anything is done") {
  Steps steps;
  CHECK(kind_of(must(steps.read()).check(2, 3)) == ErrorKind::schema);
  must(must(steps.read()).check(3, 3));
  steps.write("004_a.sql", "SELECT 1");
  steps.write("005_b.sql", "SELECT 1");
  auto migrations = must(steps.read());
  must(migrations.check(3, 5));
  must(migrations.check(4, 5));
  must(migrations.check(9, 9));
  auto newer = refused(migrations.check(6, 5));
  CHECK(newer.kind == ErrorKind::schema);
  CHECK(contains(newer.context, "schema version 6, which is newer than 5"));
  CHECK(contains(refused(migrations.check(2, 5)).context, "only from 3 to 5"));
  CHECK(contains(refused(migrations.check(3, 6)).context, "only from 3 to 5"));
  CHECK(kind_of(steps.apply(5)) == ErrorKind::schema);
  CHECK(steps.version() == 2);
}

TEST_CASE("migrations: a step that fails leaves nothing, names file, line and statement, those before it stay") {
  Steps steps;
  steps.write("003_good.sql", "CREATE TABLE good(x)");
  steps.write("004_bad.sql", "CREATE TABLE half(x);\n-- then\nINSERT INTO sale\n  VALUES(1, 9);\nSELECT 2");
  auto error = refused(steps.apply(4));
  CHECK(error.kind == ErrorKind::schema);
  CHECK(contains(error.context, "004_bad.sql, line 3, 'INSERT INTO sale VALUES(1, 9);'"));
  CHECK(contains(error.context, "UNIQUE"));
  CHECK(steps.version() == 3);
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sqlite_schema WHERE name IN ('good', 'half')")) == 1);

  steps.write("004_bad.sql", "CREATE TABLE half(x);\nSELEKT 1; SELECT 2");
  error = refused(steps.apply(4));
  CHECK(contains(error.context, "004_bad.sql, line 2, 'SELEKT 1;'"));
  CHECK(contains(error.context, "syntax error"));
  steps.write("004_bad.sql", "SELECT app_function(1)");
  CHECK(contains(refused(steps.apply(4)).context, "no such function"));
}

TEST_CASE("migrations: a step can't leave its transaction or the database") {
  Steps steps;
  const std::string other = steps.folder / "other.db";
  for (const std::string& sql :
       {std::string("COMMIT"), std::string("BEGIN"), std::string("ROLLBACK"), std::string("END"),
        "ATTACH '" + other + "' AS other", std::string("VACUUM INTO '") + other + "'", std::string("VACUUM")}) {
    steps.write("003_out.sql", "CREATE TABLE half(x);\n" + sql + ";\nCREATE TABLE rest(x);");
    auto error = refused(steps.apply(3));
    CHECK_MESSAGE(error.kind == ErrorKind::schema, sql, error.context);
    CHECK(contains(error.context, "line 2"));
    CHECK(must(steps.db.query_integer("SELECT count(*) FROM sqlite_schema")) == 1);
    CHECK_FALSE(steps.files.stat(other).has_value());
  }
  // A savepoint stays within.
  steps.write("003_out.sql", "SAVEPOINT s; CREATE TABLE gone(x); ROLLBACK TO s; RELEASE s; CREATE TABLE kept(x)");
  must(steps.apply(3));
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sqlite_schema")) == 2);
}

TEST_CASE("migrations: where another query gives the version, the SQL has to make it so") {
  Steps steps;
  must(steps.db.execute("CREATE TABLE meta(version); INSERT INTO meta VALUES(2)"));
  steps.query.sql = "SELECT version FROM meta";
  steps.write("003_a.sql", "CREATE TABLE a(x); UPDATE meta SET version = 3");
  steps.write("004_b.sql", "CREATE TABLE b(x)");
  CHECK(must(steps.apply(3)).size() == 1);
  CHECK(steps.version() == 2);  // not ours to set
  auto error = refused(steps.apply(4));
  CHECK(contains(error.context, "004_b.sql"));
  CHECK(contains(error.context, "answers 3 and not 4"));
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sqlite_schema WHERE name='b'")) == 0);
  steps.query.sql = "SELECT version FROM nowhere";
  CHECK(contains(refused(steps.apply(4)).context, "schema_version"));
  for (auto sql : {"pragma USER_VERSION;", "PRAGMA  user_version ", "PRAGMA main.user_version"})
    CHECK(SchemaVersionQuery{sql}.is_user_version());
  CHECK_FALSE(SchemaVersionQuery{"PRAGMA application_id"}.is_user_version());
}

TEST_CASE("migrations: a table may be made anew, rows that then refer to nothing are refused, old ones are not") {
  Steps steps;
  must(
      steps.db.execute("PRAGMA foreign_keys = ON; CREATE TABLE line(sale REFERENCES sale(id)); "
                       "INSERT INTO line VALUES(1); PRAGMA foreign_keys = OFF; INSERT INTO line VALUES(99); "
                       "PRAGMA foreign_keys = ON"));
  steps.write("003_anew.sql",
              "CREATE TABLE new(id INTEGER PRIMARY KEY, total, tax); INSERT INTO new SELECT id, total, 0 FROM sale;"
              "DROP TABLE sale; ALTER TABLE new RENAME TO sale");
  must(steps.apply(3));
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sale WHERE tax = 0")) == 2);
  steps.write("004_lost.sql", "DELETE FROM sale WHERE id = 1");
  auto error = refused(steps.apply(4));
  CHECK(error.kind == ErrorKind::schema);
  CHECK(contains(error.context, "1 more row(s)"));
  CHECK(must(steps.db.query_integer("SELECT count(*) FROM sale")) == 2);
  // A key that refers to what can't be referred to: nothing can be counted, and nothing is refused for it.
  must(steps.db.execute("CREATE TABLE odd(x REFERENCES sale(total)); INSERT INTO odd VALUES(1)"));
  must(steps.apply(4));
}
