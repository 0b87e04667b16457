// Removes from state.db what of the log is durable in the store and older than it is kept on the terminal.
//
// Purpose: limits.local_log, and room where the disk is short: then rows need not be durable in the store, a sealed
// segment that lies synced in the spool is enough. Whole transactions from the oldest on; a large one goes in several
// calls, its last with its row in `transactions`. What `tillsync log` shows of earlier times comes from the store.
// Errors: what state.db reports. Threads: any; holds state.db for one call.
#pragma once

#include "base/types.h"
#include "state/state_db.h"

namespace tillsync {

enum class TrimUpTo { durable, sealed };

// Says how many actions were removed, about actions_max at most; 0: nothing is left to do.
Result<uint64_t> trim_log(StateDb& state, int64_t database_id, Timestamp captured_before, uint64_t actions_max,
                          TrimUpTo up_to = TrimUpTo::durable);

}  // namespace tillsync
