// A page-exact image of a database that stands still while it is read, at one sequence of its log.
//
// Source of a snapshot: the replica, pinned (capture/replica.h). Capture goes on meanwhile.
// Units: pages count from 1.
// Threads: one reader at a time.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

class PageImage {
 public:
  virtual ~PageImage() = default;
  virtual uint32_t page_size() const = 0;
  virtual PageNo page_count() const = 0;
  // out.size() is page_size().
  virtual Result<void> read(PageNo page, MutableBytes out) = 0;
  // The number of the snapshot generation in which the page last changed: an INCREMENTAL holds the pages whose
  // generation is greater than its parent's.
  virtual Result<uint32_t> generation(PageNo page) = 0;
};

}  // namespace tillsync
