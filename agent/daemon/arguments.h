// The command line of `tillsyncd`, parsed.
//
// Threads: values; no state.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace tillsync {

struct AgentArguments {
  std::string config;  // empty: $TILLSYNC_CONFIG or the default
  bool check_config = false;
  std::string log_level = "info";
};

// An exit status when there is nothing (more) to do: 0 after --help and --version, 2 for a wrong command line, whose
// reason was written to standard error.
std::optional<int> parse_agent_arguments(int argc, char** argv, AgentArguments& out);

// The definition itself, to be read: the manual page and the completions are made from it.
void with_agent_command_line(const std::function<void(const CLI::App&)>& use);

}  // namespace tillsync
