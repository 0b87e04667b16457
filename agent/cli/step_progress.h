// Progress of a command that works on a store itself, in the shape of docs/control-protocol.md: step, percent, rate,
// time left.
//
// Units: bytes; rate in bytes a second since the step began; percent of the step. Calls the callback at most ten times
// a second and at the start of each step. Threads: one.
#pragma once

#include <string>

#include "agent/cli/store_commands.h"
#include "ports/clock.h"

namespace tillsync {

class StepProgress {
 public:
  StepProgress(const StoreCommands::Progress& progress, Clock& clock) : progress_(progress), clock_(clock) {}
  // False: stop.
  bool begin(std::string step);
  bool show(uint64_t items, uint64_t bytes, uint64_t bytes_total);

 private:
  bool tell(uint64_t items, uint64_t bytes, uint64_t bytes_total);
  const StoreCommands::Progress& progress_;
  Clock& clock_;
  std::string step_;
  std::chrono::steady_clock::time_point begun_{}, told_{};
  bool going_ = true;
};

}  // namespace tillsync
