// What a person sees of each document. The documents are those of --json, wherever they came from.
//
// Purpose: rendering knows nothing of transport; a field that is absent or null leaves a gap, never an error.
// Threads: values; no state.
#pragma once

#include <string>

#include "agent/cli/text.h"

namespace tillsync {

std::string render_doctor(const Json& document, const Style& style);
std::string render_status(const Json& status, const Style& style);
std::string render_snapshots(const Json& snapshots, const Style& style);
std::string render_snapshot_line(const Json& snapshot);  // one line, after `backup --wait`
std::string render_flush(const Json& flushed);
std::string render_action(const Json& action, const Style& style);  // one line of `log`
std::string render_restore(const Json& restored, const std::string& file, const Style& style);
std::string render_verification(const Json& verification, const Style& style);
std::string render_prune(const Json& pruned, const Style& style);
std::string render_workflows(const Json& workflows, const Style& style);

}  // namespace tillsync
