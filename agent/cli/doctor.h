// `tillsync doctor`: what keeps this till from being safe, found before it matters, with what to do about it.
//
// Purpose: each check is a line of its own and none ends the others. Works with an agent and without; what it looks at
// is what the user who runs it may see. It writes one small object to the store, and removes it again.
// Threads: one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/config/config.h"
#include "base/json.h"
#include "ports/clock.h"
#include "ports/files.h"
#include "ports/random.h"

namespace tillsync {

struct Finding {
  enum class State { ok, warning, problem };
  std::string check;  // "configuration", "agent", "database", "state_dir", "clock", "keys", "store"
  State state = State::ok;
  std::string text;
  std::string remedy;  // of what is not ok
};
std::string_view to_string(Finding::State state);

struct DoctorPorts {
  FileSystem& files;
  Clock& clock;
  Random& random;
  // `status` of the running agent; nullopt: none runs.
  std::function<Result<std::optional<Json>>(const Config& config)> ask_agent;
};

// file: as --config names it; empty: where it usually is.
std::vector<Finding> examine(const std::string& file, const DoctorPorts& ports);
Json to_json(const std::vector<Finding>& findings);

}  // namespace tillsync
