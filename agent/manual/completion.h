// Scripts with which a shell completes a program's commands, options and values.
//
// Purpose: whole scripts, as bash-completion (completions/NAME) and zsh's compinit (site-functions/_NAME) load them by
// the program's name. They ask nothing of the program: completing works where no agent runs and no configuration is.
// Threads: functions without state.
#pragma once

#include <string>

#include "agent/manual/program.h"

namespace tillsync {

std::string bash_completion(const ProgramCommand& program);
std::string zsh_completion(const ProgramCommand& program);

// How a value is completed, by what --help calls it.
enum class ValueKind { choices, file, folder, other };
ValueKind value_kind(const ProgramOption& option);

}  // namespace tillsync
