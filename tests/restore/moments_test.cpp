// A restore to any transaction equals a copy that SQLite's backup made at that transaction.
#include <cstring>

#include "actionlog/log_verifier.h"
#include "capture/random_shop.h"
#include "restore/restore_fixture.h"
#include "restore/verification.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
void random_moments(uint64_t seed, const std::string& pragmas) {
  SeededRandom random(seed);
  INFO("seed " << seed << " " << pragmas);
  RestoreWorld world(seed, pragmas);
  RandomShop shop(world, random);
  shop.create();
  for (int i = 0; i < 25; i++) shop.transaction();
  world.remember();
  world.snapshot();
  for (int i = 0; i < 60; i++) {
    shop.transaction();
    world.clock.advance(std::chrono::milliseconds(20));
    world.remember();
    if (random.below(5) == 0) world.seal();
    if (random.below(18) == 0) world.snapshot(random.below(3) ? SnapshotType::incremental : SnapshotType::differential);
  }
  world.seal();
  std::vector<TransactionNo> moments;
  for (auto& [transaction, copy] : world.copies) moments.push_back(transaction);
  for (int i = 0; i < 10; i++) world.check_moment(moments[random.below(moments.size())]);
  world.check_moment(moments.back());

  auto verdict = must(
      verify_log(world.store, world.lineage, {{world.full->sequence, world.full->tables}}, world.full->sequence + 1));
  CHECK(verdict.ok());
  for (auto& segment : verdict.segments) CHECK(segment.proven == segment.stated);
  SnapshotVerifier verifier(world.store, world.lineage, world.files, world.vfs.name(),
                            world.folder.path() + "/verify.db");
  for (auto& uuid : must(list_snapshots(world.store, world.lineage))) {
    auto proven = must(verifier.prove(uuid, nullptr));
    if (proven.error) FAIL("snapshot " << uuid.str() << ": " << proven.error->context);
  }
}
}  // namespace

TEST_CASE("restore: random moments, WAL, small pages") {
  random_moments(SeededRandom::seed_of_this_run(),
                 "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
}
TEST_CASE("restore: random moments, UTF-16") {
  random_moments(SeededRandom::seed_of_this_run(),
                 "PRAGMA encoding='UTF-16le'; PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;");
}

TEST_CASE("restore: a moment before an epoch's first snapshot is planned in the epoch before, and never by chance") {
  RestoreWorld world;
  world.run("CREATE TABLE sale(id INTEGER PRIMARY KEY, v)");
  world.snapshot();
  world.sell("INSERT INTO sale(v) VALUES(1)");
  world.seal();
  Lineage later = world.lineage;
  later.epoch = 2;
  const auto newest = must(plan_restore(world.store, world.lineage, {}));
  const auto found = must(plan_restore(world.store, later, {}));
  CHECK(found.lineage.epoch == 1);
  CHECK(found.transaction == newest.transaction);
  CHECK(contains(found.note, "of epoch 1"));
  CHECK(newest.note.empty());
  RestoreMoment by_name;
  by_name.snapshot = world.full->uuid;
  CHECK(must(plan_restore(world.store, later, by_name)).lineage.epoch == 1);
  // Whoever goes on with a restore gets the epoch of its snapshot or the store's error, and no other epoch.
  RestoreMoment going_on;
  going_on.transaction = newest.transaction;
  going_on.start = world.full->uuid;
  world.store.fail_next(ErrorKind::offline);
  const auto away = plan_restore(world.store, world.lineage, going_on);
  REQUIRE_FALSE(away);
  CHECK(away.error().kind == ErrorKind::offline);
  CHECK(must(plan_restore(world.store, later, going_on)).lineage.epoch == 1);
}

TEST_CASE("restore: counters, keys that are replaced or swapped, and triggers come back as they were") {
  RestoreWorld world;
  world.run(R"(
    CREATE TABLE receipt(n INTEGER PRIMARY KEY AUTOINCREMENT, v);
    CREATE TABLE token(k TEXT PRIMARY KEY, v);
    CREATE TABLE seat(id INTEGER PRIMARY KEY, place UNIQUE);
    CREATE TABLE stock(p TEXT, i INT, q, PRIMARY KEY(p, i)) WITHOUT ROWID;
    CREATE TABLE audit(what);
    CREATE VIRTUAL TABLE search USING fts5(body);
    CREATE TRIGGER sold AFTER INSERT ON receipt BEGIN INSERT INTO audit VALUES('sold '||NEW.n); END;
    INSERT INTO seat VALUES(1, 'a'), (2, 'b'), (3, 'c');
  )");
  world.remember();
  world.snapshot();
  world.sell("INSERT INTO receipt(v) VALUES(1), (2), (3)");
  world.sell("DELETE FROM receipt WHERE n=3");
  world.sell("DELETE FROM receipt");
  world.sell("INSERT INTO receipt(v) VALUES(x'00ff')");
  world.sell("UPDATE sqlite_sequence SET seq=100");
  world.sell("INSERT INTO receipt(v) VALUES(1.0), ('1'), (NULL)");
  world.sell("INSERT INTO token VALUES('a', 1), ('A', 2)");
  world.sell("INSERT OR REPLACE INTO token VALUES('a', 3)");
  world.sell(
      "BEGIN; UPDATE seat SET place='x' WHERE id=1; UPDATE seat SET place='a' WHERE id=2; UPDATE seat SET place='b' "
      "WHERE id=1; COMMIT");
  world.sell("UPDATE seat SET id=id+10");
  world.sell("INSERT INTO stock VALUES('p', 1, 2), ('p', 2, 3), ('q', 1, zeroblob(3000))");
  world.sell("INSERT OR REPLACE INTO stock VALUES('p', 1, 9)");
  world.sell("INSERT INTO search VALUES('milk bread'), ('coffee')");
  world.sell("DELETE FROM search WHERE search MATCH 'milk'");
  world.sell("DELETE FROM sqlite_sequence");
  world.seal();
  for (auto& [transaction, copy] : world.copies) world.check_moment(transaction);
  auto db = world.open_staged();
  CHECK(must(db.query_integer("SELECT count(*) FROM search WHERE search MATCH 'coffee'")) == 1);
}

TEST_CASE("restore: by time, by sequence, and what is not there") {
  RestoreWorld world;
  world.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  world.remember();
  world.snapshot();
  std::vector<Timestamp> times;
  for (int i = 0; i < 5; i++) {
    world.sell("INSERT INTO t(v) VALUES(1), (2), (3)");
    times.push_back(*world.capturer->status().last_capture_at);
  }
  world.seal();
  RestoreMoment moment;
  moment.at = times[2];
  CHECK(must(world.try_restore(moment)).transaction == 3);
  moment.at = times[2] - Milliseconds(1);
  CHECK(must(world.try_restore(moment)).transaction == 2);
  moment = {};
  moment.sequence = 8;
  auto plan = must(plan_restore(world.store, world.lineage, moment));
  CHECK(plan.sequence == 6);
  CHECK(contains(plan.note, "inside a transaction"));
  moment.sequence = 16;
  CHECK(kind_of(plan_restore(world.store, world.lineage, moment)) == ErrorKind::not_found);
  CHECK(kind_of(plan_restore(world.store, world.lineage, world.at_transaction(6))) == ErrorKind::not_found);
  moment = {};
  moment.at = world.full->captured_at - Milliseconds(100000);
  CHECK(kind_of(plan_restore(world.store, world.lineage, moment)) == ErrorKind::not_found);
  // A snapshot that is ahead of the log in the store is the newest moment; what lies between is in neither.
  world.sell("INSERT INTO t(v) VALUES(4)");
  world.sell("INSERT INTO t(v) VALUES(5)");
  world.snapshot(SnapshotType::incremental);
  CHECK(must(world.try_restore({})).transaction == 7);
  CHECK(kind_of(plan_restore(world.store, world.lineage, world.at_transaction(6))) == ErrorKind::not_found);
  world.check_moment(7);
}

TEST_CASE("restore: segments that fill up exactly where a transaction ends") {
  RestoreWorld world;
  world.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)");
  world.remember();
  world.snapshot();
  // One row is more than a segment takes, so that each of these ends one.
  std::vector<TransactionNo> moments;
  for (int i = 1; i <= 4; i++)
    moments.push_back(world.sell("INSERT INTO t VALUES(" + std::to_string(i) + ", randomblob(9000000))"));
  moments.push_back(world.sell("INSERT INTO t VALUES(99, 'small')"));
  world.seal();
  CHECK(world.segments.size() >= 4);
  for (TransactionNo moment : moments) world.check_moment(moment);
}

TEST_CASE("restore: a transaction that is spread over several segments") {
  RestoreWorld world;
  world.run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE w(id INTEGER PRIMARY KEY AUTOINCREMENT, u UNIQUE)");
  world.remember();
  world.snapshot();
  world.sell("INSERT INTO t VALUES(-1, 'before')");
  TransactionNo large = world.sell(
      "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<120000) INSERT INTO t SELECT n, n%7 FROM "
      "g");
  world.sell("DELETE FROM t WHERE id=5");
  // Each row takes the key of another one, mostly of another part: no order of rows would do.
  world.sell("INSERT INTO w(u) SELECT id FROM t WHERE id BETWEEN 1 AND 40000");
  TransactionNo shifted = world.sell(
      "BEGIN; UPDATE w SET u=-u; UPDATE w SET u=20001+u WHERE u>=-20000;"
      "UPDATE w SET u=-u WHERE u<0; DELETE FROM w WHERE id=40000;"
      "INSERT INTO w(u) VALUES(-7); COMMIT");
  world.seal();
  CHECK(world.segments.size() >= 10);
  world.check_moment(large);
  world.check_moment(shifted - 1);
  world.check_moment(shifted);
  world.check_moment(large + 1);
  RestoreMoment inside;
  inside.sequence = 70000;
  CHECK(must(world.try_restore(inside)).transaction == large - 1);
  auto verdict = must(verify_log(world.store, world.lineage, {{0, world.full->tables}}, 1));
  CHECK(verdict.ok());
  CHECK(verdict.segments.back().proven);
}

TEST_CASE("restore: past a change of schema with its snapshot, not without") {
  RestoreWorld world;
  world.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a')");
  world.remember();
  world.snapshot();
  world.sell("INSERT INTO t VALUES(2, 'b')");
  TransactionNo change = world.sell("ALTER TABLE t ADD COLUMN price REAL DEFAULT 3");
  TransactionNo after = world.sell("UPDATE t SET price=price+1 WHERE id=2");
  world.seal();
  auto refused = world.try_restore(world.at_transaction(after));
  REQUIRE(kind_of(refused) == ErrorKind::schema);
  CHECK(contains(refused.error().context, "restore to transaction " + std::to_string(change - 1)));
  world.check_moment(change - 1);
  // Asked for no moment by name, what can be had is had, and said.
  auto newest = must(world.try_restore({}));
  CHECK(newest.transaction == change - 1);
  CHECK(newest.proven);
  CHECK(contains(newest.note, "not to " + std::to_string(after)));
  Manifest snapshot = world.snapshot(SnapshotType::incremental);
  refused = world.try_restore(world.at_transaction(change));
  REQUIRE(kind_of(refused) == ErrorKind::schema);
  CHECK(contains(refused.error().context, "snapshot " + snapshot.uuid.str()));
  TransactionNo later = world.sell("INSERT INTO t VALUES(3, 'c', 4)");
  world.seal();
  world.check_moment(after);
  world.check_moment(later);

  // The end of the segment with the change states digests although capture went on (digest_points).
  LogReader reader(world.store, world.lineage);
  bool stated = false;
  for (auto& object : must(reader.list())) {
    auto segment = must(reader.read(object));
    if (segment.head.last_transaction == change) stated = segment.head.state != Digest{} && !segment.digests.empty();
  }
  CHECK(stated);
  auto verdict = must(
      verify_log(world.store, world.lineage, {{0, world.full->tables}, {world.last->sequence, world.last->tables}}, 1));
  CHECK(verdict.ok());
  CHECK(verdict.segments.back().proven);
}

TEST_CASE("restore: a change of schema in a transaction that is spread over several segments is not begun") {
  RestoreWorld world;
  world.run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a'), (2, 'b')");
  world.remember();
  world.snapshot();
  TransactionNo before = world.sell("INSERT INTO t VALUES(3, 'c')");
  // What is deleted would be gone by the time that the end of it is read.
  TransactionNo change = world.sell(
      "BEGIN; DELETE FROM t; CREATE TABLE n(id INTEGER PRIMARY KEY); WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT "
      "n+1 FROM g WHERE n<40000) INSERT INTO n SELECT n FROM g; COMMIT");
  world.seal();
  CHECK(world.segments.size() >= 3);
  auto refused = world.try_restore(world.at_transaction(change));
  REQUIRE(kind_of(refused) == ErrorKind::schema);
  CHECK(contains(refused.error().context, "restore to transaction " + std::to_string(before)));
  auto newest = must(world.try_restore({}));
  CHECK(newest.transaction == before);
  CHECK(newest.proven);
  auto db = world.open_staged();
  check_same(dump(db), world.copies.at(before));
}

TEST_CASE(
    "restore: where a renumbering follows rows in its transaction, the newest moment is the end of the one before") {
  // Of a rollback journal the borders of transactions are not seen: two of them become one.
  RestoreWorld world(1, "PRAGMA page_size=1024; PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF;");
  world.run(
      "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE k(v); WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT "
      "n+1 FROM g WHERE n<500) INSERT INTO k SELECT zeroblob(n%90) FROM g; DELETE FROM k WHERE rowid%3=0");
  world.remember();
  world.snapshot();
  const TransactionNo before = world.sell("INSERT INTO a VALUES(1, 'x')");
  const Sequence sequence = world.capturer->status().sequence;
  world.run("INSERT INTO a VALUES(2, 'y'), (3, 'z')");
  world.sell("VACUUM");
  world.seal();
  LogReader reader(world.store, world.lineage);
  const Segment last = must(reader.read(must(reader.list()).back()));
  REQUIRE((last.transactions.back().flags & kRenumber) != 0);
  REQUIRE(last.actions.size() == 3);
  REQUIRE(last.actions.back().kind == ActionKind::renumber);
  const auto newest = must(world.try_restore({}));
  CHECK(newest.transaction == before);
  CHECK(newest.sequence == sequence);
  auto db = world.open_staged();
  check_same(dump(db), world.copies.at(before));
}

TEST_CASE("restore: a row that REPLACE gave another rowid and nothing else comes back under it") {
  RestoreWorld world;
  world.run(R"(
    CREATE TABLE doc(k TEXT PRIMARY KEY, body);
    CREATE VIRTUAL TABLE words USING fts5(body, content='doc', content_rowid='rowid');
    INSERT INTO doc VALUES('a', 'milk'), ('b', 'bread'), ('c', 'salt');
    INSERT INTO words(words) VALUES('rebuild');
  )");
  world.remember();
  world.snapshot();
  world.sell(
      "BEGIN; INSERT OR REPLACE INTO doc VALUES('a', 'milk'); INSERT INTO words(words) VALUES('rebuild'); COMMIT");
  // Two rows that exchange their rowids.
  world.sell(
      "BEGIN; DELETE FROM doc WHERE k IN ('b', 'c'); INSERT INTO doc(rowid, k, body) VALUES(3, 'b', 'bread'), (2, 'c', "
      "'salt'); INSERT INTO words(words) VALUES('rebuild'); COMMIT");
  // Rows of other rowids move onto those that were given up.
  world.sell(
      "BEGIN; UPDATE doc SET rowid=rowid+100; UPDATE doc SET rowid=rowid-99; INSERT INTO words(words) "
      "VALUES('rebuild'); "
      "COMMIT");
  world.seal();
  for (TransactionNo moment = 1; moment <= 3; moment++) {
    world.check_moment(moment);
    auto db = world.open_staged();
    INFO("transaction " << moment);
    auto rowids = [&](const std::string& k) {
      return must(db.query_integer("SELECT rowid FROM doc NOT INDEXED WHERE k='" + k + "'"));
    };
    CHECK(rowids("a") == (moment == 3 ? 5 : 4));
    CHECK(rowids("b") == (moment == 1 ? 2 : moment == 2 ? 3 : 4));
    CHECK(rowids("c") == (moment == 1 ? 3 : moment == 2 ? 2 : 3));
    for (auto [word, key] : {std::pair{"milk", "a"}, {"bread", "b"}, {"salt", "c"}})
      CHECK(must(db.query_text("SELECT k FROM doc WHERE rowid=(SELECT rowid FROM words WHERE words MATCH '" +
                               std::string(word) + "')")) == key);
  }
}

TEST_CASE("restore: statistics that changed several times before a transaction, and around a snapshot") {
  RestoreWorld world;
  world.run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE INDEX t_a ON t(a); CREATE INDEX t_b ON t(b);"
      "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<3000) INSERT INTO t SELECT n, n%7, n%31 "
      "FROM "
      "g; ANALYZE");
  world.remember();
  world.snapshot();
  // Nothing of this is an action, so it waits for the next transaction that has one.
  auto hidden = [&](const std::string& sql) {
    world.run(sql);
    world.capture();
  };
  hidden("PRAGMA analysis_limit=100; ANALYZE");
  hidden("PRAGMA analysis_limit=1000; ANALYZE");
  hidden("UPDATE sqlite_stat1 SET stat='3000 1' WHERE idx='t_a'");
  hidden("UPDATE sqlite_stat1 SET stat='3000 2' WHERE idx='t_a'");
  hidden("INSERT INTO sqlite_stat1 VALUES('t', 'gone', '1 1')");
  hidden("DELETE FROM sqlite_stat1 WHERE idx='gone'");
  hidden("DELETE FROM sqlite_stat1 WHERE idx='t_b'");
  hidden("INSERT INTO sqlite_stat1 VALUES('t', 't_b', '3000 9')");
  TransactionNo first = world.sell("INSERT INTO t(a, b) VALUES(1, 1)");
  world.seal();
  world.check_moment(first);
  // A snapshot between two changes, which both are in the log of the next transaction.
  hidden("UPDATE sqlite_stat1 SET stat='3001 3' WHERE idx='t_a'");
  hidden("INSERT INTO sqlite_stat1 VALUES('t', 'gone', '2 2')");
  world.snapshot(SnapshotType::incremental);
  hidden("UPDATE sqlite_stat1 SET stat='3001 4' WHERE idx='t_a'");
  hidden("DELETE FROM sqlite_stat1 WHERE idx='gone'");
  TransactionNo second = world.sell("INSERT INTO t(a, b) VALUES(2, 2)");
  hidden("ANALYZE");
  TransactionNo third = world.sell("DELETE FROM t WHERE id>2000");
  world.seal();
  world.check_moment(second);
  world.check_moment(third);
}

TEST_CASE("restore: defaults of added columns, in rows that never had them") {
  RestoreWorld world(1, "PRAGMA encoding='UTF-16le'; PRAGMA page_size=1024; PRAGMA journal_mode=WAL;");
  world.run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) VALUES(1), (2), (3);"
      "ALTER TABLE t ADD COLUMN a TEXT DEFAULT abc; ALTER TABLE t ADD COLUMN b REAL DEFAULT +5;"
      "ALTER TABLE t ADD COLUMN c INT DEFAULT '7'; ALTER TABLE t ADD COLUMN d DEFAULT x'00ff';"
      "ALTER TABLE t ADD COLUMN e TEXT DEFAULT 1.50; ALTER TABLE t ADD COLUMN f DEFAULT FALSE;"
      "CREATE TABLE k(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO k VALUES('x', 1), ('y', 2);"
      "ALTER TABLE k ADD COLUMN a TEXT DEFAULT \"d'ef\"");
  world.remember();
  world.snapshot();
  world.sell("UPDATE t SET v=9 WHERE id=2; DELETE FROM t WHERE id=3; UPDATE k SET v=3 WHERE k='y'");
  world.sell("INSERT INTO t(id) VALUES(4); UPDATE t SET a='own' WHERE id=1; INSERT INTO k(k) VALUES('z')");
  world.seal();
  for (auto& [transaction, copy] : world.copies) world.check_moment(transaction);
}

TEST_CASE("restore: what SQLite can't check without the application is named, the rest is checked") {
  RestoreWorld world;
  auto upper = [](sqlite3_context* context, int, sqlite3_value** values) { sqlite3_result_value(context, values[0]); };
  auto compare = [](void*, int n, const void* a, int m, const void* b) {
    int c = std::memcmp(a, b, static_cast<size_t>(std::min(n, m)));
    return c ? -c : m - n;
  };
  sqlite3_create_collation_v2(world.app.handle(), "GERMAN", SQLITE_UTF8, nullptr, compare, nullptr);
  sqlite3_create_function_v2(world.app.handle(), "fold", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, upper, nullptr,
                             nullptr, nullptr);
  world.run(R"(
    CREATE TABLE a(id INTEGER PRIMARY KEY, v TEXT COLLATE GERMAN); CREATE INDEX av ON a(v);
    CREATE TABLE b(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX bv ON b(fold(v));
    CREATE TABLE w(k TEXT COLLATE GERMAN PRIMARY KEY, v DEFAULT 4) WITHOUT ROWID;
    CREATE TABLE plain(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX plain_v ON plain(v);
    CREATE VIRTUAL TABLE search USING fts5(body);
    INSERT INTO a(v) VALUES('x'), ('y'), ('z'); INSERT INTO b(v) SELECT v FROM a; INSERT INTO w(k) SELECT v FROM a;
    INSERT INTO plain(v) SELECT v FROM a; INSERT INTO search SELECT v FROM a;
  )");
  world.capture();
  world.snapshot();
  RestoreMoment at_snapshot;
  at_snapshot.snapshot = world.full->uuid;
  auto outcome = must(world.try_restore(at_snapshot));
  CHECK(outcome.proven);
  for (const char* part : {"'a' (no such collation sequence: GERMAN)", "'b' (unknown function: fold())", "'w' ("})
    CHECK_MESSAGE(contains(outcome.note, part), outcome.note);
  CHECK(!contains(outcome.note, "plain"));
  CHECK(!contains(outcome.note, "search"));
  // Tables that need nothing of the application are replayed as ever.
  TransactionNo sold = 0;
  world.run("INSERT INTO plain(v) VALUES('new')");
  world.capture();
  sold = world.capturer->status().transaction;
  world.seal();
  outcome = must(world.try_restore(RestoreWorld::at_transaction(sold)));
  CHECK(outcome.proven);
  CHECK(contains(outcome.note, "GERMAN"));

  // What is wrong with an index that can be checked is still found, although all rows are right.
  auto plan = must(plan_restore(world.store, world.lineage, at_snapshot));
  auto staging = world.staging();
  must(staging.fill(plan, nullptr));
  int64_t root;
  {
    auto db = world.open_staged();
    root = must(db.query_integer("SELECT rootpage FROM sqlite_schema WHERE name='plain_v'"));
  }
  {
    auto file = must(world.files.open(world.staged_path(), OpenMode::read_write));
    uint8_t page[1024];
    must(file->read(static_cast<uint64_t>(root - 1) * sizeof page, page));
    auto* key = std::find(page + 16, page + sizeof page, 'y');
    REQUIRE(key != page + sizeof page);
    *key = 'Y';
    must(file->write(static_cast<uint64_t>(root - 1) * sizeof page, page));
  }
  Error error = refused(staging.prove(nullptr));
  CHECK(error.kind == ErrorKind::corrupt);
  CHECK_MESSAGE(contains(error.context, "plain_v"), error.context);
}

TEST_SUITE_END();
