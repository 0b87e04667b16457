// Signs where a log begins, on a terminal that does not prune it.
//
// Purpose: where the store lets the terminal delete nothing, or it can't read what is there, IT prunes, with keys of
// its own (tillsync prune --store). The anchor that a pruned log begins with is signed by the terminal: so the agent
// puts it as soon as [retention] log is over, from what state.db knows, and whoever prunes removes what lies before it.
// The log of the moment that is retention.log before the newest snapshot stays, with all since the snapshot it is
// replayed from; so does the last segment.
// Errors: those of store and state.db. Threads: not while a restore is chosen or under way (Pruner sees to it).
#pragma once

#include "agent/daemon/services.h"

namespace tillsync {

// The sequence that the log begins with from now on; nullopt: nothing has changed.
Result<std::optional<Sequence>> move_log_begin(const Services& services, int64_t database_id,
                                               const std::string& database);

}  // namespace tillsync
