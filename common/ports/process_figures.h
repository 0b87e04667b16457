// What the operating system knows of this process, for metrics and support.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace tillsync {

struct ProcessFigures {
  uint64_t resident_bytes = 0, virtual_bytes = 0;
  double cpu_seconds = 0;  // user and system
  uint64_t open_files = 0, threads = 0;
  Timestamp started_at{};
};

}  // namespace tillsync
