// What a store really does, found by trying it: what its settings promise is not enough to rely on.
//
// Purpose: puts one small object, reads, lists, and removes it again, below a prefix of the caller's. Where the store
// does not let it be removed, it stays.
// Errors: those of the store, of the first thing that an agent can't do without: list, put, read. corrupt where what
// comes back is not what was put. Threads: any.
#pragma once

#include "ports/object_store.h"
#include "ports/random.h"

namespace tillsync {

struct StoreProbe {
  std::string name;          // of the kind of store
  bool create_only = false;  // a second put of the same key is refused, and changes nothing
  bool may_delete = false;
  bool resumable = false;
  uint64_t part_size_bytes = 0;
  std::string left;  // the object that could not be removed
};

// prefix: ends in '/'.
Result<StoreProbe> probe_store(ObjectStore& store, const std::string& prefix, Random& random);

}  // namespace tillsync
