#include "prune/log_window.h"

#include <algorithm>

namespace tillsync {

Result<LogWindow> LogWindow::open(ObjectStore& store, const Lineage& lineage) {
  LogWindow log(store, lineage);
  TILLSYNC_LET(LogListing listing, list_log(store, lineage));
  log.anchor_ = std::move(listing.anchor);
  log.anchors_ = std::move(listing.anchors);
  log.segments_ = std::move(listing.segments);
  log.parts_ = std::move(listing.parts);
  log.leftovers_ = std::move(listing.leftovers);
  TILLSYNC_TRY(LogReader::check_whole(log.segments_));
  const Sequence begin = log.anchor_ ? log.anchor_->first_sequence : 1;
  if (!log.segments_.empty() && log.segments_.front().first != begin)
    return Error{ErrorKind::corrupt, 0,
                 log.segments_.front().key + ": the log should begin at sequence " + std::to_string(begin)};
  return log;
}

Result<Bytes> LogWindow::read(size_t index) { return read_object(*store_, segments_[index].key, kSegmentBytesMax); }

Result<LogWindow::Looked> LogWindow::look(size_t index) {
  auto known = looked_.find(index);
  if (known != looked_.end()) return known->second;
  TILLSYNC_LET(Bytes object, read(index));
  Looked looked;
  TILLSYNC_LET(looked.head, decode_segment_head(object, lineage_).with(segments_[index].key));
  looked.link = link_of(looked.head, object);
  return looked_.emplace(index, looked).first->second;
}

Result<size_t> LogWindow::first_since(Timestamp since) {
  size_t low = 0, high = segments_.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    TILLSYNC_LET(const Looked looked, look(middle));
    if (looked.head.last_captured_at < since)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

size_t LogWindow::first_reaching(Sequence sequence) const {
  auto it =
      std::lower_bound(segments_.begin(), segments_.end(), sequence, [](auto& s, Sequence n) { return s.last < n; });
  return static_cast<size_t>(it - segments_.begin());
}

// The schema sequence rises where a segment carries a schema, and nowhere else.
Result<void> LogWindow::between(size_t low, size_t high, std::vector<Sequence>& out) {
  TILLSYNC_LET(const Looked first, look(low));
  TILLSYNC_LET(const Looked last, look(high));
  if (first.head.schema_sequence == last.head.schema_sequence) return {};
  if (high - low == 1) {
    out.push_back(segments_[high].first);
    return {};
  }
  const size_t middle = low + (high - low) / 2;
  TILLSYNC_TRY(between(low, middle, out));
  return between(middle, high, out);
}

Result<std::vector<Sequence>> LogWindow::barriers(size_t from) {
  std::vector<Sequence> out;
  if (from >= segments_.size()) return out;
  TILLSYNC_LET(const Looked first, look(from));
  bool changes = first.head.schema_sequence == segments_[from].first;
  if (changes && first.head.first_sequence == 1) {
    // The first one carries the schema anyway.
    TILLSYNC_LET(Bytes object, read(from));
    TILLSYNC_LET(Segment segment, decode_segment(object, lineage_, dictionaries_.source()).with(segments_[from].key));
    changes = segment.transactions.front().flags & (kSchemaChange | kRenumber);
  }
  if (changes) out.push_back(segments_[from].first);
  TILLSYNC_TRY(between(from, segments_.size() - 1, out));
  return out;
}

Result<std::vector<SegmentObject>> LogWindow::merged_parts(Timestamp stored_before) {
  std::vector<SegmentObject> out;
  auto part = parts_.begin();
  for (size_t i = 0; i < segments_.size() && part != parts_.end(); i++) {
    const SegmentObject& merged = segments_[i];
    if (!merged.merged) continue;
    const auto first = part;
    while (part != parts_.end() && part->last <= merged.last) ++part;
    // A store that does not say when: never old enough.
    if (first == part || !merged.modified_at || *merged.modified_at > stored_before) continue;
    const std::span parts(first, part);
    TILLSYNC_TRY(check_merged(i, parts));
    out.insert(out.end(), parts.begin(), parts.end());
  }
  return out;
}

// Nothing goes for the sake of a segment that can't be read, or is of other parts.
Result<void> LogWindow::check_merged(size_t index, std::span<const SegmentObject> parts) {
  const SegmentObject& object = segments_[index];
  auto bad = [&](const std::string& why) { return Error{ErrorKind::corrupt, 0, object.key + ": " + why}; };
  TILLSYNC_LET(const Bytes bytes, read(index));
  TILLSYNC_LET(const Segment merged, decode_segment(bytes, lineage_).with(object.key));
  if (merged.head.first_sequence != object.first || merged.head.last_sequence != object.last)
    return bad("it holds other sequences than its name says");
  for (auto& part : parts)
    if (!is_part(merged, part)) return bad(part.key + " lies within it, and is none of those it was merged from");
  if (index > 0) {
    TILLSYNC_LET(const Looked before, look(index - 1));
    if (before.link != merged.head.previous)
      return bad("the chain is broken: it does not follow the segment before it");
  }
  // The last part is the last to go, so that it is there to be compared with until then.
  if (parts.back().last != object.last) return {};
  TILLSYNC_LET(const Bytes last, read_object(*store_, parts.back().key, kSegmentBytesMax));
  if (sha256(last) != merged.head.link)
    return bad("it was not merged from " + parts.back().key + " as that one is now");
  return {};
}

Result<LogAnchor> LogWindow::anchor_at(size_t keep_from, Timestamp now) {
  const SegmentObject& gone = segments_[keep_from - 1];
  TILLSYNC_LET(const Looked last, look(keep_from - 1));
  if (keep_from < segments_.size()) {
    TILLSYNC_LET(const Looked first, look(keep_from));
    if (first.head.previous != last.link)
      return Error{
          ErrorKind::corrupt, 0,
          segments_[keep_from].key + ": the chain is broken: it does not follow " + gone.key + " as that one is now"};
  }
  LogAnchor anchor;
  anchor.first_sequence = gone.last + 1;
  anchor.last_transaction = last.head.last_transaction;
  anchor.last_captured_at = last.head.last_captured_at;
  anchor.pruned_at = now;
  anchor.previous = last.link;
  anchor.schema_sequence = last.head.schema_sequence;
  anchor.dictionary_sequence = last.head.dictionary_sequence;
  if (anchor.dictionary_sequence != 0) {
    TILLSYNC_LET(const ByteView dictionary, dictionaries_.carried_by(anchor.dictionary_sequence));
    anchor.dictionary = to_bytes(dictionary);
  }
  if (anchor_ && anchor_->schema_sequence == anchor.schema_sequence) {
    anchor.schema = anchor_->schema;
    return anchor;
  }
  const size_t carrier = first_reaching(anchor.schema_sequence);
  if (carrier < segments_.size() && segments_[carrier].first == anchor.schema_sequence) {
    TILLSYNC_LET(Bytes object, read(carrier));
    TILLSYNC_LET(Segment segment,
                 decode_segment(object, lineage_, dictionaries_.source()).with(segments_[carrier].key));
    anchor.schema = std::move(segment.schema);
  }
  if (anchor.schema.empty())
    return Error{ErrorKind::corrupt, 0,
                 gone.key + ": the segment with sequence " + std::to_string(anchor.schema_sequence) +
                     ", which carries its schema, is missing"};
  return anchor;
}

}  // namespace tillsync
