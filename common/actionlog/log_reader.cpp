#include "actionlog/log_reader.h"

#include <algorithm>

#include "ports/object_keys.h"

namespace tillsync {

LogReader::LogReader(ObjectStore& store, Lineage lineage)
    : store_(store),
      log_prefix_(keys::log_prefix(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch))),
      lineage_(std::move(lineage)),
      dictionaries_(store_, lineage_) {}

Result<std::vector<SegmentObject>> LogReader::list() {
  TILLSYNC_LET(LogListing listing, list_log(store_, lineage_));
  anchor_ = std::move(listing.anchor);
  parts_ = std::move(listing.parts);
  return std::move(listing.segments);
}

Result<void> LogReader::check_whole(std::span<const SegmentObject> all) {
  for (size_t i = 1; i < all.size(); i++) {
    Sequence expected = all[i - 1].last + 1;
    if (all[i].first == expected) continue;
    std::string what = all[i].first > expected
                           ? "the segment before it is missing: sequences " + std::to_string(expected) + " to " +
                                 std::to_string(all[i].first - 1) + " are in no segment"
                           : "it overlaps with " + all[i - 1].key;
    return Error{ErrorKind::corrupt, 0, all[i].key + ": " + what};
  }
  return {};
}

Result<Segment> LogReader::read(const SegmentObject& object) {
  TILLSYNC_LET(Bytes bytes, read_object(store_, object.key, kSegmentBytesMax));
  auto segment = decode_segment(bytes, lineage_, dictionaries_.source());
  if (!segment) return std::move(segment).error().with(object.key);
  const SegmentHead& head = segment->head;
  auto bad = [&](const std::string& why) { return Error{ErrorKind::corrupt, 0, object.key + ": " + why}; };
  if (head.first_sequence != object.first || head.last_sequence != object.last)
    return bad("it holds sequences " + std::to_string(head.first_sequence) + " to " +
               std::to_string(head.last_sequence) + ", not those of its name");
  if (((head.flags & kMerged) != 0) != object.merged)
    return bad("its name says something else about merging than it does");
  if (last_read_ && last_read_ + 1 == object.first && head.previous != last_link_)
    return bad("the chain is broken: it does not follow the segment before it as that one is now");
  if (object.first == 1 && head.previous != Digest{}) return bad("the first segment of a log names a predecessor");
  if (anchor_ && object.first == anchor_->first_sequence && head.previous != anchor_->previous)
    return bad("the chain is broken: it does not follow the part of the log that was pruned");
  last_read_ = object.last;
  last_link_ = link_of(head, bytes);
  return segment;
}

Result<std::shared_ptr<const Schema>> LogReader::schema_of(const Segment& segment,
                                                           const std::vector<SegmentObject>& all) {
  if (schema_ && schema_sequence_ == segment.head.schema_sequence) return schema_;
  Bytes encoded = segment.schema;
  if (encoded.empty() && anchor_ && anchor_->schema_sequence == segment.head.schema_sequence) encoded = anchor_->schema;
  if (encoded.empty()) {
    auto carrier =
        std::find_if(all.begin(), all.end(), [&](auto& o) { return o.first == segment.head.schema_sequence; });
    if (carrier == all.end())
      return Error{ErrorKind::corrupt, 0,
                   log_prefix_ + ": the segment with sequence " + std::to_string(segment.head.schema_sequence) +
                       ", which carries the schema, is missing"};
    LogReader other(store_, lineage_);
    TILLSYNC_LET(Segment carried, other.read(*carrier));
    encoded = carried.schema;
  }
  TILLSYNC_LET(Schema schema, Schema::decode(encoded));
  schema_ = std::make_shared<const Schema>(std::move(schema));
  schema_sequence_ = segment.head.schema_sequence;
  return schema_;
}

}  // namespace tillsync
