#include "actionlog/segment_head.h"

#include <algorithm>

namespace tillsync {

namespace {

constexpr uint64_t kContentBytesMax = uint64_t{2} << 30;
// Beside those of SegmentFlag.
constexpr uint64_t kStateFollows = 32, kFlagsKnown = 63;

int64_t distance(Timestamp from, Timestamp to) {
  return static_cast<int64_t>(static_cast<uint64_t>(to_ms(to)) - static_cast<uint64_t>(to_ms(from)));
}

void read_digest(ByteReader& r, Digest& digest) {
  const auto bytes = r.bytes(digest.bytes.size());
  if (r.ok()) std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
}

}  // namespace

Error damaged_segment(const char* why) {
  return Error{ErrorKind::corrupt, 0, std::string("a segment that does not parse: ") + why};
}

Bytes encode_segment_head(const SegmentHead& h, const SegmentContent& content) {
  const bool has_state = h.state != Digest{};
  Bytes out;
  ByteWriter w(out);
  w.uvar(h.first_sequence);
  w.uvar(h.last_sequence - h.first_sequence);
  w.uvar(h.first_transaction);
  w.uvar(h.last_transaction - h.first_transaction);
  w.svar(to_ms(h.first_captured_at));
  w.svar(distance(h.first_captured_at, h.last_captured_at));
  w.uvar(h.flags | (has_state ? kStateFollows : 0));
  w.uvar(h.first_sequence - h.schema_sequence);
  w.uvar(h.dictionary_sequence ? h.first_sequence - h.dictionary_sequence + 1 : 0);
  w.bytes(h.previous.view());
  if (has_state) w.bytes(h.state.view());
  if (h.flags & kMerged) w.bytes(h.link.view());
  w.uvar(content.bytes.size() - content.apart_at);
  w.uvar(content.bytes.size());
  return out;
}

Result<ReadSegmentHead> read_segment_head(ByteView body) {
  ByteReader r(body);
  ReadSegmentHead read;
  SegmentHead& h = read.head;
  h.first_sequence = r.uvar();
  const uint64_t more_actions = r.uvar();
  h.first_transaction = r.uvar();
  const uint64_t more_transactions = r.uvar();
  const auto first_ms = static_cast<uint64_t>(r.svar());
  h.first_captured_at = from_ms(static_cast<int64_t>(first_ms));
  h.last_captured_at = from_ms(static_cast<int64_t>(first_ms + static_cast<uint64_t>(r.svar())));
  const uint64_t flags = r.uvar(), since_schema = r.uvar(), since_dictionary = r.uvar();
  h.flags = static_cast<uint32_t>(flags & ~kStateFollows);
  read_digest(r, h.previous);
  if (flags & kStateFollows) read_digest(r, h.state);
  if (h.flags & kMerged) read_digest(r, h.link);
  read.apart = r.uvar();
  read.raw = r.uvar();
  if (!r.ok()) return damaged_segment("it ends in its head");
  if (flags > kFlagsKnown) return damaged_segment("its flags");
  if ((h.flags & kMerged) && h.flags != kMerged) return damaged_segment("it is merged from what can't be");
  h.last_sequence = h.first_sequence + more_actions;
  h.last_transaction = h.first_transaction + more_transactions;
  if (h.first_sequence == 0 || h.last_sequence < h.first_sequence || h.last_transaction < h.first_transaction)
    return damaged_segment("its sequences run backwards");
  if (since_schema > h.first_sequence) return damaged_segment("the schema it names");
  h.schema_sequence = h.first_sequence - since_schema;
  if (since_dictionary > h.first_sequence || (since_dictionary == 1) != ((h.flags & kCarriesDictionary) != 0))
    return damaged_segment("the dictionary it names");
  if (since_dictionary > 0) h.dictionary_sequence = h.first_sequence - since_dictionary + 1;
  if (read.raw > kContentBytesMax || read.apart > read.raw)
    return damaged_segment("its length is not what its head says");
  read.rest = r.bytes(r.remaining());
  return read;
}

}  // namespace tillsync
