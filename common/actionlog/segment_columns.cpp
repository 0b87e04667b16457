#include "actionlog/segment_columns.h"

#include <algorithm>

#include "base/ids.h"
#include "dbfile/record.h"

namespace tillsync {

namespace {

// SQLite keeps this serial type for itself: no record of a database has it.
constexpr uint64_t kUuidText = 10;
constexpr size_t kUuidLength = 36;
constexpr uint64_t kTextOfUuidLength = 13 + 2 * kUuidLength;
constexpr size_t kUuidBytes = 16;

bool is_blob(uint64_t serial) { return serial >= 12 && serial % 2 == 0; }

// As it is written again: in lower case.
std::optional<Uuid> uuid_of(ByteView text) {
  for (const size_t dash : {8, 13, 18, 23})
    if (text[dash] != '-') return std::nullopt;
  const auto uuid = Uuid::parse(as_text(text));
  if (!uuid || uuid->str() != as_text(text)) return std::nullopt;
  return *uuid;
}

}  // namespace

void ColumnWriter::add(ByteView record, Bytes& apart) {
  // Only what comes back byte for byte is taken apart.
  std::vector<std::pair<uint64_t, ByteView>> fields;
  RecordReader reader(record);
  uint64_t serial;
  const uint8_t* body;
  RecordWriter again;
  bool is_kept_type = false;
  while (reader.next(serial, body)) {
    fields.emplace_back(serial, ByteView(body, serial_size(serial)));
    again.add_raw(serial, fields.back().second);
    is_kept_type |= serial == kUuidText;
  }
  Bytes rebuilt;
  again.finish(rebuilt);
  ByteWriter shape(shapes_);
  if (!reader.ok() || is_kept_type || !equal(rebuilt, record)) {
    shape.uvar(0);
    ByteWriter(raw_).sized(record);
    return;
  }
  shape.uvar(fields.size() + 1);
  if (fields.size() > types_.size()) {
    types_.resize(fields.size());
    bodies_.resize(fields.size());
  }
  for (size_t i = 0; i < fields.size(); i++) {
    const auto& [type, bytes] = fields[i];
    const auto uuid = type == kTextOfUuidLength ? uuid_of(bytes) : std::nullopt;
    ByteWriter(types_[i]).uvar(uuid ? kUuidText : type);
    if (uuid)
      append(apart, uuid->view());
    else
      append(is_blob(type) ? apart : bodies_[i], bytes);
  }
}

void ColumnWriter::finish(ByteWriter& out) const {
  out.sized(shapes_);
  out.sized(raw_);
  out.uvar(types_.size());
  for (size_t i = 0; i < types_.size(); i++) {
    out.sized(types_[i]);
    out.sized(bodies_[i]);
  }
}

ColumnReader::ColumnReader(ByteReader& in) : shapes_(in.sized()), raw_(in.sized()) {
  uint64_t columns = in.uvar();
  for (uint64_t i = 0; i < columns && in.ok(); i++) {
    types_.emplace_back(in.sized());
    bodies_.emplace_back(in.sized());
  }
}

bool ColumnReader::next(Bytes& record, ByteReader& apart) {
  record.clear();
  uint64_t shape = shapes_.uvar();
  if (!shapes_.ok()) return false;
  if (shape == 0) {
    record = to_bytes(raw_.sized());
    return raw_.ok();
  }
  if (shape - 1 > types_.size()) return false;
  RecordWriter writer;
  for (size_t i = 0; i + 1 < shape; i++) {
    const uint64_t serial = types_[i].uvar();
    if (!types_[i].ok()) return false;
    if (serial == kUuidText) {
      const auto bytes = apart.bytes(kUuidBytes);
      const auto uuid = Uuid::from_bytes(bytes);
      if (!apart.ok() || !uuid) return false;
      writer.add_raw(kTextOfUuidLength, as_bytes(uuid->str()));
    } else {
      ByteReader& from = is_blob(serial) ? apart : bodies_[i];
      const auto body = from.bytes(serial_size(serial));
      if (!from.ok()) return false;
      writer.add_raw(serial, body);
    }
  }
  writer.finish(record);
  return true;
}

bool ColumnReader::at_end() const {
  auto ended = [](auto& reader) { return reader.at_end(); };
  return shapes_.at_end() && raw_.at_end() && std::all_of(types_.begin(), types_.end(), ended) &&
         std::all_of(bodies_.begin(), bodies_.end(), ended);
}

}  // namespace tillsync
