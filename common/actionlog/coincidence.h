// Which transactions of several followed databases may have been one transaction of the application, over ATTACH.
//
// Purpose: in WAL mode SQLite commits such a transaction database by database and leaves no trace of the others, so
// this is concluded from time. Of a transaction that was seen by itself it is known when its last frame was written and
// when capture saw it. Two transactions coincide when these spans overlap: each was written before the other was seen.
// Where more than one would fit on either side, as between two programs that are both busy, none is named. A name here
// says "may have been", never "was": two programs can commit within the same milliseconds. Units: milliseconds since
// 1970 UTC. Errors: what state.db reports. Threads: any.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "sqlite/connection.h"

namespace tillsync {

struct CommitSpan {
  int64_t written_at = 0, seen_at = 0;
};
// A span that is longer tells nothing: the transaction was found, not seen.
constexpr int64_t kCommitSpanMax = 1000;

struct Coincident {
  std::string database;
  TransactionNo transaction = 0;
  bool operator==(const Coincident&) const = default;
};

// Sorted by database.
Result<std::vector<Coincident>> coincident_with(Connection& state, int64_t database_id, TransactionNo transaction);

}  // namespace tillsync
