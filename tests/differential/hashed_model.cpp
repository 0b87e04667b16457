#include "differential/hashed_model.h"

namespace tillsync::test {

HashedModel::Rows::Rows(const Table& table) : identity(table), keyless(!table.has_declared_key()) {
  for (size_t c = 0; c < table.columns.size(); c++) {
    if (table.columns[c].virtual_generated) continue;
    const auto column = static_cast<int>(c);
    fields.push_back(column == table.rowid_alias ? -1 : table.field_of(column));
  }
}

void HashedModel::Rows::values_of(std::string_view key, ByteView record, std::vector<Value>& out) {
  const ByteView canonical = must(identity.canonical(record));
  record_values.clear();
  RecordReader reader(canonical);
  for (Value v; reader.next(v);) record_values.push_back(v);
  if (!reader.ok()) FAIL("a logged record does not parse");
  Value rowid;
  if (key[0] == 'r') {
    rowid.type = ValueType::integer;
    rowid.integer = rowid_of_key(as_bytes(key));
  }
  out.clear();
  out.push_back(keyless ? rowid : Value());
  for (int field : fields) out.push_back(field < 0 ? rowid : record_values.at(static_cast<size_t>(field)));
}

TableSum HashedModel::Rows::hash_of(std::string_view key, ByteView record) {
  values_of(key, record, values);
  RowHash hash;
  for (auto& v : values) hash.add(v);
  return hash.row();
}

void HashedModel::Rows::put(std::string_view key, ByteView record) {
  sum.add(hash_of(key, record));
  by_key[std::string(key)] = to_bytes(record);
}

void HashedModel::start() {
  auto all = logged_after(*till_.state, till_.database_id, sequence_);
  if (!all.empty()) sequence_ = all.back().sequence;
  load_schema();
  std::set<std::string> every;
  for (auto& table : schema_->tables) every.insert(table.name);
  read_anew(every);
}

void HashedModel::load_schema() {
  auto next = std::make_unique<Schema>(till_.schema());
  std::map<std::string, std::unique_ptr<Rows>> tables;
  for (auto& table : next->tables) {
    if (table.is_statistics()) continue;
    auto rows = std::make_unique<Rows>(table);
    if (auto old = tables_.find(table.name); old != tables_.end()) {
      rows->by_key = std::move(old->second->by_key);
      rows->sum = old->second->sum;
    }
    tables[table.name] = std::move(rows);
  }
  tables_ = std::move(tables);
  schema_ = std::move(next);
}

// From the pages, not through SQL: what SQL says is what it will be compared with.
void HashedModel::read_anew(const std::set<std::string>& names) {
  auto db = must(AppDatabase::open(till_.path, AppDatabase::Use::read));
  must(db.begin_read());
  auto reader = must(DatabaseReader::create(db));
  Image image = must(image_of(*reader, reader->page_count()));
  Schema now = must(schema_of(image));
  for (auto& name : names) {
    auto rows = tables_.find(name);
    if (rows == tables_.end()) continue;
    const Table* table = now.find(name);
    REQUIRE(table);
    rows->second->by_key.clear();
    rows->second->sum = {};
    RowIdentity identity(*table);
    must(walk_tree(image, table->root, [&](int64_t rowid, ByteView record) -> Result<void> {
      rows->second->put(as_text(must(identity.key(rowid, record))), record);
      return {};
    }));
  }
}

void HashedModel::apply(const LoggedAction& action) {
  auto table = tables_.find(action.table);
  if (table == tables_.end()) FAIL("sequence " << action.sequence << ": no table " << action.table);
  Rows& rows = *table->second;
  const std::string_view key = as_text(action.key);
  auto row = rows.by_key.find(std::string(key));
  const bool there = row != rows.by_key.end();
  const bool fits =
      action.kind == ActionKind::create ? !there && action.before.empty() : there && equal(row->second, action.before);
  if (!fits)
    FAIL("sequence " << action.sequence << ": " << std::string(to_string(action.kind)) << " in " << action.table
                     << " key " << to_hex(action.key).substr(0, 200) << " does not fit: "
                     << (there ? "there is " + to_hex(row->second).substr(0, 200) : std::string("no such row"))
                     << ", before image " << to_hex(action.before).substr(0, 200) << ", after "
                     << to_hex(action.after).substr(0, 200));
  if (there) rows.sum.take_away(rows.hash_of(key, row->second));
  if (action.kind == ActionKind::remove) {
    rows.by_key.erase(row);
  } else {
    rows.put(key, action.after);
  }
}

std::vector<LoggedAction> HashedModel::follow() {
  auto all = logged_after(*till_.state, till_.database_id, sequence_);
  // Of a table that has another definition now, rows before and after it are of two kinds.
  bool schema_changed = false;
  std::set<std::string> changed;
  for (auto& action : all) {
    schema_changed |= action.kind == ActionKind::schema;
    if (action.kind == ActionKind::renumber) changed.insert(action.table);
  }
  if (schema_changed) {
    auto definition = [](const Schema& schema, const std::string& name) -> const SchemaObject* {
      for (auto& object : schema.objects)
        if (object.type == "table" && object.name == name) return &object;
      return nullptr;
    };
    const Schema next = till_.schema();
    for (const Schema* side : {static_cast<const Schema*>(schema_.get()), &next})
      for (auto& table : side->tables) {
        auto *before = definition(*schema_, table.name), *after = definition(next, table.name);
        if (!before || !after || !before->same_definition(*after)) changed.insert(table.name);
      }
  }
  for (auto& action : all) {
    if (action.sequence != sequence_ + 1) FAIL("sequence " << action.sequence << " follows " << sequence_);
    if (action.transaction < transaction_) FAIL("transaction " << action.transaction << " follows " << transaction_);
    sequence_ = action.sequence;
    transaction_ = action.transaction;
    if (action.kind == ActionKind::schema || action.kind == ActionKind::renumber) continue;
    // One that came and went since.
    if (schema_changed && !tables_.contains(action.table)) continue;
    if (!changed.contains(action.table)) apply(action);
  }
  if (schema_changed) load_schema();
  if (!changed.empty()) read_anew(changed);
  return all;
}

ContentSum HashedModel::content() const {
  ContentSum content;
  for (auto& [name, rows] : tables_) content[name] = rows->sum;
  return content;
}

std::string HashedModel::rows_of(const std::string& name) const {
  auto table = tables_.find(name);
  if (table == tables_.end()) return "no such table\n";
  std::string all;
  std::vector<Value> values;
  for (auto& [key, record] : table->second->by_key) {
    table->second->values_of(key, record, values);
    for (auto& v : values) all += text_of(v);
    all += '\n';
  }
  return all;
}

}  // namespace tillsync::test
