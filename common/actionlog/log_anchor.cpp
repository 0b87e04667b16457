#include "actionlog/log_anchor.h"

#include <algorithm>

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
  if (!r.at_end()) return corrupt("it is not as long as it says");
  TILLSYNC_LET(a.previous, Digest::from_bytes(previous));
  if (a.first_sequence < 2 || keys::first_of_anchor(key) != a.first_sequence)
    return corrupt("it is of another sequence than its name");
  return a;
}

Result<LogListing> list_log(ObjectStore& store, const Lineage& lineage) {
  LogListing listing;
  const std::string folder = keys::log_prefix(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch));
  TILLSYNC_TRY(for_each_object(store, folder, [&](const ObjectInfo& object) -> Result<void> {
    if (auto range = keys::range_of_segment(object.key))
      listing.segments.push_back({object.key, range->first, range->second, object.size});
    else if (keys::first_of_anchor(object.key))
      listing.anchors.push_back(object);
    return {};  // or something else lies there
  }));
  std::sort(listing.segments.begin(), listing.segments.end(), [](auto& a, auto& b) { return a.first < b.first; });
  return listing;
}

Result<std::optional<LogAnchor>> read_anchor(ObjectStore& store, const Lineage& lineage, const LogListing& listing) {
  if (listing.anchors.empty()) return std::optional<LogAnchor>();
  const std::string& key = listing.anchors.back().key;
  TILLSYNC_LET(Bytes object, read_object(store, key, kAnchorBytesMax));
  TILLSYNC_LET(LogAnchor anchor, LogAnchor::decode(object, key, lineage));
  return std::optional<LogAnchor>(std::move(anchor));
}

}  // namespace tillsync
