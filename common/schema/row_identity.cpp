#include "schema/row_identity.h"

#include "crypto/hash.h"
#include "dbfile/record.h"

namespace tillsync {

namespace {
Error bad_record(const Table& table) {
  return Error{ErrorKind::corrupt, 0, "table '" + table.name + "': a record that does not parse"};
}
constexpr uint64_t kSignBit = uint64_t{1} << 63;

// The value a field has in canonical form.
Value canonical_value(const Column& column, Value v) {
  if (column.affinity == Affinity::real && v.type == ValueType::integer) {
    v.type = ValueType::real;
    v.real = static_cast<double>(v.integer);
  }
  return v;
}

Value default_value(const Column& column) {
  Value v;
  if (!column.default_record.empty()) RecordReader(column.default_record).next(v);
  return canonical_value(column, v);
}
}  // namespace

void put_rowid_key(Bytes& out, int64_t rowid) {
  uint8_t raw[9] = {'r'};
  put_be64(raw + 1, static_cast<uint64_t>(rowid) ^ kSignBit);
  append(out, raw);
}

int64_t rowid_of_key(ByteView key) { return static_cast<int64_t>(be64(key.data() + 1) ^ kSignBit); }

RowIdentity::RowIdentity(const Table& table) : table_(&table) {
  if (!table.keyed_by_rowid())
    for (int column : table.key_columns) key_fields_.push_back(table.field_of(column));
  for (int column : table.record_columns)
    if (table.columns[static_cast<size_t>(column)].affinity == Affinity::real) has_real_ = true;
}

Result<ByteView> RowIdentity::canonical(ByteView record) {
  RecordReader reader(record);
  uint64_t serial;
  const uint8_t* body;
  size_t fields = 0;
  bool same = true;
  while (reader.next(serial, body)) {
    if (serial >= 1 && serial <= 6) {
      if (integer_serial(decode_value(serial, body).integer) != serial) same = false;
    }
    if (has_real_ && fields < table_->record_columns.size() && serial != 7 && serial != 0 && serial < 12 &&
        table_->columns[static_cast<size_t>(table_->record_columns[fields])].affinity == Affinity::real)
      same = false;
    fields++;
  }
  if (!reader.ok()) return bad_record(*table_);
  if (same && fields == table_->record_columns.size()) return record;
  RecordWriter writer;
  RecordReader again(record);
  Value v;
  size_t field = 0;
  for (; again.next(v); field++) {
    bool known = field < table_->record_columns.size();
    writer.add(known ? canonical_value(table_->columns[static_cast<size_t>(table_->record_columns[field])], v) : v);
  }
  for (; field < table_->record_columns.size(); field++)
    writer.add(default_value(table_->columns[static_cast<size_t>(table_->record_columns[field])]));
  canonical_.clear();
  writer.finish(canonical_);
  return ByteView(canonical_);
}

Result<ByteView> RowIdentity::key(int64_t rowid, ByteView record) {
  key_.clear();
  if (key_fields_.empty()) {
    put_rowid_key(key_, rowid);
    return ByteView(key_);
  }
  RecordReader reader(record);
  std::vector<Value> values(key_fields_.size());
  std::vector<bool> found(key_fields_.size());
  Value v;
  for (int field = 0; reader.next(v); field++)
    for (size_t k = 0; k < key_fields_.size(); k++)
      if (key_fields_[k] == field) {
        values[k] = v;
        found[k] = true;
      }
  if (!reader.ok()) return bad_record(*table_);
  RecordWriter writer;
  for (size_t k = 0; k < key_fields_.size(); k++) {
    const Column& column = table_->columns[static_cast<size_t>(table_->key_columns[k])];
    Value value = found[k] ? canonical_value(column, values[k]) : default_value(column);
    if (value.type == ValueType::null && !table_->without_rowid) {
      put_rowid_key(key_, rowid);
      return ByteView(key_);
    }
    writer.add(value);
  }
  key_.push_back('k');
  writer.finish(key_);
  return ByteView(key_);
}

Result<Digest> RowIdentity::digest(int64_t rowid, ByteView record) {
  hashed_.clear();
  if (table_->keyed_by_rowid()) {
    put_rowid_key(hashed_, rowid);
  } else {
    hashed_.push_back('k');
  }
  TILLSYNC_LET(ByteView content, canonical(record));
  append(hashed_, content);
  return sha256(hashed_);
}

}  // namespace tillsync
