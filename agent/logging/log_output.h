// Where the agent's messages go: the journal, a file that does not grow without end, or a terminal.
//
// Purpose: what a person has to know, once each. Levels: critical, the agent can't go on; error, something that needs a
// person; warn, something failed and is tried again by itself; info, what happened (a snapshot, a restore, a start);
// debug, for us. Messages that repeat are cut short (RepeatLimit). The newest kRecentMax lines are kept in memory, for
// `tillsync diagnose`. Errors: usage, for a file that can't be written. Threads: set_up_logging() once, before others
// log.
#pragma once

#include <string>
#include <vector>

#include "agent/config/config.h"

namespace tillsync {

inline constexpr size_t kRecentMax = 300, kRecentLineMax = 500;

// level: "trace" to "error".
Result<void> set_up_logging(const LogConfig& config, const std::string& level);
// Tells what the log still held back; nothing is told after it.
void end_logging();
// Oldest first, each with its time and level.
std::vector<std::string> recent_log();

}  // namespace tillsync
