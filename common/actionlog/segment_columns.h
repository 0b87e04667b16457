// Records of one group of actions and one side, column by column: a stream of serial types and a stream of bodies each.
//
// Layout: docs/formats.md, "Segment": columns, and the bodies that lie apart.
// Errors: next() is false where the streams do not hold together. Threads: values.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace tillsync {

class ColumnWriter {
 public:
  // apart: of the whole segment; what lies apart goes to its end.
  void add(ByteView record, Bytes& apart);
  void finish(ByteWriter& out) const;

 private:
  Bytes shapes_, raw_;
  std::vector<Bytes> types_, bodies_;
};

class ColumnReader {
 public:
  explicit ColumnReader(ByteReader& in);
  // In the order in which they were added, those of all groups.
  bool next(Bytes& record, ByteReader& apart);
  bool at_end() const;

 private:
  ByteReader shapes_, raw_;
  std::vector<ByteReader> types_, bodies_;
};

}  // namespace tillsync
