#include "agent/manual/completion.h"

namespace tillsync {

namespace {

constexpr std::string_view kInSpec = "[]:\\", kInDescription = ":\\", kInChoices = " ():\\";

// Inside of '…', where these characters have a meaning of their own.
std::string quoted(const std::string& text, std::string_view special) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      if (special.find(c) != special.npos) out += '\\';
      out += c;
    }
  }
  return out;
}

std::string value_of(const ProgramOption& option) {
  std::string out = ":" + quoted(option.value, kInSpec) + ":";
  switch (value_kind(option)) {
    case ValueKind::choices:
      out += "(";
      for (const auto& choice : option.choices) out += (out.ends_with('(') ? "" : " ") + quoted(choice, kInChoices);
      return out + ")";
    case ValueKind::file: return out + "_files";
    case ValueKind::folder: return out + "_files -/";
    case ValueKind::other: return out + " ";
  }
  return out;
}

// _arguments takes each name of an option on its own.
std::string specs_of(const ProgramCommand& command, bool with_help) {
  std::string out;
  for (const auto& option : command.options) {
    const bool is_about = option.names.back() == "--help" || option.names.back() == "--version";
    if (is_about && !with_help) continue;
    for (const auto& name : option.names)
      out += "    '" + name + "[" + quoted(option.text, kInSpec) + "]" +
             (option.value.empty() ? "" : value_of(option)) + "'\n";
  }
  return out;
}

class ZshScript {
 public:
  explicit ZshScript(const ProgramCommand& program) : globals_(specs_of(program, false)) {
    add(program, "_" + program.name, true);
  }

  std::string text(const std::string& name) const {
    return "#compdef " + name + "\n# zsh completion of " + name + "; made from its --help\n\n" + functions_ + "_" +
           name + " \"$@\"\n";
  }

 private:
  void add(const ProgramCommand& command, const std::string& function, bool is_program) {
    std::string body = function + "() {\n  local -a specs=(\n" + specs_of(command, true) + (is_program ? "" : globals_);
    for (const auto& argument : command.arguments) body += "    '" + value_of(argument) + "'\n";
    if (command.commands.empty()) {
      functions_ += body + "  )\n  _arguments $specs\n}\n\n";
      return;
    }
    body += "    '1: :->command'\n    '*:: :->words'\n  )\n  local -a commands=(\n";
    for (const auto& one : command.commands)
      body += "    '" + one.name + ":" + quoted(one.text, kInDescription) + "'\n";
    body +=
        "  )\n  local context state state_descr line found=1\n  typeset -A opt_args\n  _arguments -C $specs && "
        "found=0\n"
        "  case $state in\n    command) _describe command commands && found=0 ;;\n    words)\n      case $words[1] "
        "in\n";
    for (const auto& one : command.commands)
      body += "        " + one.name + ") " + function + "_" + one.name + " && found=0 ;;\n";
    functions_ += body + "      esac ;;\n  esac\n  return found\n}\n\n";
    for (const auto& one : command.commands) add(one, function + "_" + one.name, false);
  }

  std::string globals_, functions_;
};

}  // namespace

std::string zsh_completion(const ProgramCommand& program) { return ZshScript(program).text(program.name); }

}  // namespace tillsync
