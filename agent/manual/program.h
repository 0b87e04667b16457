// A program's command line as data: what --help, the manual page and the completion of a shell all say.
//
// Purpose: read from the definition that parses it, so that there is one list of commands and options. What is hidden
// from --help is left out.
// Threads: values; no state.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tillsync {

struct ProgramOption {
  std::vector<std::string> names;     // "-h", "--help"
  std::string value;                  // "FILE", as --help calls it; empty: takes none
  std::vector<std::string> choices;   // all values there are; empty: not a fixed list
  std::string text;                   // what it does
  std::vector<std::string> needs;     // names of other options, sorted
  std::vector<std::string> excludes;  // the same
  bool required = false;
};

struct ProgramCommand {
  std::string name;  // of the program itself: "tillsync"
  std::string text;
  std::vector<ProgramOption> options;
  std::vector<ProgramOption> arguments;  // those without a name, in their order
  std::vector<ProgramCommand> commands;
  std::string footer;  // below all of it: the exit status
};

ProgramCommand describe(const CLI::App& app);

}  // namespace tillsync
