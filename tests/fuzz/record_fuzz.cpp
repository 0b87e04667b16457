// A record, and the varint at its beginning. What is read and written again reads the same.
#include "dbfile/record.h"
#include "fuzz/fuzz.h"

using namespace tillsync;
using namespace tillsync::fuzz;

namespace {
bool same(const Value& a, const Value& b) {
  return a.type == b.type && a.integer == b.integer && std::memcmp(&a.real, &b.real, sizeof a.real) == 0 &&
         equal(a.bytes, b.bytes);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Exact input({data, size});
  ByteView bytes = input.view();
  uint64_t value = 0;
  if (unsigned n = read_varint(bytes.data(), bytes.data() + bytes.size(), value)) {
    FUZZ_HOLDS(n <= 9 && n <= bytes.size());
    Bytes shortest;
    put_varint(shortest, value);
    FUZZ_HOLDS(shortest.size() <= n);
    uint64_t again = 0;
    FUZZ_HOLDS(read_varint(shortest.data(), shortest.data() + shortest.size(), again) == shortest.size());
    FUZZ_HOLDS(again == value);
  }
  auto values = decode_record(bytes);
  if (!values) return 0;
  RecordWriter writer, raw;
  for (auto& v : *values) {
    FUZZ_HOLDS(lies_within(v.bytes, bytes));
    writer.add(v);
  }
  RecordReader reader(bytes);
  uint64_t serial;
  const uint8_t* body;
  size_t fields = 0;
  for (; reader.next(serial, body); fields++) raw.add_raw(serial, {body, static_cast<size_t>(serial_size(serial))});
  FUZZ_HOLDS(reader.ok() && fields == values->size());
  for (auto* form : {&writer, &raw}) {
    Bytes record;
    form->finish(record);
    auto back = decode_record(record);
    FUZZ_HOLDS(back && back->size() == values->size());
    for (size_t i = 0; i < values->size(); i++) FUZZ_HOLDS(same((*back)[i], (*values)[i]));
  }
  return 0;
}
