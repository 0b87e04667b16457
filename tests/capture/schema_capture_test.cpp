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
  // The same content under another rowid: an external-content FTS table may refer to it.
  scene.run("INSERT OR REPLACE INTO s VALUES('k5', 'new')", {{"UPDATE s", 1}});
  CHECK(must(scene.till.state->lease()->query_integer("SELECT row_id<>previous_row_id AND data=previous_data FROM "
                                                      "action_log ORDER BY id DESC LIMIT 1")) == 1);
  // Two keys exchanged.
  scene.run(
      "BEGIN; UPDATE s SET k='x' WHERE k='k1'; UPDATE s SET k='k1' WHERE k='k2'; UPDATE s SET k='k2' WHERE k='x'; "
      "COMMIT",
      {{"UPDATE s", 2}});
  // VACUUM leaves the rowids of a table with an index as they are, gaps and all.
  scene.run("VACUUM", {});
  // A table that is written anew for a change of schema has other rowids, and nobody needs them: a snapshot follows.
  scene.run(
      "BEGIN; CREATE TABLE new_s(k TEXT PRIMARY KEY, v NOT NULL); INSERT INTO new_s SELECT * FROM s ORDER BY k; DROP "
      "TABLE s; ALTER TABLE new_s RENAME TO s; COMMIT",
      {{"SCHEMA sqlite_schema", 1}});
  scene.run("INSERT OR REPLACE INTO s VALUES('k5', 'new')", {{"UPDATE s", 1}});
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

TEST_CASE("capture: rows from before ADD COLUMN have the default that SQLite reads in them") {
  struct Variant {
    const char *types[6], *end;
  };
  for (const Variant& variant : {Variant{{"INTEGER", "REAL", "TEXT", "NUMERIC", "BLOB", ""}, ""},
                                 Variant{{"INTEGER", "REAL", "TEXT", "INT", "BLOB", "ANY"}, "STRICT"}}) {
    Scene scene(std::string("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT DEFAULT early, w TEXT DEFAULT "
                            "CURRENT_TIMESTAMP) ") +
                variant.end + "; INSERT INTO t(id) VALUES(1), (2)");
    Till& till = scene.till;
    int n = 0;
    till.run("BEGIN");
    for (const char* type : variant.types) {
      for (const char* value : {"abc",
                                "TRUE",
                                "FALSE",
                                "+5",
                                "-1.5e3",
                                "5",
                                "'5'",
                                "'5.0'",
                                "' 7e2 '",
                                "'12x'",
                                "\"double quoted\"",
                                "''",
                                "x'00ff'",
                                "x'35'",
                                "x''",
                                "(-7)",
                                "('a''b')",
                                "(CAST('9' AS INTEGER))",
                                "9223372036854775807",
                                "1e300",
                                "NULL",
                                "9007199254740993",
                                "0x10",
                                "'[x]' NOT NULL COLLATE NOCASE"}) {
        // STRICT refuses what does not fit the type; without the rollback SQLite would go on as if the column was
        // there.
        till.run("SAVEPOINT one");
        auto added =
            till.app.execute("ALTER TABLE t ADD COLUMN c" + std::to_string(n) + " " + type + " DEFAULT " + value);
        if (!added) till.run("ROLLBACK TO one");
        till.run("RELEASE one");
        n += added ? 1 : 0;
      }
    }
    CHECK(n >= (*variant.end ? 70 : 144));
    scene.run("COMMIT", {{"SCHEMA sqlite_schema", 1}});
    // Not a value that a short record can have; SQLite takes such a default only while the table is empty.
    // A tree of its own has an index beside it that holds the column, too.
    scene.run("CREATE TABLE keyed(k TEXT PRIMARY KEY, u INT DEFAULT 7 UNIQUE) WITHOUT ROWID",
              {{"SCHEMA sqlite_schema", 2}});
    scene.run("CREATE TABLE late(a)", {{"SCHEMA sqlite_schema", 1}});
    scene.run("ALTER TABLE late ADD COLUMN b DEFAULT (1+2); INSERT INTO late(a) VALUES(1)",
              {{"SCHEMA sqlite_schema", 1}, {"CREATE late", 1}});
    scene.run("UPDATE t SET v='w' WHERE id=1", {{"UPDATE t", 1}});
  }
}

TEST_CASE("schema: what only the application has does not keep its tables from being read") {
  Till till(3);
  auto one = [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_int(context, 1); };
  auto same = [](void*, int, const void*, int, const void*) { return 0; };
  sqlite3_create_function_v2(till.app.handle(), "fold", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, one, nullptr,
                             nullptr, nullptr);
  sqlite3_create_collation_v2(till.app.handle(), "GERMAN", SQLITE_UTF8, nullptr, same, nullptr);
  till.run(R"(
    CREATE TABLE a(id INTEGER PRIMARY KEY DESC, v TEXT COLLATE GERMAN UNIQUE, n INT CHECK(fold(n) AND n IN (1, 2)),
      f AS (fold(v)), g TEXT AS (upper(v) || printf('%05d', n)) STORED, d TEXT DEFAULT (hex(zeroblob(3))));
    CREATE INDEX a_v ON a(v) WHERE fold(v); CREATE INDEX a_f ON a(fold(n), upper(v));
    CREATE TABLE b(k TEXT COLLATE GERMAN, i INT, v DEFAULT later, PRIMARY KEY(i, k)) WITHOUT ROWID;
    CREATE TABLE c(n INTEGER PRIMARY KEY AUTOINCREMENT, a REFERENCES a(id) ON DELETE CASCADE, "rowid" TEXT, [odd name]);
    CREATE VIEW shown AS SELECT fold(v) FROM a;
    CREATE TRIGGER told AFTER INSERT ON a BEGIN INSERT INTO c(a) VALUES(fold(NEW.v)); END;
    CREATE VIRTUAL TABLE search USING fts5(body); CREATE VIRTUAL TABLE place USING rtree(id, x0, x1);
    INSERT INTO a(id, v, n) VALUES(1, 'x', 1); INSERT INTO b(k, i) VALUES('y', 2);
  )");
  till.capture();
  Schema schema = till.schema();
  auto* a = schema.find("a");
  REQUIRE(a);
  CHECK(a->rowid_alias == -1);
  CHECK(a->columns[3].virtual_generated);
  CHECK(a->columns[4].stored_generated);
  CHECK(a->record_columns.size() == 5);
  auto* b = schema.find("b");
  REQUIRE(b);
  CHECK(b->without_rowid);
  CHECK(b->key_columns == std::vector<int>{1, 0});
  CHECK(b->record_columns == std::vector<int>{1, 0, 2});
  CHECK(!b->columns[2].default_record.empty());
  auto* c = schema.find("c");
  REQUIRE(c);
  CHECK(c->rowid_alias == 0);
  REQUIRE(c->foreign_keys.size() == 1);
  CHECK(c->foreign_keys[0].parent_table == "a");
  Logged logged(till);
  till.run("UPDATE a SET n=2; UPDATE b SET v=1; INSERT INTO search VALUES('milk')");
  till.capture();
  auto counts = logged.since();
  CHECK(counts["UPDATE a"] == 1);
  CHECK(counts["UPDATE b"] == 1);
}

TEST_CASE("schema: the texts of a schema are read, never run") {
  TemporaryDirectory folder;
  const std::string trap = folder.path() + "/trap.db";
  auto read = [&](const std::string& sql) {
    return read_schema(
        {{"table", "innocent", "innocent", 2, "CREATE TABLE innocent(a, b DEFAULT 4)"}, {"table", "t", "t", 3, sql}},
        1);
  };
  CHECK(must(read("CREATE TABLE t(a)")).tables.size() == 2);
  const std::string attach = "ATTACH '" + trap + "' AS trap; CREATE TABLE trap.x(y)";
  const std::vector<std::string> texts = {
      attach,
      "CREATE TABLE t(a); " + attach,
      "CREATE TABLE t(a); DROP TABLE innocent",
      "PRAGMA writable_schema=ON",
      "VACUUM INTO '" + trap + "'",
      "CREATE TABLE t AS WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g) SELECT n FROM g",
      "CREATE TABLE t AS SELECT 1",
      "CREATE TABLE other(a)",
      "CREATE VIEW t AS SELECT 1",
      "CREATE VIRTUAL TABLE t USING fts5(body)",
      "CREATE VIRTUAL TABLE t USING sqlite_dbpage",
      "CREATE TRIGGER t AFTER INSERT ON innocent BEGIN DELETE FROM innocent; END",
      "CREATE TABLE t(a CHECK(a IN (SELECT 1)))",
      "CREATE TABLE t(",
      "",
  };
  for (auto& sql : texts) {
    INFO(sql);
    CHECK(kind_of(read(sql)) == ErrorKind::schema);
    CHECK(!std::filesystem::exists(trap));
  }
  // Two tables of one name, and a text that takes the name of another.
  CHECK(kind_of(read_schema({{"table", "t", "t", 2, "CREATE TABLE t(a)"}, {"table", "t", "t", 3, "CREATE TABLE t(b)"}},
                            1)) == ErrorKind::schema);
  // Nothing is worked out: neither a generated column of constants, which SQLite tries when it creates a table …
  CHECK(must(read("CREATE TABLE t(a AS (length(hex(zeroblob(900000000)))) STORED, b)")).tables.size() == 2);
  // … nor a default that no short record can have.
  Schema schema = must(read("CREATE TABLE t(a, b DEFAULT (length(hex(zeroblob(900000000)))))"));
  CHECK(schema.tables[1].columns[1].default_record.empty());
}

TEST_CASE("capture: a tree that comes to the same page again and again is refused with a page, soon") {
  constexpr uint32_t kSize = 1024;
  struct Pages : PageReader {
    std::map<PageNo, Bytes> pages;
    int reads = 0;
    Result<PageRef> page(PageNo number) override {
      reads++;
      PageRef page = PageRef::allocate(kSize);
      std::copy(pages.at(number).begin(), pages.at(number).end(), page.mutable_data());
      return page;
    }
  } pages;
  auto put_be16 = [](uint8_t* p, uint32_t v) {
    p[0] = static_cast<uint8_t>(v >> 8);
    p[1] = static_cast<uint8_t>(v);
  };
  // Interior page of a table tree (§1.6): 12 bytes of header, pointers, and cells of child and rowid.
  auto interior = [&](PageNo child, uint32_t cells) {
    Bytes page(kSize);
    page[0] = 5;
    put_be16(page.data() + 3, cells);
    put_be32(page.data() + 8, child);
    for (uint32_t i = 0; i < cells; i++) {
      uint32_t at = kSize - 5 * (i + 1);
      put_be16(page.data() + 12 + 2 * i, at);
      put_be32(page.data() + at, child);
      page[at + 4] = 1;
    }
    return page;
  };
  auto none = [](int64_t, ByteView) { return Result<void>(); };
  Image image{&pages, 9, kSize};
  pages.pages[2] = interior(2, 100);
  Error error = refused(walk_tree(image, 2, none));
  CHECK(error.kind == ErrorKind::corrupt);
  CHECK_MESSAGE(contains(error.context, "page 2: the tree has more pages than the database"), error.context);
  CHECK(pages.reads <= 9);
  // No circle, but a million ways to one leaf.
  pages.reads = 0;
  pages.pages[3] = interior(4, 100);
  pages.pages[4] = interior(8, 100);
  pages.pages[8] = interior(9, 100);
  pages.pages[9] = Bytes(kSize);
  pages.pages[9][0] = 13;
  CHECK(kind_of(walk_tree(image, 3, none)) == ErrorKind::corrupt);
  CHECK(pages.reads <= 9);
  // Rows that all claim one overflow chain, of two pages.
  pages.reads = 0;
  constexpr uint32_t kPayload = 2143, kCells = 8;
  const uint32_t local = local_payload_size(kPayload, kSize, true);
  REQUIRE(local + 2 * (kSize - 4) == kPayload);
  Bytes leaf(kSize);
  leaf[0] = 13;
  put_be16(leaf.data() + 3, kCells);
  for (uint32_t i = 0; i < kCells; i++) {
    uint32_t at = kSize - (i + 1) * (2 + 1 + local + 4);
    put_be16(leaf.data() + 8 + 2 * i, at);
    leaf[at] = 0x80 | (kPayload >> 7);
    leaf[at + 1] = kPayload & 0x7f;
    leaf[at + 2] = static_cast<uint8_t>(i + 1);
    put_be32(leaf.data() + at + 3 + local, 6);
  }
  pages.pages[5] = leaf;
  pages.pages[6] = Bytes(kSize);
  put_be32(pages.pages[6].data(), 7);
  pages.pages[7] = Bytes(kSize);
  CHECK(kind_of(walk_tree(image, 5, none)) == ErrorKind::corrupt);
  CHECK(pages.reads <= 9);
}

TEST_CASE("capture: more rows of one transaction than memory keeps are paired on disk") {
  Scene scene("CREATE TABLE s(k TEXT PRIMARY KEY, v); " + numbers(30000) +
              "INSERT INTO s SELECT 'k'||n, hex(zeroblob(100)) FROM g");
  scene.run(
      "BEGIN; UPDATE s SET k='x'||k WHERE rowid%3=0; DELETE FROM s WHERE rowid%3=1;"
      "INSERT OR REPLACE INTO s SELECT k, 'new' FROM s WHERE rowid%3=2; COMMIT",
      {{"CREATE s", 10000}, {"DELETE s", 20000}, {"UPDATE s", 10000}});
  CHECK_FALSE(std::filesystem::exists(scene.till.our_folder + "/pos/pairing.tmp"));
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
