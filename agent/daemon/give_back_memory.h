// What a burst of work took goes back to the system: an agent is idle most of its life.
//
// What state.db keeps of its pages, what is free within the heaps, and code. Errors: none. Threads: any; state.db is
// leased. Source: proc(5), smaps; madvise(2).
#pragma once

#include "state/state_db.h"

namespace tillsync {

void give_back_memory(StateDb& state);

// While work goes on: only what is free within the heaps, where it is much. A large transaction, or a segment that was
// made, leaves some MiB behind that the next hours don't need.
void give_back_free_memory();

// When nothing goes on: pages of programs and libraries that are as their files have them. What a start or a backup ran
// through is not needed for hours, and as long as it is mapped the system takes it from this process later than it
// takes files from others. Where it is needed again it comes back page by page, mostly from the system's cache. What
// this process changed in its own copy (a relocation) stays.
void give_back_code();

}  // namespace tillsync
