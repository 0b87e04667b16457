// What the random writer says after each request: one message, on both sides of its pipe.
//
// Layout: the message's size (4 bytes, little-endian), then the fields in the order they stand here.
#pragma once

#include <stdexcept>

#include "base/bytes.h"
#include "differential/row_hash.h"

namespace tillsync::test {

struct WriterAnswer {
  uint64_t transactions = 0;  // begun, whether committed or not
  bool schema_kept = true;    // false when the schema may have changed
  std::string text;
  Bytes changeset;     // of the session extension
  ContentSum content;  // every table, as SQL reads it

  Bytes encode() const {
    Bytes out;
    ByteWriter w(out);
    w.u32(0);
    w.u64(transactions);
    w.u8(schema_kept);
    w.sized(text);
    w.sized(ByteView(changeset));
    w.uvar(content.size());
    for (auto& [name, sum] : content) {
      w.sized(name);
      w.u64(sum.rows);
      w.u64(sum.a);
      w.u64(sum.b);
    }
    const auto size = static_cast<uint32_t>(out.size() - 4);
    std::memcpy(out.data(), &size, 4);
    return out;
  }
  static WriterAnswer decode(ByteView message) {
    ByteReader r(message);
    WriterAnswer answer;
    answer.transactions = r.u64();
    answer.schema_kept = r.u8() != 0;
    answer.text = r.text();
    answer.changeset = to_bytes(r.sized());
    for (uint64_t n = r.uvar(); n > 0 && r.ok(); n--) {
      std::string name = r.text();
      const uint64_t rows = r.u64(), a = r.u64(), b = r.u64();
      answer.content[name] = {rows, a, b};
    }
    if (!r.at_end()) throw std::runtime_error("a message of the writer does not parse");
    return answer;
  }
};

}  // namespace tillsync::test
