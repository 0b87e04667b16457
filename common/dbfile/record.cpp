#include "dbfile/record.h"

#include <bit>

namespace tillsync {

namespace {
int64_t signed_be(const uint8_t* p, size_t n) {
  int64_t v = static_cast<int8_t>(p[0]);
  for (size_t i = 1; i < n; i++) v = static_cast<int64_t>(static_cast<uint64_t>(v) << 8 | p[i]);
  return v;
}
}  // namespace

Value decode_value(uint64_t serial, const uint8_t* body) {
  Value v;
  if (serial >= 1 && serial <= 6) {
    v.type = ValueType::integer;
    v.integer = signed_be(body, serial_size(serial));
  } else if (serial == 7) {
    v.type = ValueType::real;
    v.real = std::bit_cast<double>(be64(body));
  } else if (serial == 8 || serial == 9) {
    v.type = ValueType::integer;
    v.integer = static_cast<int64_t>(serial) - 8;
  } else if (serial >= 12) {
    v.type = serial % 2 ? ValueType::text : ValueType::blob;
    v.bytes = {body, serial_size(serial)};
  }
  return v;  // 0 is NULL; 10 and 11 are reserved and read as NULL
}

std::optional<std::vector<Value>> decode_record(ByteView record) {
  std::vector<Value> values;
  RecordReader reader(record);
  Value v;
  while (reader.next(v)) values.push_back(v);
  if (!reader.ok()) return std::nullopt;
  return values;
}

uint64_t integer_serial(int64_t v) {
  if (v == 0) return 8;
  if (v == 1) return 9;
  uint64_t magnitude = v < 0 ? ~static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  if (magnitude <= 0x7f) return 1;
  if (magnitude <= 0x7fff) return 2;
  if (magnitude <= 0x7fffff) return 3;
  if (magnitude <= 0x7fffffff) return 4;
  if (magnitude <= 0x7fffffffffff) return 5;
  return 6;
}

void RecordWriter::add_raw(uint64_t serial, ByteView body) {
  put_varint(types_, serial);
  append(bodies_, body);
}

void RecordWriter::add(const Value& value) {
  switch (value.type) {
    case ValueType::null: return add_raw(0, {});
    case ValueType::integer: {
      uint64_t serial = integer_serial(value.integer);
      uint8_t be[8];
      put_be64(be, static_cast<uint64_t>(value.integer));
      size_t n = serial_size(serial);
      return add_raw(serial, {be + 8 - n, n});
    }
    case ValueType::real: {
      uint8_t be[8];
      put_be64(be, std::bit_cast<uint64_t>(value.real));
      return add_raw(7, be);
    }
    case ValueType::text: return add_raw(value.bytes.size() * 2 + 13, value.bytes);
    case ValueType::blob: return add_raw(value.bytes.size() * 2 + 12, value.bytes);
  }
}

void RecordWriter::finish(Bytes& out) const {
  // The header's size counts its own varint: one byte more may carry it over a varint boundary.
  size_t size = types_.size() + 1;
  if (size > 127) size = types_.size() + (types_.size() + 2 > 16383 ? 3 : 2);
  put_varint(out, size);
  append(out, types_);
  append(out, bodies_);
}

}  // namespace tillsync
