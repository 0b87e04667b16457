// What the command lines of the programs without subcommands have in common: parsed, or read as a definition.
//
// Layout: `define` adds a program's options to an App and says where their values go.
// Threads: no state.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

namespace tillsync {

template <class Arguments>
struct CommandLine {
  std::string description, program;
  void (*define)(CLI::App& app, Arguments& out);

  // An exit status when there is nothing (more) to do: 0 after --help and --version, 2 for a wrong command line, whose
  // reason was written to standard error.
  std::optional<int> parse(int argc, char** argv, Arguments& out) const {
    CLI::App app{description, program};
    define(app, out);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : 2;
    }
    return std::nullopt;
  }
  void read(const std::function<void(const CLI::App&)>& use) const {
    Arguments arguments;
    CLI::App app{description, program};
    define(app, arguments);
    use(app);
  }
};

}  // namespace tillsync
