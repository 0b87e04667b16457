#include "actionlog/log_anchor.h"

#include <algorithm>
#include <tuple>

#include "compression/zstd.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {
constexpr uint64_t kAnchorBytesMax = uint64_t{256} << 20;
}

Bytes LogAnchor::encode(const Lineage& lineage, Random& random) const {
  Bytes body;
  ByteWriter w(body);
  w.u64(first_sequence);
  w.u64(last_transaction);
  w.u64(static_cast<uint64_t>(to_ms(last_captured_at)));
  w.u64(static_cast<uint64_t>(to_ms(pruned_at)));
  w.bytes(previous.view());
  w.u64(schema_sequence);
  w.u64(schema.size());
  w.bytes(schema);
  if (dictionary_sequence != 0) {
    w.u64(dictionary_sequence);
    put_section(body, dictionary);
  }
  return seal_object(ObjectKind::anchor, lineage, random, body);
}

Result<LogAnchor> LogAnchor::decode(ByteView object, const std::string& key, const Lineage& lineage) {
  TILLSYNC_LET(const OpenedObject opened, open_object(object, ObjectKind::anchor, lineage).with(key));
  auto corrupt = [&](const char* why) { return Error{ErrorKind::corrupt, 0, key + ": " + why}; };
  ByteReader r(opened.body);
  LogAnchor a;
  a.first_sequence = r.u64();
  a.last_transaction = r.u64();
  a.last_captured_at = from_ms(static_cast<int64_t>(r.u64()));
  a.pruned_at = from_ms(static_cast<int64_t>(r.u64()));
  ByteView previous = r.bytes(32);
  a.schema_sequence = r.u64();
  a.schema = to_bytes(r.bytes(r.u64()));
  if (r.ok() && r.remaining() > 0) {
    a.dictionary_sequence = r.u64();
    TILLSYNC_LET(a.dictionary, take_section(r, kDictionaryBytesMax).with(key));
    if (a.dictionary_sequence == 0 || a.dictionary_sequence >= a.first_sequence)
      return corrupt("the dictionary it names");
  }
  if (!r.at_end()) return corrupt("it is not as long as it says");
  TILLSYNC_LET(a.previous, Digest::from_bytes(previous));
  if (a.first_sequence < 2 || keys::first_of_anchor(key) != a.first_sequence)
    return corrupt("it is of another sequence than its name");
  return a;
}

namespace {

// A merged segment takes the place of what lies within it.
void set_parts_apart(LogListing& listing) {
  std::vector<SegmentObject> counting;
  Sequence merged_up_to = 0;
  for (auto& segment : listing.segments) {
    if (segment.last <= merged_up_to) {
      listing.parts.push_back(std::move(segment));
      continue;
    }
    if (segment.merged) merged_up_to = segment.last;
    counting.push_back(std::move(segment));
  }
  listing.segments = std::move(counting);
}

}  // namespace

Result<LogListing> list_log(ObjectStore& store, const Lineage& lineage) {
  LogListing listing;
  const std::string folder = keys::log_prefix(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch));
  TILLSYNC_TRY(for_each_object(store, folder, [&](const ObjectInfo& object) -> Result<void> {
    if (auto range = keys::range_of_segment(object.key))
      listing.segments.push_back({object.key, range->first, range->second, object.size,
                                  keys::is_merged_segment(object.key), object.modified_at});
    else if (keys::first_of_anchor(object.key))
      listing.anchors.push_back(object);
    return {};  // or something else lies there
  }));
  if (!listing.anchors.empty()) {
    const std::string& key = listing.anchors.back().key;
    TILLSYNC_LET(Bytes object, read_object(store, key, kAnchorBytesMax));
    TILLSYNC_LET(listing.anchor, LogAnchor::decode(object, key, lineage));
    const auto first_left = std::stable_partition(listing.segments.begin(), listing.segments.end(),
                                                  [&](auto& s) { return s.first >= listing.anchor->first_sequence; });
    listing.leftovers.assign(first_left, listing.segments.end());
    listing.segments.erase(first_left, listing.segments.end());
  }
  // Of those that begin together the longest first, and of equals the merged one.
  std::sort(listing.segments.begin(), listing.segments.end(), [](auto& a, auto& b) {
    return std::tuple(a.first, b.last, b.merged) < std::tuple(b.first, a.last, a.merged);
  });
  set_parts_apart(listing);
  return listing;
}

bool is_part(const Segment& merged, const SegmentObject& object) {
  Sequence first = merged.head.first_sequence;
  for (uint64_t actions : merged.parts) {
    if (object.first == first) return !object.merged && object.last == first + actions - 1;
    first += actions;
  }
  return false;
}

}  // namespace tillsync
