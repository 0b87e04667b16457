// What the agent gives up, step by step, before the till's free-space floor (limits.min_free) would be crossed.
//
// Rungs, by the bytes free on the disk of state_dir, with F = limits.min_free; 0 switches the ladder off:
//   below 2 F      uploads_first: rows of the local log go as soon as the store has them, not after limits.local_log
//   below 1.5 F    compact: also rows whose sealed segment lies in the spool; the segment is a quarter of their size
//   below F + F/8  let_go: capture lets go of the databases and says so. Nothing is lost: the sales are in the
//                  application's own database, and are caught up, as one transaction where its log did not keep them
// Climbed back one at a time with F/8 more than the step down took, so that it does not swing.
// At any rung snapshots, drills and verifications end with no_space where they would cross the floor, and are tried
// again.
// Threads: pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace tillsync {

enum class DiskRung { roomy, uploads_first, compact, let_go };
std::string_view to_string(DiskRung rung);

class DiskLadder {
 public:
  explicit DiskLadder(uint64_t min_free) : min_free_(min_free) {}
  DiskRung look(uint64_t free);
  DiskRung rung() const { return rung_; }

 private:
  DiskRung at(uint64_t free) const;
  uint64_t min_free_;
  DiskRung rung_ = DiskRung::roomy;
};

}  // namespace tillsync
