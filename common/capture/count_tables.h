// Rows and digest of every table of a page image, by its pages.
//
// Purpose: the proof that an image is what a log or a snapshot says: it is compared with what those have counted.
// Statistics tables are left out, as everywhere. Memory: one path and one row; with threads 256 KiB of rows for each,
// four times. Errors: corrupt, with the table, the page and the reason; schema, as read_schema(); cancelled, where the
// pulse is told to stop. Threads: any, one at a time per reader; the pages are read and walked by the caller's.
#pragma once

#include "capture/tree_walk.h"
#include "capture/work_pulse.h"
#include "crypto/multiset_digest.h"

namespace tillsync {

// Sorted by name. digesting_threads: of its own, for the digests of the rows, which take most of the time; 0: none, the
// caller's does it, as where the till's own work goes first.
Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, WorkPulse* pulse = nullptr,
                                              size_t digesting_threads = 0);

}  // namespace tillsync
