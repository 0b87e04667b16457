// Reads a database's log from the store, and checks that it is whole.
//
// Errors: corrupt with the object's key and what is wrong: a gap between segments, an overlap, a segment whose content
// is not the one its name says, a chain that does not fit; not_found when the asked part is not there. Threads: one.
#pragma once

#include <functional>
#include <span>

#include "actionlog/segment.h"
#include "actionlog/stored_dictionaries.h"

namespace tillsync {

class LogReader {
 public:
  LogReader(ObjectStore& store, Lineage lineage);

  // All segments in order, as they are named; of a log that was pruned, those from its anchor on. Not those that a
  // merged one took the place of.
  Result<std::vector<SegmentObject>> list();
  // Those, in order, as list() found them.
  const std::vector<SegmentObject>& parts() const { return parts_; }
  // As list() found it; nullopt: the log was never pruned.
  const std::optional<LogAnchor>& anchor() const { return anchor_; }
  // corrupt, with the object's key, when sequences are in no segment or in two.
  static Result<void> check_whole(std::span<const SegmentObject> segments);
  // One segment, checked against its name, and against the one read before it if that is its predecessor.
  Result<Segment> read(const SegmentObject& object);
  // The schema a segment's rows are to be read with; fetched from the segment that carries it if need be.
  Result<std::shared_ptr<const Schema>> schema_of(const Segment& segment, const std::vector<SegmentObject>& all);

 private:
  ObjectStore& store_;
  std::string log_prefix_;
  Lineage lineage_;
  std::optional<LogAnchor> anchor_;
  StoredDictionaries dictionaries_;
  std::vector<SegmentObject> parts_;
  Sequence last_read_ = 0;
  Digest last_link_;
  Sequence schema_sequence_ = 0;
  std::shared_ptr<const Schema> schema_;
};

}  // namespace tillsync
