#include "actionlog/replay.h"

#include <algorithm>

#include "actionlog/render.h"
#include "actionlog/replay_target.h"
#include "base/checks.h"
#include "dbfile/record.h"

namespace tillsync {

Replayer::Replayer(Connection& target, std::shared_ptr<const Schema> schema)
    : db_(target), schema_(std::move(schema)) {}
Replayer::~Replayer() = default;

Result<std::unique_ptr<Replayer>> Replayer::create(Connection& target, std::shared_ptr<const Schema> schema,
                                                   std::vector<TableDigest> start, TransactionNo position,
                                                   bool keep_going) {
  std::unique_ptr<Replayer> replay(new Replayer(target, std::move(schema)));
  sqlite3* handle = target.handle();
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, nullptr);
  sqlite3_extended_result_codes(handle, 1);
  TILLSYNC_TRY(target.execute("PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON"));
  for (auto& table : start) replay->digests_[table.name] = table;
  replay->position_ = position;
  replay->keep_going_ = keep_going;
  return replay;
}

std::vector<TableDigest> Replayer::digests() const {
  std::vector<TableDigest> all;
  for (auto& [name, digest] : digests_) all.push_back(digest);
  return all;
}

Result<Replayer::Target*> Replayer::target_of(const std::string& name) {
  auto& slot = targets_[name];
  if (!slot) {
    const Table* table = schema_->find(name);
    if (!table)
      return Error{ErrorKind::corrupt, 0,
                   "the log names table '" + name + "', which the snapshot's schema does not have"};
    auto made = Target::create(db_, *table, schema_->text_encoding);
    if (!made)
      return Error{ErrorKind::schema, made.error().code,
                   "table '" + name + "' can't be written outside the application: " + made.error().context};
    slot = std::move(*made);
  }
  return slot.get();
}

// Takes the rows of transaction t of the segment into pending_ and hidden_.
Result<void> Replayer::collect(const Segment& segment, size_t t, size_t& next, size_t& next_hidden, bool wanted) {
  if (wanted && segment.transactions[t].flags & (kSchemaChange | kRenumber)) {
    barrier_ = segment.actions[next].sequence;
    return Error{ErrorKind::schema, 0,
                 "sequence " + std::to_string(*barrier_) + " is a change of schema; replay does not cross it"};
  }
  for (; next < segment.actions.size() && segment.actions[next].transaction_index == t; next++) {
    const SegmentAction& a = segment.actions[next];
    if (!wanted || a.kind == ActionKind::restore) continue;
    if (a.kind > ActionKind::remove)
      return Error{ErrorKind::corrupt, 0,
                   "sequence " + std::to_string(a.sequence) +
                       " is a change of schema in a transaction that is none by its flags"};
    TILLSYNC_LET(Target * target, target_of(segment.tables[a.table_index]));
    pending_.push_back({&a, target});
  }
  for (; next_hidden < segment.hidden.size() && segment.hidden[next_hidden].transaction_index == t; next_hidden++) {
    const HiddenRow& h = segment.hidden[next_hidden];
    if (wanted) hidden_.push_back({segment.tables[h.table_index], h.rowid.value_or(0), h.after});
  }
  return {};
}

Result<void> Replayer::apply(const Segment& segment, TransactionNo last,
                             const std::function<bool(uint64_t)>& progress) {
  size_t next = 0, next_hidden = 0;
  for (size_t t = 0; t < segment.transactions.size(); t++) {
    const SegmentTransaction& transaction = segment.transactions[t];
    const bool complete = t + 1 < segment.transactions.size() || !(segment.head.flags & kEndsInside);
    const bool wanted = transaction.number > position_ && transaction.number <= last && complete;
    if (wanted) begin_transaction();
    TILLSYNC_TRY(collect(segment, t, next, next_hidden, wanted));
    if (!wanted) continue;
    TILLSYNC_TRY(remove_all());
    TILLSYNC_TRY(insert_all());
    TILLSYNC_TRY(end_transaction(transaction.number));
    if (progress && !progress(applied_)) return Error{ErrorKind::cancelled, 0, "stopped during replay"};
  }
  return {};
}

Result<size_t> Replayer::apply_spread(const PartReader& part, const std::function<bool(uint64_t)>& progress) {
  TransactionNo number = 0;
  size_t parts = 0;
  begin_transaction();
  for (bool removing : {true, false}) {
    for (size_t i = 0; removing ? parts == 0 : i < parts; i++) {
      TILLSYNC_LET(Segment segment, part(i));
      const size_t t = i == 0 ? segment.transactions.size() - 1 : 0;
      number = segment.transactions[t].number;
      if (i > 0 && (segment.transactions.size() > 1 || !(segment.head.flags & kEndsInside))) parts = i + 1;
      size_t next = 0, next_hidden = 0;
      for (size_t before = 0; before < t; before++) TILLSYNC_TRY(collect(segment, before, next, next_hidden, false));
      TILLSYNC_TRY(collect(segment, t, next, next_hidden, true));
      if (removing) {
        TILLSYNC_TRY(remove_all());
        pending_.clear();
        hidden_.clear();
      } else {
        TILLSYNC_TRY(insert_all());
      }
      if (progress && !progress(applied_)) return Error{ErrorKind::cancelled, 0, "stopped during replay"};
    }
  }
  TILLSYNC_TRY(end_transaction(number));
  return parts;
}

bool Replayer::has_failed(Sequence sequence) const {
  return std::binary_search(failed_sequences_.begin(), failed_sequences_.end(), sequence);
}

bool Replayer::dependency_failed(const SegmentAction& row) const {
  return std::any_of(row.dependencies.begin(), row.dependencies.end(), [&](Sequence d) { return has_failed(d); });
}

Result<void> Replayer::failed(const SegmentAction& row, Target& target, const std::string& reason) {
  const std::string& table = target.table().name;
  std::string entity;
  const ByteView record = row.after.empty() ? ByteView(row.before) : ByteView(row.after);
  if (auto key = target.identity().key(row.rowid.value_or(0), record))
    entity = render_entity_id(*key, schema_->text_encoding);
  failures_.push_back({row.sequence, table, entity, reason});
  failed_sequences_.push_back(row.sequence);
  std::sort(failed_sequences_.begin(), failed_sequences_.end());
  if (keep_going_) return {};
  return Error{
      ErrorKind::conflict, 0,
      "sequence " + std::to_string(row.sequence) + ", table '" + table + "', entity " + entity + ": " + reason};
}

std::string Replayer::shown(int64_t rowid, ByteView record, Target& target) const {
  return render_record(record, rowid, target.table(), schema_->text_encoding).dump();
}

std::string Replayer::another_row(int64_t rowid, ByteView found, ByteView expected, Target& target) const {
  return "another row is there: " + shown(rowid, found, target) + " instead of " + shown(rowid, expected, target);
}

Result<void> Replayer::remove_before(const SegmentAction& row, Target& target) {
  if (row.before.empty()) return {};
  if (dependency_failed(row)) return failed(row, target, "an action it depends on failed");
  const int64_t rowid = row.previous_rowid.value_or(row.rowid.value_or(0));
  TILLSYNC_LET(auto existing, target.find(rowid, row.before));
  if (!existing) {
    if (row.kind == ActionKind::remove) return {};
    return failed(row, target, "the row to be changed is not there; it should be " + shown(rowid, row.before, target));
  }
  TILLSYNC_LET(ByteView before, target.identity().canonical(row.before));
  if (!equal(*existing, before)) {
    if (row.kind == ActionKind::update) {
      TILLSYNC_LET(ByteView after, target.identity().canonical(row.after));
      // Made already: taken out here and put back below, so that a second replay is a replay.
      if (equal(*existing, after)) return target.remove(rowid, row.before);
    }
    return failed(row, target, another_row(rowid, *existing, row.before, target));
  }
  return target.remove(rowid, row.before);
}

Result<void> Replayer::insert_after(const SegmentAction& row, Target& target) {
  if (row.after.empty() || has_failed(row.sequence)) return {};
  if (dependency_failed(row)) return failed(row, target, "an action it depends on failed");
  const int64_t rowid = row.rowid.value_or(0);
  // Nearly always there is room for it. What is in its way is looked at where SQLite refused it.
  TILLSYNC_LET(const bool is_unique, target.refuses_a_second(rowid, row.after));
  auto done = is_unique ? target.insert(rowid, row.after) : Result<void>();
  constexpr int kPrimaryCode = 0xff;  // the rest of an extended code says which constraint
  const bool refused = !done && (done.error().code & kPrimaryCode) == SQLITE_CONSTRAINT;
  if (is_unique && !refused) return done;
  TILLSYNC_LET(auto existing, target.find(rowid, row.after));
  if (existing) {
    TILLSYNC_LET(ByteView after, target.identity().canonical(row.after));
    if (equal(*existing, after)) return {};
    return failed(row, target, another_row(rowid, *existing, row.after, target));
  }
  if (!is_unique) done = target.insert(rowid, row.after);
  if (!done && (done.error().code & kPrimaryCode) == SQLITE_CONSTRAINT)
    return failed(row, target, "a constraint of the table refuses the row: " + done.error().context);
  return done;
}

Result<void> Replayer::put_hidden(const Hidden& row) {
  // Only hints: a row of a table that is not there is none for this database.
  const Table* table = schema_->find(row.table);
  if (!table || !table->is_statistics()) return {};
  TILLSYNC_LET(Target * target, target_of(row.table));
  TILLSYNC_TRY(target->remove(row.rowid, {}));
  if (row.after.empty()) return {};
  return target->insert(row.rowid, row.after);
}

void Replayer::begin_transaction() {
  pending_.clear();
  hidden_.clear();
  sequence_rows_.clear();
  counters_.reset();
}

Result<void> Replayer::remove_all() {
  for (auto& [action, target] : pending_) TILLSYNC_TRY(remove_before(*action, *target));
  return {};
}

// What sqlite_sequence holds when all that goes is gone, and nothing has come.
Result<void> Replayer::save_counters() {
  counters_.emplace();
  if (!schema_->find("sqlite_sequence")) return {};
  TILLSYNC_LET(auto select, db_.cached("SELECT rowid, name, seq FROM sqlite_sequence"));
  while (true) {
    TILLSYNC_LET(bool row, select->step());
    if (!row) return {};
    Bytes record;
    RecordWriter writer;
    auto take = [&](int column) {
      Value v;
      if (select->is_null(column)) return v;
      if (sqlite3_column_type(select->handle(), column) == SQLITE_INTEGER) {
        v.type = ValueType::integer;
        v.integer = select->integer(column);
      } else {
        v.type = ValueType::text;
        v.bytes = select->blob(column);
      }
      return v;
    };
    writer.add(take(1));
    writer.add(take(2));
    writer.finish(record);
    counters_->emplace_back(select->integer(0), std::move(record));
  }
}

Result<void> Replayer::insert_all() {
  if (!counters_) TILLSYNC_TRY(save_counters());
  for (auto& [action, target] : pending_) {
    // It goes last: inserting into an AUTOINCREMENT table changes it by itself.
    if (target->table().name == "sqlite_sequence") {
      sequence_rows_.push_back(*action);
      continue;
    }
    TILLSYNC_TRY(insert_after(*action, *target));
    TILLSYNC_TRY(count(*action, *target));
  }
  pending_.clear();
  return {};
}

// The digests that the log's own rows lead to.
Result<void> Replayer::count(const SegmentAction& row, Target& target) {
  if (has_failed(row.sequence)) return {};
  if (!target.counted) {
    target.counted = &digests_[target.table().name];
    target.counted->name = target.table().name;
  }
  TableDigest& digest = *target.counted;
  if (!row.before.empty()) {
    TILLSYNC_LET(Digest d, target.identity().digest(row.previous_rowid.value_or(row.rowid.value_or(0)), row.before));
    digest.digest.subtract(d);
    digest.rows--;
  }
  if (!row.after.empty()) {
    TILLSYNC_LET(Digest d, target.identity().digest(row.rowid.value_or(0), row.after));
    digest.digest.add(d);
    digest.rows++;
  }
  sequence_ = std::max(sequence_, row.sequence);
  applied_++;
  return {};
}

Result<void> Replayer::end_transaction(TransactionNo number) {
  if (counters_ && schema_->find("sqlite_sequence")) {
    TILLSYNC_LET(auto empty, db_.cached("DELETE FROM sqlite_sequence"));
    TILLSYNC_TRY(empty->run());
    TILLSYNC_LET(Target * target, target_of("sqlite_sequence"));
    for (auto& [rowid, record] : *counters_) TILLSYNC_TRY(target->insert(rowid, record));
  }
  for (auto& row : std::exchange(sequence_rows_, {})) {
    TILLSYNC_LET(Target * target, target_of("sqlite_sequence"));
    TILLSYNC_TRY(insert_after(row, *target));
    TILLSYNC_TRY(count(row, *target));
  }
  for (auto& row : std::exchange(hidden_, {})) TILLSYNC_TRY(put_hidden(row));
  position_ = number;
  return {};
}

}  // namespace tillsync
