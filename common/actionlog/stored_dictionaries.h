// The dictionaries of a log, as its readers find them.
//
// Purpose: a segment names the one that carries the dictionary it was compressed with (actionlog/segment.h); where that
// was pruned, the log's anchor has it. One is kept, the last one asked for: those after it in the log need the same.
// Errors: corrupt when no segment carries it; those of the store.
// Threads: one.
#pragma once

#include "actionlog/log_anchor.h"

namespace tillsync {

class StoredDictionaries {
 public:
  StoredDictionaries(ObjectStore& store, Lineage lineage) : store_(&store), lineage_(std::move(lineage)) {}
  // Valid until the next call.
  Result<ByteView> carried_by(Sequence first_sequence);
  DictionarySource source() {
    return [this](Sequence first) { return carried_by(first); };
  }

 private:
  Result<void> find(Sequence first_sequence);

  ObjectStore* store_;
  Lineage lineage_;
  Sequence sequence_ = 0;
  Bytes dictionary_;
};

}  // namespace tillsync
