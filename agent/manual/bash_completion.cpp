#include "agent/manual/completion.h"

namespace tillsync {

namespace {

std::string words_of(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : " ") + word;
  return all;
}

// The pattern of a `case`: each of these words after what stands in front.
std::string pattern(const std::string& front, const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : " | ") + front + word;
  return all;
}

class BashScript {
 public:
  explicit BashScript(const ProgramCommand& program) { add(program, "", true); }

  std::string text(const std::string& name) const {
    const std::string function = "_" + name;
    return "# bash completion of " + name + "; made from its --help\n" + function +
           R"(() {
  local current=${COMP_WORDS[COMP_CWORD]} previous='' command='' words='' at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; ++at)); do
    previous=${COMP_WORDS[at]}
    # The value of an option is no command.
    if ((at + 1 < COMP_CWORD)); then
      case "$command $previous" in
)" + skipped_ +
           R"(      esac
    fi
    case "$command $previous" in
)" + commands_ +
           R"(    esac
  done
  case "$command $previous" in
)" + values_ +
           R"(  esac
  case "$command" in
)" + words_ +
           R"(  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F )" +
           function + " " + name + "\n";
  }

 private:
  // path: " backup", " keys make"; empty for the program. The options of the program itself may stand anywhere.
  void add(const ProgramCommand& command, const std::string& path, bool is_global) {
    std::vector<std::string> words;
    for (const auto& option : command.options) {
      words.insert(words.end(), option.names.begin(), option.names.end());
      if (option.value.empty()) continue;
      const std::string front = is_global ? "*' '" : "'" + path + " '";
      skipped_ += "        " + pattern(front, option.names) + ") ((++at)); previous=''; continue ;;\n";
      values_ += "    " + pattern(front, option.names) + ") " + value(option) + " return ;;\n";
    }
    for (const auto& one : command.commands) {
      words.push_back(one.name);
      commands_ += "      '" + path + " " + one.name + "') command='" + path + " " + one.name + "' ;;\n";
    }
    if (is_global) global_ = words_of(words_of_options(command));
    for (const auto& argument : command.arguments)
      if (!argument.choices.empty()) words.insert(words.end(), argument.choices.begin(), argument.choices.end());
    words_ += "    '" + path + "') words='" + words_of(words) + (is_global ? "" : " " + global_) + "' ;;\n";
    for (const auto& one : command.commands) add(one, path + " " + one.name, false);
  }

  static std::vector<std::string> words_of_options(const ProgramCommand& command) {
    std::vector<std::string> words;
    for (const auto& option : command.options)
      if (option.names.back() != "--help" && option.names.back() != "--version")
        words.insert(words.end(), option.names.begin(), option.names.end());
    return words;
  }

  static std::string value(const ProgramOption& option) {
    switch (value_kind(option)) {
      case ValueKind::choices:
        return "mapfile -t COMPREPLY < <(compgen -W '" + words_of(option.choices) + "' -- \"$current\");";
      case ValueKind::file:
        return "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\");";
      case ValueKind::folder:
        return "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$current\");";
      case ValueKind::other: return "";
    }
    return "";
  }

  std::string skipped_, commands_, values_, words_, global_;
};

}  // namespace

ValueKind value_kind(const ProgramOption& option) {
  if (!option.choices.empty()) return ValueKind::choices;
  if (option.value == "FILE") return ValueKind::file;
  if (option.value == "DIR") return ValueKind::folder;
  return ValueKind::other;
}

std::string bash_completion(const ProgramCommand& program) { return BashScript(program).text(program.name); }

}  // namespace tillsync
