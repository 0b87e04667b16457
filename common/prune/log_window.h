// One epoch's log, as a prune looks at it: where the window of retention.log begins, and what replay does not cross.
//
// Purpose: few reads of a log that may have a million segments: times and schema sequences never run backwards, so
// both are found by halving.
// Errors: corrupt when the log has a hole or a segment does not parse: nothing of it must be removed then. Those of the
// store.
// Threads: one.
#pragma once

#include <map>
#include <span>

#include "actionlog/log_reader.h"

namespace tillsync {

class LogWindow {
 public:
  static Result<LogWindow> open(ObjectStore& store, const Lineage& lineage);

  // From the anchor on, without a gap.
  const std::vector<SegmentObject>& segments() const { return segments_; }
  const std::optional<LogAnchor>& anchor() const { return anchor_; }
  const std::vector<ObjectInfo>& anchors() const { return anchors_; }         // all of them
  const std::vector<SegmentObject>& leftovers() const { return leftovers_; }  // from before the anchor
  // Those that a merged segment took the place of before `stored_before`, as far as they are parts of it; the last of
  // each comes last. corrupt: something else lies within a merged one, or it does not hold together.
  Result<std::vector<SegmentObject>> merged_parts(Timestamp stored_before);
  // Index of the first segment with something captured at or after `since`; segments().size() for none.
  Result<size_t> first_since(Timestamp since);
  // Index of the first segment that ends at or after the sequence.
  size_t first_reaching(Sequence sequence) const;
  // Sequences from segment `from` on that replay does not cross, increasing.
  Result<std::vector<Sequence>> barriers(size_t from);
  // What makes segment `keep_from`, or the end of the log, its begin. corrupt: the chain is broken there, or the schema
  // is gone.
  Result<LogAnchor> anchor_at(size_t keep_from, Timestamp now);

 private:
  struct Looked {
    SegmentHead head;
    Digest link;
  };
  LogWindow(ObjectStore& store, const Lineage& lineage)
      : store_(&store), lineage_(lineage), dictionaries_(store, lineage) {}
  Result<Bytes> read(size_t index);
  Result<Looked> look(size_t index);
  Result<void> check_merged(size_t index, std::span<const SegmentObject> parts);
  Result<void> between(size_t low, size_t high, std::vector<Sequence>& out);

  ObjectStore* store_;
  Lineage lineage_;
  StoredDictionaries dictionaries_;
  std::optional<LogAnchor> anchor_;
  std::vector<ObjectInfo> anchors_;
  std::vector<SegmentObject> segments_, parts_, leftovers_;
  std::map<size_t, Looked> looked_;
};

}  // namespace tillsync
