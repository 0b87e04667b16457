// What a configuration that was read again changes: at once, and at the next start.
//
// Threads: any.
#pragma once

#include "agent/config/config.h"

namespace tillsync {

struct ConfigChange {
  // These alone change while the agent runs.
  std::optional<uint64_t> upload_limit;
  std::optional<std::vector<HourRange>> upload_hours;
  std::vector<std::string> at_next_start;  // sections: "schedule"
};

// running: as it was read at the start, with what was changed since.
ConfigChange change_of(const Config& running, const Config& wanted);
// "changed from now on: store.upload_limit; changed, and needs a restart of the agent: [schedule], [retention]", or
// "nothing has changed".
std::string in_words(const ConfigChange& change);

}  // namespace tillsync
