// Rows and digest of every table of a page image, by its pages.
//
// Purpose: the proof that an image is what a log or a snapshot says: it is compared with what those have counted.
// Statistics tables are left out, as everywhere. Memory: one path and one row; with workers that for each of them.
// Errors: corrupt, with the table, the page and the reason; schema, as read_schema(); cancelled, where the pulse is
// told to stop. Threads: any, one at a time per reader.
#pragma once

#include <memory>

#include "capture/tree_walk.h"
#include "capture/work_pulse.h"
#include "crypto/multiset_digest.h"

namespace tillsync {

// Sorted by name. By the caller's thread alone, as where the till's own work goes first.
Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, WorkPulse* pulse = nullptr);

struct CountingWorkers {
  size_t threads;
  // In each thread: a reader of the same pages, for it alone.
  std::function<Result<std::unique_ptr<PageReader>>()> open;
};
// The caller's reads what lies above the leaves; the workers read the leaves.
Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, const CountingWorkers& workers);

}  // namespace tillsync
