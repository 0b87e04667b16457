// What a burst of work took goes back to the system: an agent is idle most of its life.
//
// What state.db keeps of its pages, and what is free within the heaps. Errors: none. Threads: any; state.db is leased.
#pragma once

#include "state/state_db.h"

namespace tillsync {

void give_back_memory(StateDb& state);

// While work goes on: only what is free within the heaps, where it is much. A large transaction, or a segment that was
// made, leaves some MiB behind that the next hours don't need.
void give_back_free_memory();

}  // namespace tillsync
