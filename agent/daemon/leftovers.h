// At the start: what no record names was left by a process that ended before it could record it.
//
// Purpose: empties spool, staging and safety of files that neither the transfer queue, nor a workflow that goes on, nor
// a recorded safety copy names. Errors: those of state.db, and of listing the folders. Threads: one, before any work.
#pragma once

#include "agent/daemon/services.h"

namespace tillsync {

Result<void> sweep_leftovers(const Services& services);

}  // namespace tillsync
