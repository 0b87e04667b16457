// Reads a database's log from the store, and checks that it is whole.
//
// Errors: corrupt with the object's key and what is wrong: a gap between segments, an overlap, a segment whose content is
// not the one its name says, a chain that does not fit; not_found when the asked part is not there.
// Threads: one.
#pragma once

#include <functional>

#include "actionlog/segment.h"
#include "ports/object_store.h"

namespace tillsync {

struct SegmentObject {
  std::string key;
  Sequence first = 0, last = 0;
  uint64_t size = 0;
};

class LogReader {
 public:
  // log_prefix: "terminals/…/log/".
  LogReader(ObjectStore& store, std::string log_prefix, Lineage lineage)
      : store_(store), log_prefix_(std::move(log_prefix)), lineage_(std::move(lineage)) {}

  // All segments in order, without a gap or an overlap.
  Result<std::vector<SegmentObject>> list();
  // One segment, checked against its name, and against the one read before it if that is its predecessor.
  Result<Segment> read(const SegmentObject& object);
  // The schema a segment's rows are to be read with; fetched from the segment that carries it if need be.
  Result<std::shared_ptr<const Schema>> schema_of(const Segment& segment, const std::vector<SegmentObject>& all);

 private:
  ObjectStore& store_;
  std::string log_prefix_;
  Lineage lineage_;
  Sequence last_read_ = 0;
  Digest last_sha256_;
  Sequence schema_sequence_ = 0;
  std::shared_ptr<const Schema> schema_;
};

}  // namespace tillsync
