// The command line of `tillsync-tray`, parsed.
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

struct TrayArguments {
  std::string config;   // empty: $TILLSYNC_CONFIG or the default
  std::string control;  // empty: as the configuration says
};

// An exit status when there is nothing (more) to do: 0 after --help and --version, 2 for a wrong command line, whose
// reason was written to standard error.
std::optional<int> parse_tray_arguments(int argc, char** argv, TrayArguments& out);

// The definition itself, to be read: the manual page and the completions are made from it.
void with_tray_command_line(const std::function<void(const CLI::App&)>& use);

}  // namespace tillsync
