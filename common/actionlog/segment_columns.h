// Records of one group of actions and one side, column by column: a stream of serial types and a stream of bodies each.
//
// Layout: docs/formats.md, "Segment": columns. Errors: next() is false where the streams do not hold together.
// Threads: values.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace tillsync {

class ColumnWriter {
 public:
  void add(ByteView record);
  void finish(ByteWriter& out) const;

 private:
  Bytes shapes_, raw_;
  std::vector<Bytes> types_, bodies_;
};

class ColumnReader {
 public:
  explicit ColumnReader(ByteReader& in);
  // In the order in which they were added.
  bool next(Bytes& record);
  bool at_end() const;

 private:
  ByteReader shapes_, raw_;
  std::vector<ByteReader> types_, bodies_;
};

}  // namespace tillsync
