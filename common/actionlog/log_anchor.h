// Where a log begins after its oldest segments were pruned.
//
// Purpose: a reader can tell a pruned log from one with a hole: the first segment is the one the anchor names, and
// follows the one that was last to go. It carries the schema that the rows after it are read with, and the dictionary.
// Layout: docs/formats.md, "Anchor".
// Errors: corrupt, with the object's key in front.
// Threads: values.
#pragma once

#include <optional>

#include "actionlog/segment.h"
#include "ports/object_store.h"

namespace tillsync {

struct LogAnchor {
  Sequence first_sequence = 0;  // the log goes on with it
  TransactionNo last_transaction = 0;
  Timestamp last_captured_at{}, pruned_at{};
  Digest previous;                   // SHA-256 of the last segment that is gone
  Sequence schema_sequence = 0;      // of that segment
  Bytes schema;                      // Schema::encode()
  Sequence dictionary_sequence = 0;  // of that segment
  Bytes dictionary;                  // if there is one

  Bytes encode(const Lineage& lineage, Random& random) const;
  static Result<LogAnchor> decode(ByteView object, const std::string& key, const Lineage& lineage);
};

// What is read at once is no larger.
constexpr uint64_t kSegmentBytesMax = uint64_t{2} << 30;

struct SegmentObject {
  std::string key;
  Sequence first = 0, last = 0;
  uint64_t size = 0;
  bool merged = false;
  std::optional<Timestamp> modified_at = std::nullopt;  // by the store's clock
};

// What lies in the folder of a log.
struct LogListing {
  std::vector<SegmentObject> segments;   // those that count, in order
  std::vector<SegmentObject> parts;      // within a merged one of `segments`, in order
  std::vector<SegmentObject> leftovers;  // from before the anchor
  std::vector<ObjectInfo> anchors;       // the last one counts
  std::optional<LogAnchor> anchor;       // nullopt for a log that was never pruned
};
Result<LogListing> list_log(ObjectStore& store, const Lineage& lineage);
// Whether the object has the name of one that the segment was merged from.
bool is_part(const Segment& merged, const SegmentObject& object);

}  // namespace tillsync
