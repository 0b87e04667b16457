// SQLite records: the bytes of a row.
//
// Layout: a header (its own size and one serial type a field, all varints), then the fields' bodies.
// Units: integers are 64-bit, REAL is IEEE 754 double; text is in the database's encoding, not converted.
// Errors: RecordReader::ok() turns false when the record does not fit its bytes; fields then read as NULL.
// Source: SQLite file format §2.1.
#pragma once

#include <optional>

#include "dbfile/varint.h"

namespace tillsync {

enum class ValueType : uint8_t { null, integer, real, text, blob };

struct Value {
  ValueType type = ValueType::null;
  int64_t integer = 0;
  double real = 0;
  ByteView bytes;  // text and blob; borrowed
};

// Bytes of the body of a serial type.
inline uint64_t serial_size(uint64_t serial) {
  constexpr uint8_t kSizes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
  return serial < 12 ? kSizes[serial] : (serial - 12) / 2;
}

Value decode_value(uint64_t serial, const uint8_t* body);

// Reads a record field by field.
class RecordReader {
 public:
  explicit RecordReader(ByteView record) : record_(record), header_(record.data()), body_(record.data()) {
    uint64_t size = 0;
    unsigned n = read_varint(record.data(), record.data() + record.size(), size);
    if (n == 0 || size > record.size() || size < n) {
      ok_ = false;
      header_end_ = header_;
      return;
    }
    header_ += n;
    header_end_ = record.data() + size;
    body_ = header_end_;
  }
  bool more() const { return ok_ && header_ < header_end_; }
  bool ok() const { return ok_; }
  // Serial type and body of the next field; false at the end or when the record is damaged.
  bool next(uint64_t& serial, const uint8_t*& body) {
    if (!more()) return false;
    unsigned n = read_varint(header_, header_end_, serial);
    if (n == 0) return ok_ = false;
    uint64_t size = serial_size(serial);
    if (size > static_cast<uint64_t>(record_.data() + record_.size() - body_)) return ok_ = false;
    header_ += n;
    body = body_;
    body_ += size;
    return true;
  }
  bool next(Value& value) {
    uint64_t serial;
    const uint8_t* body;
    if (!next(serial, body)) return false;
    value = decode_value(serial, body);
    return true;
  }

 private:
  ByteView record_;
  const uint8_t* header_;
  const uint8_t* header_end_;
  const uint8_t* body_;
  bool ok_ = true;
};

// All fields; nullopt when the record is damaged. The values borrow from the record.
std::optional<std::vector<Value>> decode_record(ByteView record);

// Builds a record as SQLite would: shortest integers, 0 and 1 without a body.
class RecordWriter {
 public:
  void add(const Value& value);
  void add_raw(uint64_t serial, ByteView body);
  void clear() {
    types_.clear();
    bodies_.clear();
  }
  // Appends the record to out.
  void finish(Bytes& out) const;

 private:
  Bytes types_, bodies_;
};

// The shortest serial type that holds v.
uint64_t integer_serial(int64_t v);

}  // namespace tillsync
