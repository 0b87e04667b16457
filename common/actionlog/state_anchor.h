// The begin of a log as state.db knows it, for a terminal that does not read its store.
//
// Purpose: an epoch that goes on from another one, and a log that is pruned from elsewhere.
// Errors: those of state.db. Threads: those of the connection.
#pragma once

#include "actionlog/log_anchor.h"
#include "sqlite/connection.h"

namespace tillsync {

// After the newest segment that begins at or before the sequence; nullopt where state.db knows none. Its dictionary is
// empty where state.db lost it: what follows in the store can then not be read from this anchor on.
Result<std::optional<LogAnchor>> anchor_from_state(Connection& db, int64_t database_id, Sequence last, Timestamp now);

}  // namespace tillsync
