// A page-exact image of a database that stands still while it is read, at one sequence of its log.
//
// Source of a snapshot: the replica, pinned (capture/replica.h). Capture goes on meanwhile.
// Units: pages count from 1.
// Threads: one reader at a time.
#pragma once

#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

class PageImage {
 public:
  virtual ~PageImage() = default;
  virtual uint32_t page_size() const = 0;
  virtual PageNo page_count() const = 0;
  // The pages from `first` on: out.size() is that of one or more pages, all of which are there.
  virtual Result<void> read(PageNo first, MutableBytes out) = 0;
  // Of each of those pages the number of the snapshot generation in which it last changed: an INCREMENTAL holds the
  // pages whose generation is greater than its parent's.
  virtual Result<void> generations(PageNo first, std::span<uint32_t> out) = 0;
};

}  // namespace tillsync
