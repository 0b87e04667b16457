// A till whose log and snapshots go into a store in memory, and the way back from there.
#pragma once

#include "actionlog/log_sealer.h"
#include "capture/capture_fixture.h"
#include "ports/object_keys.h"
#include "restore/staging.h"
#include "snapshot/builder.h"
#include "support/memory_object_store.h"

namespace tillsync::test {

// Every table by type and exact content of each value; rowids where nothing else names a row.
inline Content dump(Connection& db) {
  Content content;
  auto tables =
      must(db.prepare("SELECT m.name FROM sqlite_schema m JOIN pragma_table_list l ON l.name=m.name AND l.schema='main'"
                      " WHERE m.type='table' AND l.type<>'virtual'"));
  while (must(tables.step())) {
    std::string name = tables.text(0), row = "''";
    auto info = must(db.prepare("SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden IN (0, 3) ORDER BY cid"));
    info.bind(1, name);
    bool keyless = true;
    while (must(info.step())) {
      std::string c = quote_identifier(info.text(0));
      row += "||'|'||typeof(" + c + ")||quote(" + c + ")||coalesce(hex(CAST(" + c + " AS BLOB)),'')";
      if (info.integer(1) > 0) keyless = false;
    }
    if (keyless) row += "||'|'||rowid";
    auto select = must(db.prepare("SELECT " + row + " FROM " + quote_identifier(name)));
    Rows& rows = content[name];
    while (must(select.step())) rows.insert(select.text(0));
  }
  return content;
}

// What a copy by SQLite's own backup holds.
inline Content dump_of_backup(Connection& source) {
  auto copy = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  auto* backup = sqlite3_backup_init(copy.handle(), "main", source.handle(), "main");
  REQUIRE(backup);
  CHECK(sqlite3_backup_step(backup, -1) == SQLITE_DONE);
  sqlite3_backup_finish(backup);
  return dump(copy);
}

struct RestoreWorld : Till {
  MemoryObjectStore store;
  Lineage lineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "pos", 1};
  std::vector<std::string> segments;        // keys, in order
  std::map<TransactionNo, Content> copies;  // by backup, at that transaction
  std::optional<Manifest> full, last;
  std::optional<std::map<Digest, StoredBlock>> stored;  // set: a FULL refers to what earlier packs hold

  using Till::Till;

  // One or more of the application's transactions, captured, and what the tables then hold remembered.
  TransactionNo remember() {
    capture();
    copies[capturer->status().transaction] = dump_of_backup(app);
    return capturer->status().transaction;
  }
  TransactionNo sell(const std::string& sql) {
    run(sql);
    clock.advance(std::chrono::milliseconds(10));
    return remember();
  }

  void seal() {
    LogSealer sealer(*state, 1, lineage, "{}", random);
    while (auto sealed = must(sealer.build())) {
      BytesSource source(sealed->object);
      must(store.put(sealed->key, source));
      auto db = state->lease();
      auto transaction = must(Transaction::begin(*db));
      must(sealer.record(*db, *sealed, clock.now()));
      must(transaction.commit());
      segments.push_back(sealed->key);
    }
  }

  SnapshotCut cut() {
    std::optional<SnapshotCut> made;
    capturer->request_cut([&](Result<SnapshotCut> r) { made = must(std::move(r)); });
    for (int i = 0; i < 50 && !made; i++) capturer->step();
    REQUIRE(made);
    return std::move(*made);
  }

  // Its packs, then its manifest, into the store.
  Manifest put(const BuiltSnapshot& built) {
    for (auto& pack : built.packs) {
      Bytes bytes = must(read_file(files, pack.path, 1 << 30));
      BytesSource source(bytes);
      must(store.put(pack.ref.key, source));
      for (uint32_t i = 0; stored && i < pack.runs.size(); i++)
        (*stored)[pack.runs[i]] = {pack.ref.key, i, pack.ref.size};
    }
    BytesSource source(built.manifest_bytes);
    must(store.put(built.manifest_key, source));
    return must(read_manifest(store, lineage, built.manifest.uuid));
  }

  Manifest snapshot(SnapshotType type = SnapshotType::full) {
    SnapshotCut c = cut();
    SnapshotPlan plan;
    Manifest& m = plan.metadata;
    std::array<uint8_t, 10> bits;
    random.fill(bits);
    clock.advance(std::chrono::milliseconds(5));
    m.uuid = uuid_v7(clock.now(), bits);
    m.type = type;
    m.lineage = lineage;
    m.created_at = clock.now();
    m.captured_at = c.captured_at;
    m.sequence = c.sequence;
    m.transaction = c.transaction;
    m.generation = c.generation;
    m.tables = c.tables;
    for (auto& o : c.schema->objects)
      if (o.sql) m.schema.push_back(*o.sql);
    if (type == SnapshotType::incremental) plan.from = &*last;
    if (type == SnapshotType::differential) plan.from = &*full;
    if (stored)
      plan.lookup = [this](const Digest& name) -> Result<std::optional<StoredBlock>> {
        auto it = stored->find(name);
        return it == stored->end() ? std::nullopt : std::optional<StoredBlock>(it->second);
      };
    must(files.make_directories(folder.path() + "/spool"));
    auto built = must(build_snapshot(plan, *c.image, files, folder.path() + "/spool", random));
    last = put(built);
    if (type == SnapshotType::full) full = last;
    return *last;
  }

  std::string staged_path() const { return folder.path() + "/staged.db"; }
  Staging staging() { return Staging(store, files, vfs.name(), staged_path()); }

  Result<RestoreOutcome> try_restore(const RestoreMoment& moment, bool keep_going = false,
                                     SqliteCheck check = SqliteCheck::run) {
    TILLSYNC_LET(auto plan, plan_restore(store, lineage, moment));
    auto stage = staging();
    TILLSYNC_TRY(stage.fill(plan, nullptr));
    TILLSYNC_TRY(stage.replay(plan, keep_going, nullptr));
    TILLSYNC_LET(auto outcome, stage.prove(nullptr, check));
    TILLSYNC_TRY(stage.seal());
    return outcome;
  }
  static RestoreMoment at_transaction(TransactionNo n) {
    RestoreMoment moment;
    moment.transaction = n;
    return moment;
  }
  Connection open_staged() { return must(Connection::open(staged_path(), SQLITE_OPEN_READWRITE)); }

  // Restores to the transaction and compares with the copy made then.
  void check_moment(TransactionNo n) {
    INFO("transaction " << n);
    auto outcome = must(try_restore(at_transaction(n)));
    CHECK(outcome.proven);
    CHECK(outcome.transaction == n);
    auto db = open_staged();
    Content restored = dump(db);
    check_same(restored, copies.at(n));
    CHECK(restored.size() == copies.at(n).size());
    for (auto& table : outcome.tables) CHECK(table.digest_ok);
  }
};

}  // namespace tillsync::test
