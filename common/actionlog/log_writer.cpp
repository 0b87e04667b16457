#include "actionlog/log_writer.h"

#include <algorithm>

#include "base/checks.h"
#include "dbfile/record.h"

namespace tillsync {

const char* to_string(ActionKind kind) {
  switch (kind) {
    case ActionKind::create: return "CREATE";
    case ActionKind::update: return "UPDATE";
    case ActionKind::remove: return "DELETE";
    case ActionKind::schema: return "SCHEMA";
    case ActionKind::renumber: return "RENUMBER";
    case ActionKind::restore: return "RESTORE";
  }
  return "";
}

Result<std::unique_ptr<LogWriter>> LogWriter::load(StateDb& state, int64_t database_id, int64_t session_id) {
  std::unique_ptr<LogWriter> log(new LogWriter(state, database_id, session_id));
  auto db = state.lease();
  TILLSYNC_LET(auto position,
               db->prepare("SELECT sequence, transaction_no, last_capture_at FROM databases WHERE id=?"));
  position.bind(1, database_id);
  TILLSYNC_LET(bool found, position.step());
  TILLSYNC_CHECK(found);
  log->sequence_ = position.unsigned_integer(0);
  log->transaction_ = position.unsigned_integer(1);
  if (auto at = position.optional_integer(2)) log->last_capture_at_ = from_ms(*at);
  TILLSYNC_LET(auto tables, db->prepare("SELECT name, id, rows, digest FROM tracked_tables WHERE database_id=?"));
  tables.bind(1, database_id);
  while (true) {
    TILLSYNC_LET(bool row, tables.step());
    if (!row) break;
    Tracked& tracked = log->tables_[tables.text(0)];
    tracked.id = tables.integer(1);
    TILLSYNC_LET(auto digest, MultisetDigest::from_bytes(tables.blob(3)));
    tracked.digest = {tables.text(0), tables.unsigned_integer(2), digest};
  }
  return log;
}

Result<LogWriter::Tracked*> LogWriter::tracked(const std::string& name, const Table* table) {
  if (table) {
    auto known = by_table_.find(table);
    if (known != by_table_.end()) return known->second;
  }
  Tracked& tracked = tables_[name];
  if (tracked.id == 0) {
    tracked.digest.name = name;
    auto db = state_->lease();
    TILLSYNC_LET(auto insert,
                 db->cached("INSERT INTO tracked_tables(database_id, name, digest) VALUES(?,?,?) RETURNING id"));
    insert->bind(1, database_id_).bind(2, name).bind(3, ByteView(tracked.digest.digest.bytes()));
    TILLSYNC_LET(bool row, insert->step());
    TILLSYNC_CHECK(row);
    tracked.id = insert->integer(0);
    TILLSYNC_TRY(insert->run());
  }
  if (table) {
    // Dropped and made again: live again, though it may have no row yet.
    if (!tracked.table) tracked.changed = true;
    tracked.table = table;
    tracked.identity = std::make_unique<RowIdentity>(*table);
    by_table_[table] = &tracked;
  }
  return &tracked;
}

Result<void> LogWriter::set_schema(std::shared_ptr<const Schema> schema, int64_t schema_id) {
  by_table_.clear();
  std::vector<Tracked*> live;
  for (auto& [name, tracked] : tables_) {
    if (tracked.table) live.push_back(&tracked);
    tracked.identity.reset();
    tracked.table = nullptr;
  }
  // The old tables' identities point into it: it goes after them.
  schema_ = std::move(schema);
  schema_id_ = schema_id;
  for (auto& table : schema_->tables)
    if (!table.is_statistics()) TILLSYNC_TRY(tracked(table.name, &table));
  for (Tracked* gone : live) {
    if (gone->table) continue;
    gone->digest.rows = 0;
    gone->digest.digest = {};
    gone->changed = true;
  }
  return {};
}

void LogWriter::begin_transaction(Timestamp captured_at, uint32_t flags, std::optional<CommitSpan> committed) {
  // Clocks jump; a log does not.
  captured_at_ = last_capture_at_ ? std::max(captured_at, *last_capture_at_) : captured_at;
  flags_ = flags;
  committed_ = committed;
  first_sequence_ = sequence_ + 1;
}

Result<void> LogWriter::hidden(const Table& table, const LoggedRow& row) {
  auto db = state_->lease();
  TILLSYNC_LET(
      auto insert,
      db->cached("INSERT INTO hidden_rows(database_id, transaction_no, table_name, action, row_id, data, previous_data)"
                 " VALUES(?,?,?,?,?,?,?)"));
  insert->bind(1, database_id_)
      .bind(2, transaction_ + 1)
      .bind(3, table.name)
      .bind(4, static_cast<int>(row.action))
      .bind(5, row.rowid);
  row.after.empty() ? insert->bind_null(6) : insert->bind_static(6, row.after);
  row.before.empty() ? insert->bind_null(7) : insert->bind_static(7, row.before);
  return insert->run();
}

Result<void> LogWriter::collect_dependencies(Tracked& tracked, const LoggedRow& row, Sequence previous) {
  dependencies_.clear();
  ByteWriter w(dependencies_);
  Sequence mine = sequence_ + 1;
  if (previous > dependency_floor_) w.uvar(mine - previous);
  if (row.action == ActionKind::remove || tracked.table->foreign_keys.empty()) return {};
  auto values = decode_record(row.after);
  if (!values) return {};
  auto db = state_->lease();
  for (auto& foreign : tracked.table->foreign_keys) {
    const Table* parent = schema_->find(foreign.parent_table);
    if (!parent) continue;
    // The parent row is found by its entity key; a foreign key to another unique column has no such name and is left
    // out.
    std::vector<int> parent_columns;
    for (auto& name : foreign.parent_columns) parent_columns.push_back(parent->column_named(name));
    if (parent_columns.empty()) parent_columns = parent->key_columns;
    if (parent_columns.size() != foreign.columns.size() || parent_columns.empty()) continue;
    auto value_of = [&](int parent_column) -> const Value* {
      for (size_t i = 0; i < parent_columns.size(); i++) {
        if (parent_columns[i] != parent_column) continue;
        if (foreign.columns[i] < 0) return nullptr;
        int field = tracked.table->field_of(foreign.columns[i]);
        if (field < 0 || static_cast<size_t>(field) >= values->size()) return nullptr;
        return &(*values)[static_cast<size_t>(field)];
      }
      return nullptr;
    };
    parent_key_.clear();
    bool known = parent->key_columns.size() == parent_columns.size();
    if (known && parent->rowid_alias >= 0) {
      const Value* v = value_of(parent->rowid_alias);
      known = v && v->type == ValueType::integer;
      if (known) put_rowid_key(parent_key_, v->integer);
    } else if (known) {
      RecordWriter key;
      for (int column : parent->key_columns) {
        const Value* v = value_of(column);
        known = known && v && v->type != ValueType::null;
        if (known) key.add(*v);
      }
      parent_key_.push_back('k');
      key.finish(parent_key_);
    }
    if (!known) continue;
    auto target = tables_.find(parent->name);
    if (target == tables_.end()) continue;
    TILLSYNC_LET(auto last, db->cached("SELECT last_sequence FROM entity_uuids WHERE table_id=? AND entity_key=?"));
    last->bind(1, target->second.id).bind_static(2, parent_key_);
    TILLSYNC_LET(bool found, last->step());
    Sequence sequence = found ? last->unsigned_integer(0) : 0;
    last->reset();
    // A row that refers to itself does not depend on this very action.
    if (sequence > dependency_floor_ && sequence != previous && sequence < mine) w.uvar(mine - sequence);
  }
  return {};
}

Result<LogWriter::Entity> LogWriter::update_entity(const Tracked& tracked, const LoggedRow& row) {
  auto db = state_->lease();
  const Sequence sequence = sequence_ + 1;
  const int64_t now = to_ms(captured_at_);
  const bool is_new = row.action == ActionKind::create;
  if (is_new) {
    // Most rows are new ones that nobody knows yet: one statement.
    TILLSYNC_LET(auto insert, db->cached("INSERT OR IGNORE INTO entity_uuids(table_id, entity_key, created_sequence, "
                                         "version, last_sequence, created_at, updated_at, deleted)"
                                         " VALUES(?1,?2,?3,1,?3,?4,?4,0)"));
    TILLSYNC_TRY(insert->bind(1, tracked.id).bind_static(2, row.key).bind(3, sequence).bind(4, now).run());
    if (db->changes() == 1) return Entity{sequence, 1, 0};
  }
  TILLSYNC_LET(auto known, db->cached("SELECT created_sequence, version, last_sequence FROM entity_uuids "
                                      "WHERE table_id=? AND entity_key=?"));
  known->bind(1, tracked.id).bind_static(2, row.key);
  TILLSYNC_LET(bool found, known->step());
  Entity entity{0, 2, 0};  // a row of the baseline, of which nothing was recorded, is version 1
  if (found) entity = {known->unsigned_integer(0), known->integer(1) + 1, known->unsigned_integer(2)};
  known->reset();
  if (is_new) entity = {sequence, 1, entity.previous};
  TILLSYNC_LET(auto put, found ? db->cached("UPDATE entity_uuids SET created_sequence=?3, version=?4, last_sequence=?5,"
                                            " created_at=iif(?9, ?6, created_at), updated_at=?7, deleted=?8"
                                            " WHERE table_id=?1 AND entity_key=?2")
                               : db->cached("INSERT INTO entity_uuids(table_id, entity_key, created_sequence, version, "
                                            "last_sequence, created_at, updated_at, deleted)"
                                            " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)"));
  put->bind(1, tracked.id).bind_static(2, row.key).bind(3, entity.created).bind(4, entity.version).bind(5, sequence);
  put->bind(6, is_new ? now : int64_t{0}).bind(7, now).bind(8, row.action == ActionKind::remove);
  if (found) put->bind(9, is_new);
  TILLSYNC_TRY(put->run());
  return entity;
}

Result<void> LogWriter::row(const Table& table, const LoggedRow& row) {
  if (table.is_statistics()) return hidden(table, row);
  TILLSYNC_LET(Tracked * tracked, this->tracked(table.name, &table));
  TILLSYNC_LET(Entity entity, update_entity(*tracked, row));
  TILLSYNC_TRY(collect_dependencies(*tracked, row, entity.previous));
  const Sequence sequence = sequence_ + 1;

  auto db = state_->lease();
  TILLSYNC_LET(auto insert, db->cached("INSERT INTO action_log(id, transaction_no, table_id, action, row_id, "
                                       "previous_row_id, entity_key, entity_created,"
                                       " version, dependencies, data, previous_data) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"));
  insert->bind(1, scoped_id(database_id_, sequence))
      .bind(2, transaction_ + 1)
      .bind(3, tracked->id)
      .bind(4, static_cast<int>(row.action));
  insert->bind(5, row.rowid).bind(6, row.previous_rowid).bind_static(7, row.key).bind(8, entity.created);
  insert->bind(9, entity.version);
  dependencies_.empty() ? insert->bind_null(10) : insert->bind_static(10, dependencies_);
  row.after.empty() ? insert->bind_null(11) : insert->bind_static(11, row.after);
  row.before.empty() ? insert->bind_null(12) : insert->bind_static(12, row.before);
  TILLSYNC_TRY(insert->run());

  int64_t rowid = row.rowid.value_or(0);
  if (!row.before.empty()) {
    TILLSYNC_LET(Digest d, tracked->identity->digest(row.previous_rowid.value_or(rowid), row.before));
    tracked->digest.digest.subtract(d);
    tracked->digest.rows--;
  }
  if (!row.after.empty()) {
    TILLSYNC_LET(Digest d, tracked->identity->digest(rowid, row.after));
    tracked->digest.digest.add(d);
    tracked->digest.rows++;
  }
  tracked->changed = true;
  sequence_ = sequence;
  return {};
}

Result<void> LogWriter::mark(ActionKind kind, const std::string& table, ByteView before, ByteView after) {
  TILLSYNC_LET(Tracked * tracked, this->tracked(table, nullptr));
  auto db = state_->lease();
  TILLSYNC_LET(
      auto insert,
      db->cached(
          "INSERT INTO action_log(id, transaction_no, table_id, action, data, previous_data) VALUES(?,?,?,?,?,?)"));
  insert->bind(1, scoped_id(database_id_, sequence_ + 1))
      .bind(2, transaction_ + 1)
      .bind(3, tracked->id)
      .bind(4, static_cast<int>(kind));
  after.empty() ? insert->bind_null(5) : insert->bind_static(5, after);
  before.empty() ? insert->bind_null(6) : insert->bind_static(6, before);
  TILLSYNC_TRY(insert->run());
  flags_ |= kind == ActionKind::schema ? kSchemaChange : kind == ActionKind::renumber ? kRenumber : kRestore;
  sequence_++;
  return {};
}

Result<uint64_t> LogWriter::end_transaction() {
  uint64_t actions = sequence_ + 1 - first_sequence_;
  // Hidden rows alone make no transaction; they wait for the next one that has actions.
  if (actions == 0) return uint64_t{0};
  transaction_++;
  last_capture_at_ = captured_at_;
  auto db = state_->lease();
  TILLSYNC_LET(auto insert, db->cached("INSERT INTO transactions(id, first_sequence, last_sequence, captured_at, "
                                       "session_id, flags, schema_id, written_at, seen_at) VALUES(?,?,?,?,?,?,?,?,?)"));
  insert->bind(1, scoped_id(database_id_, transaction_))
      .bind(2, first_sequence_)
      .bind(3, sequence_)
      .bind(4, to_ms(captured_at_));
  insert->bind(5, session_id_).bind(6, flags_).bind(7, schema_id_);
  if (committed_) insert->bind(8, committed_->written_at).bind(9, committed_->seen_at);
  TILLSYNC_TRY(insert->run());
  if (flags_ & (kSchemaChange | kRenumber)) {
    TILLSYNC_LET(auto point, db->cached("INSERT INTO digest_points(id, body) VALUES(?,?)"));
    Bytes body = encode_digests(digests());
    TILLSYNC_TRY(point->bind(1, scoped_id(database_id_, sequence_)).bind_static(2, body).run());
  }
  return actions;
}

Bytes encode_digests(const std::vector<TableDigest>& tables) {
  Bytes out;
  ByteWriter w(out);
  w.uvar(tables.size());
  for (auto& table : tables) {
    w.sized(table.name);
    w.uvar(table.rows);
    auto digest = table.digest.bytes();
    w.bytes(digest);
  }
  return out;
}

Result<std::vector<TableDigest>> decode_digests(ByteReader& r) {
  std::vector<TableDigest> tables;
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    TableDigest table;
    table.name = r.text();
    table.rows = r.uvar();
    auto digest = r.bytes(32);
    if (!r.ok()) break;
    TILLSYNC_LET(table.digest, MultisetDigest::from_bytes(digest));
    tables.push_back(std::move(table));
  }
  if (!r.ok()) return Error{ErrorKind::corrupt, 0, "table digests that do not parse"};
  return tables;
}

Result<void> LogWriter::reset_digest(const Table& table) {
  if (table.is_statistics()) return {};
  TILLSYNC_LET(Tracked * tracked, this->tracked(table.name, &table));
  tracked->digest.rows = 0;
  tracked->digest.digest = {};
  tracked->changed = true;
  return {};
}

Result<void> LogWriter::count_row(const Table& table, int64_t rowid, ByteView record) {
  if (table.is_statistics()) return {};
  TILLSYNC_LET(Tracked * tracked, this->tracked(table.name, &table));
  TILLSYNC_LET(Digest d, tracked->identity->digest(rowid, record));
  tracked->digest.digest.add(d);
  tracked->digest.rows++;
  tracked->changed = true;
  return {};
}

Result<void> LogWriter::write_totals(Connection& state) {
  TILLSYNC_LET(auto update, state.cached("UPDATE tracked_tables SET rows=?, digest=?, live=? WHERE id=?"));
  for (auto& [name, tracked] : tables_) {
    if (!tracked.changed) continue;
    auto digest = tracked.digest.digest.bytes();
    update->bind(1, tracked.digest.rows)
        .bind(2, ByteView(digest))
        .bind(3, tracked.table != nullptr)
        .bind(4, tracked.id);
    TILLSYNC_TRY(update->run());
    tracked.changed = false;
  }
  TILLSYNC_LET(
      auto position,
      state.cached("UPDATE databases SET sequence=?, transaction_no=?, last_capture_at=?, schema_id=? WHERE id=?"));
  std::optional<int64_t> at;
  if (last_capture_at_) at = to_ms(*last_capture_at_);
  position->bind(1, sequence_).bind(2, transaction_).bind(3, at).bind(4, schema_id_).bind(5, database_id_);
  return position->run();
}

std::vector<TableDigest> LogWriter::digests() const {
  std::vector<TableDigest> all;
  for (auto& [name, tracked] : tables_)
    if (tracked.table) all.push_back(tracked.digest);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace tillsync
