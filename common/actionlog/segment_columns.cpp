#include "actionlog/segment_columns.h"

#include <algorithm>

#include "dbfile/record.h"

namespace tillsync {

void ColumnWriter::add(ByteView record) {
  // Only what comes back byte for byte is taken apart.
  std::vector<std::pair<uint64_t, ByteView>> fields;
  RecordReader reader(record);
  uint64_t serial;
  const uint8_t* body;
  RecordWriter again;
  while (reader.next(serial, body)) {
    fields.emplace_back(serial, ByteView(body, serial_size(serial)));
    again.add_raw(serial, fields.back().second);
  }
  Bytes rebuilt;
  again.finish(rebuilt);
  ByteWriter shape(shapes_);
  if (!reader.ok() || !equal(rebuilt, record)) {
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
    ByteWriter(types_[i]).uvar(fields[i].first);
    append(bodies_[i], fields[i].second);
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

bool ColumnReader::next(Bytes& record) {
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
    uint64_t serial = types_[i].uvar();
    auto body = bodies_[i].bytes(serial_size(serial));
    if (!types_[i].ok() || !bodies_[i].ok()) return false;
    writer.add_raw(serial, body);
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
