#include "actionlog/stored_dictionaries.h"

#include "ports/object_keys.h"

namespace tillsync {

Result<ByteView> StoredDictionaries::carried_by(Sequence first_sequence) {
  if (first_sequence != sequence_) {
    sequence_ = 0;
    TILLSYNC_TRY(find(first_sequence));
    sequence_ = first_sequence;
  }
  return ByteView(dictionary_);
}

Result<void> StoredDictionaries::find(Sequence first_sequence) {
  const std::string begin =
      keys::segments_from(keys::database_prefix(lineage_.terminal, lineage_.database, lineage_.epoch), first_sequence);
  TILLSYNC_LET(const ObjectPage page, store_->list(begin, "", 1));
  if (!page.objects.empty()) {
    const std::string& key = page.objects.front().key;
    TILLSYNC_LET(const Bytes object, read_object(*store_, key, kSegmentBytesMax));
    TILLSYNC_LET(Segment carrier, decode_segment(object, lineage_).with(key));
    if (carrier.head.first_sequence != first_sequence || carrier.dictionary.empty())
      return Error{ErrorKind::corrupt, 0, key + ": it carries no dictionary, and others name it for that"};
    dictionary_ = std::move(carrier.dictionary);
    return {};
  }
  // Pruned, or lost.
  TILLSYNC_LET(LogListing listing, list_log(*store_, lineage_));
  if (!listing.anchor || listing.anchor->dictionary_sequence != first_sequence)
    return Error{ErrorKind::corrupt, 0,
                 begin + "…: the segment with sequence " + std::to_string(first_sequence) +
                     ", which carries the dictionary, is missing"};
  dictionary_ = std::move(listing.anchor->dictionary);
  return {};
}

}  // namespace tillsync
