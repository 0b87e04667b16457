#include "actionlog/replay_target.h"

#include <algorithm>

#include "base/checks.h"
#include "dbfile/record.h"

namespace tillsync {

namespace {
Value value_of(sqlite3_stmt* s, int column) {
  Value v;
  auto bytes = [&] {
    // The blob view of a text is its bytes in the database's encoding.
    auto* p = static_cast<const uint8_t*>(sqlite3_column_blob(s, column));
    return ByteView(p, p ? static_cast<size_t>(sqlite3_value_bytes(sqlite3_column_value(s, column))) : 0);
  };
  switch (sqlite3_column_type(s, column)) {
    case SQLITE_INTEGER:
      v.type = ValueType::integer;
      v.integer = sqlite3_column_int64(s, column);
      break;
    case SQLITE_FLOAT:
      v.type = ValueType::real;
      v.real = sqlite3_column_double(s, column);
      break;
    case SQLITE_TEXT:
      v.type = ValueType::text;
      v.bytes = bytes();
      break;
    case SQLITE_BLOB:
      v.type = ValueType::blob;
      v.bytes = bytes();
      break;
    default: break;
  }
  return v;
}

// Cheap, and true for every text that SQLite takes for a number.
bool may_become_a_number(ByteView text) {
  for (uint8_t c : text)
    if (c > ' ') return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  return false;
}
}  // namespace

Result<std::unique_ptr<Replayer::Target>> Replayer::Target::create(Connection& db, const Table& table,
                                                                   uint32_t encoding) {
  std::unique_ptr<Target> t(new Target(db, table, encoding));
  // A column may be called rowid; one of the three names is usually free.
  for (const char* name : {"rowid", "_rowid_", "oid"})
    if (t->rowid_name_.empty() && table.column_named(name) < 0) t->rowid_name_ = name;
  if (table.rowid_alias >= 0)
    t->rowid_name_ = quote_identifier(table.columns[static_cast<size_t>(table.rowid_alias)].name);
  t->by_rowid_ = table.keyed_by_rowid();
  if (t->by_rowid_ && t->rowid_name_.empty())
    return Error{ErrorKind::schema, 0,
                 "table '" + table.name + "' hides its rowid behind columns of that name; its rows can't be replayed"};

  std::string where, all, name = quote_identifier(table.name);
  if (t->by_rowid_) {
    where = t->rowid_name_ + "=?";
  } else {
    // By bytes, whatever collation the column has: 'A' and 'a' are two entities.
    for (int column : table.key_columns) {
      std::string c = quote_identifier(table.columns[static_cast<size_t>(column)].name);
      where += (where.empty() ? "" : " AND ") + c + "=? COLLATE BINARY";
    }
  }
  std::string columns, marks;
  for (size_t field = 0; field < table.record_columns.size(); field++) {
    int column = table.record_columns[field];
    const Column& c = table.columns[static_cast<size_t>(column)];
    all += (all.empty() ? "" : ", ") + quote_identifier(c.name);
    if (c.stored_generated || column == table.rowid_alias) continue;
    columns += ", " + quote_identifier(c.name);
    marks += ",?";
    t->insert_fields_.push_back(static_cast<int>(field));
    if (c.affinity != Affinity::text && c.affinity != Affinity::blob)
      t->number_fields_.push_back(static_cast<int>(field));
  }
  TILLSYNC_LET(t->select_, db.prepare("SELECT " + all + " FROM " + name + " WHERE " + where));
  TILLSYNC_LET(t->delete_, db.prepare("DELETE FROM " + name + " WHERE " + where));
  if (!t->by_rowid_ && !table.without_rowid && !t->rowid_name_.empty()) {
    // Rows whose declared key holds NULL go by rowid.
    TILLSYNC_LET(t->select_null_key_,
                 db.prepare("SELECT " + all + " FROM " + name + " WHERE " + t->rowid_name_ + "=?"));
    TILLSYNC_LET(t->delete_null_key_, db.prepare("DELETE FROM " + name + " WHERE " + t->rowid_name_ + "=?"));
  }
  // OR ABORT: whatever the table's own clauses say, a row is never put in place of another.
  std::string plain = columns.empty() ? "" : columns.substr(2), plain_marks = marks.empty() ? "" : marks.substr(1);
  if (!table.without_rowid && !t->rowid_name_.empty()) {
    TILLSYNC_LET(t->insert_, db.prepare("INSERT OR ABORT INTO " + name + "(" + t->rowid_name_ + columns + ") VALUES(?" +
                                        marks + ")"));
  }
  if ((!t->by_rowid_ || table.without_rowid) && !plain.empty()) {
    TILLSYNC_LET(t->insert_any_rowid_,
                 db.prepare("INSERT OR ABORT INTO " + name + "(" + plain + ") VALUES(" + plain_marks + ")"));
  }
  return t;
}

// The value's bytes are used where they are: they outlive the statement's run.
void Replayer::Target::bind_value(Statement& s, int index, const Value& v) const {
  switch (v.type) {
    case ValueType::null: s.bind_null(index); break;
    case ValueType::integer: s.bind(index, v.integer); break;
    case ValueType::real: s.bind(index, v.real); break;
    case ValueType::blob: s.bind_static(index, v.bytes); break;
    case ValueType::text: {
      static constexpr unsigned char kEncodings[] = {SQLITE_UTF8, SQLITE_UTF16LE, SQLITE_UTF16BE};
      // An empty span may carry no pointer; SQLite would bind NULL.
      const char* text = v.bytes.empty() ? "" : reinterpret_cast<const char*>(v.bytes.data());
      sqlite3_bind_text64(s.handle(), index, text, v.bytes.size(), SQLITE_STATIC, kEncodings[encoding_ - 1]);
      break;
    }
  }
}

Result<void> Replayer::Target::bind_key(Statement& s, int64_t rowid, ByteView key) {
  if (key[0] == 'r') {
    s.bind(1, rowid);
    return {};
  }
  auto values = decode_record(key.subspan(1));
  TILLSYNC_CHECK(values);
  for (size_t i = 0; i < values->size(); i++) bind_value(s, static_cast<int>(i) + 1, (*values)[i]);
  return {};
}

Result<std::optional<Bytes>> Replayer::Target::find(int64_t rowid, ByteView record) {
  TILLSYNC_LET(ByteView key, identity_.key(rowid, record));
  bool null_key = !by_rowid_ && key[0] == 'r';
  Statement& s = null_key ? select_null_key_ : select_;
  if (!s.handle())
    return Error{ErrorKind::schema, 0, "table '" + table_->name + "': a row whose key is NULL can't be found"};
  TILLSYNC_TRY(bind_key(s, rowid, key));
  TILLSYNC_LET(bool found, s.step());
  if (!found) return std::optional<Bytes>();
  RecordWriter writer;
  for (size_t field = 0; field < table_->record_columns.size(); field++) {
    Value v = value_of(s.handle(), static_cast<int>(field));
    // The alias of the rowid is NULL in the record.
    if (table_->record_columns[field] == table_->rowid_alias) v = Value{};
    writer.add(v);
  }
  Bytes row;
  writer.finish(row);
  s.reset();
  TILLSYNC_LET(ByteView canonical, identity_.canonical(row));
  return std::optional<Bytes>(to_bytes(canonical));
}

Result<bool> Replayer::Target::refuses_a_second(int64_t rowid, ByteView record) {
  if (by_rowid_ || table_->without_rowid) return true;
  TILLSYNC_LET(ByteView key, identity_.key(rowid, record));
  return key[0] != 'r';
}

Result<void> Replayer::Target::remove(int64_t rowid, ByteView record) {
  TILLSYNC_LET(ByteView key, identity_.key(rowid, record));
  Statement& s = !by_rowid_ && key[0] == 'r' ? delete_null_key_ : delete_;
  TILLSYNC_TRY(bind_key(s, rowid, key));
  return s.run();
}

Result<void> Replayer::Target::insert(int64_t rowid, ByteView record) {
  TILLSYNC_LET(ByteView canonical, identity_.canonical(record));
  auto values = decode_record(canonical);
  if (!values) return Error{ErrorKind::corrupt, 0, "table '" + table_->name + "': a record that does not parse"};
  auto bind_columns = [&](Statement& s, int from) {
    for (size_t i = 0; i < insert_fields_.size(); i++)
      bind_value(s, from + static_cast<int>(i), (*values)[static_cast<size_t>(insert_fields_[i])]);
  };
  if (insert_.handle()) {
    insert_.bind(1, rowid);
    bind_columns(insert_, 2);
    auto done = insert_.run();
    if (done) return keep_texts(*values);
    // The rowid of a row that is named otherwise is free to be another one, after a VACUUM that renumbered.
    if (by_rowid_ || done.error().code != SQLITE_CONSTRAINT_ROWID) return done;
  }
  bind_columns(insert_any_rowid_, 1);
  TILLSYNC_TRY(insert_any_rowid_.run());
  return keep_texts(*values);
}

// Of the row that was just inserted. An incremental blob write can leave a text that looks like a number in a column of
// numbers, where INSERT makes a number of it. It is put back the way it came: something else of the same length first.
Result<void> Replayer::Target::keep_texts(const std::vector<Value>& values) {
  if (table_->without_rowid || rowid_name_.empty()) return {};
  auto looks_like_one = [&](int field) {
    const Value& v = values[static_cast<size_t>(field)];
    return v.type == ValueType::text && may_become_a_number(v.bytes);
  };
  if (std::none_of(number_fields_.begin(), number_fields_.end(), looks_like_one)) return {};
  const int64_t rowid = sqlite3_last_insert_rowid(db_->handle());
  const std::string name = quote_identifier(table_->name), where = " WHERE " + rowid_name_ + "=?";
  std::vector<std::pair<std::string, Value>> changed;  // column → what it should hold
  for (int field : number_fields_) {
    if (!looks_like_one(field)) continue;
    const Column& column = table_->columns[static_cast<size_t>(table_->record_columns[static_cast<size_t>(field)])];
    TILLSYNC_LET(auto type, db_->prepare("SELECT typeof(" + quote_identifier(column.name) + ") FROM " + name + where));
    type.bind(1, rowid);
    TILLSYNC_LET(bool found, type.step());
    if (found && type.text(0) != "text") changed.emplace_back(column.name, values[static_cast<size_t>(field)]);
  }
  auto update = [&](const std::string& column, const Value& to) -> Result<void> {
    TILLSYNC_LET(auto statement, db_->prepare("UPDATE " + name + " SET " + quote_identifier(column) + "=?" + where));
    bind_value(statement, 1, to);
    return statement.bind(2, rowid).run();
  };
  // Each UPDATE makes numbers of all such texts of its row, so the writes in place come last.
  bool possible = true;
  for (auto& [column, text] : changed) {
    Bytes other(text.bytes.size(), 'x');
    for (size_t i = encoding_ == 2 ? 1 : 0; encoding_ != 1 && i < other.size(); i += 2) other[i] = 0;
    Value stand_in;
    stand_in.type = ValueType::text;
    stand_in.bytes = other;
    possible = possible && update(column, stand_in);
  }
  for (auto& [column, text] : changed) possible = possible && write_in_place(column, rowid, text.bytes);
  if (possible) return {};
  // In an index, say: then no write in place can have been there. The proof has the last word.
  for (auto& [column, text] : changed) TILLSYNC_TRY(update(column, text));
  return {};
}

bool Replayer::Target::write_in_place(const std::string& column, int64_t rowid, ByteView bytes) {
  sqlite3_blob* blob = nullptr;
  const bool open =
      sqlite3_blob_open(db_->handle(), "main", table_->name.c_str(), column.c_str(), rowid, 1, &blob) == SQLITE_OK;
  const bool written = open && static_cast<size_t>(sqlite3_blob_bytes(blob)) == bytes.size() &&
                       sqlite3_blob_write(blob, bytes.data(), static_cast<int>(bytes.size()), 0) == SQLITE_OK;
  sqlite3_blob_close(blob);
  return written;
}

}  // namespace tillsync
