#include "agent/daemon/disk_ladder.h"

#include <algorithm>

namespace tillsync {

std::string_view to_string(DiskRung rung) {
  switch (rung) {
    case DiskRung::roomy: return "roomy";
    case DiskRung::uploads_first: return "uploads_first";
    case DiskRung::compact: return "compact";
    case DiskRung::let_go: return "let_go";
  }
  return "roomy";
}

DiskRung DiskLadder::at(uint64_t free) const {
  if (free < min_free_ + min_free_ / 8) return DiskRung::let_go;
  if (free < min_free_ + min_free_ / 2) return DiskRung::compact;
  if (free < 2 * min_free_) return DiskRung::uploads_first;
  return DiskRung::roomy;
}

DiskRung DiskLadder::look(uint64_t free) {
  if (min_free_ == 0) return DiskRung::roomy;
  // Down at once; up only where there would be room with a margin.
  const DiskRung down = at(free), up = at(free - std::min(free, min_free_ / 8));
  rung_ = std::max(down, std::min(rung_, up));
  return rung_;
}

}  // namespace tillsync
