#include "agent/manual/man_page.h"

#include <set>

#include "agent/manual/roff.h"

namespace tillsync {

namespace {

std::string sentence(std::string text) {
  if (text.empty()) return text;
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text.back() == '.' ? text : text + '.';
}

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "`" : ", `") + name + "`";
  return all;
}

std::string heading(const ProgramOption& option) {
  std::string names;
  for (const auto& name : option.names) names += (names.empty() ? "\\fB" : ", \\fB") + roff(name) + "\\fR";
  if (!option.value.empty()) names += (names.empty() ? "\\fI" : " \\fI") + roff(option.value) + "\\fR";
  return names;
}

std::string entry(const ProgramOption& option) {
  std::string text = sentence(option.text);
  if (option.required && !option.names.empty()) text += " Must be given.";
  if (!option.needs.empty()) text += " Only with " + joined(option.needs) + ".";
  if (!option.excludes.empty()) text += " Not with " + joined(option.excludes) + ".";
  return ".TP\n" + heading(option) + "\n" + roff(text) + "\n";
}

bool is_help(const ProgramOption& option) { return option.names.back() == "--help"; }

void add_command(const ProgramCommand& command, const std::string& above, std::string& out) {
  const std::string name = above + command.name;
  std::string title = name;
  for (const auto& argument : command.arguments) title += " " + argument.value;
  // A heading is one argument of its macro, and what has only commands below it is no command itself.
  out += ".SS \"" + roff(title) + "\"\n" + roff(sentence(command.text)) + "\n";
  for (const auto& argument : command.arguments) out += entry(argument);
  for (const auto& option : command.options)
    if (!is_help(option)) out += entry(option);  // said once, for all of them
  for (const auto& one : command.commands) add_command(one, name + " ", out);
}

std::string value_of(const ConfigKey& key) {
  return "\\fB" + roff(key.name) + "\\fR = " + roff(key.value) + (key.is_needed ? " \\fR(must be given)" : "");
}

// A word of the template that begins at `at`, "@LIKE_THIS@"; empty if none does.
std::string_view word_at(std::string_view page, size_t at) {
  const size_t end = page.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", at + 1);
  if (end == page.npos || page[end] != '@' || end == at + 1) return {};
  return page.substr(at + 1, end - at - 1);
}

}  // namespace

ManPageWords man_page_words(const ProgramCommand& program) {
  ManPageWords words;
  // The description begins with the name: "tillsync: backs up …".
  const size_t colon = program.text.find(": ");
  const std::string what = colon == program.text.npos ? program.text : program.text.substr(colon + 2);
  words["NAME"] = roff(program.name) + " \\- " + roff(what) + "\n";
  auto& options = words["OPTIONS"];
  for (const auto& option : program.options) options += entry(option);
  if (!program.commands.empty()) {
    auto& commands = words["COMMANDS"];
    for (const auto& command : program.commands) add_command(command, "", commands);
  }
  if (!program.footer.empty()) {
    std::string text = program.footer;
    const std::string_view title = "Exit status: ";
    if (text.starts_with(title)) text.erase(0, title.size());
    words["EXIT_STATUS"] = roff(text) + "\n";
  }
  return words;
}

ManPageWords man_page_words(const std::vector<ConfigSection>& sections) {
  std::string keys;
  for (const auto& section : sections) {
    keys += ".SS \"" + roff(section.is_list ? "[[" + section.name + "]]" : "[" + section.name + "]") + "\"\n";
    if (!section.text.empty()) keys += roff(section.text) + "\n";
    for (const auto& key : section.keys) keys += ".TP\n" + value_of(key) + "\n" + roff(key.text) + "\n";
  }
  return {{"KEYS", keys}};
}

Result<std::string> fill_man_page(std::string_view page, const ManPageWords& words) {
  std::string out;
  std::set<std::string, std::less<>> used;
  for (size_t at = 0; at < page.size();) {
    const std::string_view word = page[at] == '@' ? word_at(page, at) : std::string_view();
    if (word.empty()) {
      out += page[at++];
      continue;
    }
    const auto found = words.find(word);
    if (found == words.end()) return Error{ErrorKind::usage, 0, "nothing fills @" + std::string(word) + "@"};
    used.emplace(word);
    out += found->second;
    at += word.size() + 2;
    // A word on a line of its own brings its line's end along.
    if (out.ends_with('\n') && at < page.size() && page[at] == '\n') ++at;
  }
  for (const auto& [word, text] : words)
    if (!used.contains(word)) return Error{ErrorKind::usage, 0, "the page has no place for @" + word + "@"};
  return out;
}

}  // namespace tillsync
