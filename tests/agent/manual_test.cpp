// The manual pages and the completions: they say what --help says, and of the configuration what its reader knows.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "agent/cli/arguments.h"
#include "agent/config/config.h"
#include "agent/daemon/arguments.h"
#include "agent/manual/completion.h"
#include "agent/manual/man_page.h"
#include "agent/manual/roff.h"
#include "agent/tray/arguments.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  REQUIRE_FALSE(out.str().empty());
  return out.str();
}

ProgramCommand tillsync_program() {
  ProgramCommand program;
  with_command_line([&](const CLI::App& app) { program = describe(app); });
  return program;
}

ProgramCommand agent_program() {
  ProgramCommand program;
  with_agent_command_line([&](const CLI::App& app) { program = describe(app); });
  return program;
}

ProgramCommand tray_program() {
  ProgramCommand program;
  with_tray_command_line([&](const CLI::App& app) { program = describe(app); });
  return program;
}

// What a person sees: read from the text of --help, not from the definition.
struct Help {
  std::set<std::string> options, commands;
};

Help help_of(std::vector<std::string> words) {
  words.emplace_back("--help");
  Arguments arguments;
  std::ostringstream out, err;
  REQUIRE(parse_arguments(words, arguments, out, err) == 0);
  Help help;
  std::istringstream lines(out.str());
  bool in_commands = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Subcommands:")) in_commands = true;
    if (!line.starts_with("  ") || line.starts_with("   ")) continue;
    std::string first = line.substr(2, line.find(' ', 2) - 2);
    if (in_commands && first[0] != '-') help.commands.insert(first);
    if (first[0] != '-') continue;
    for (size_t at = 0; at <= first.size();) {
      const size_t comma = std::min(first.find(',', at), first.size());
      help.options.insert(first.substr(at, comma - at));
      at = comma + 1;
    }
  }
  return help;
}

void each_command(const std::vector<std::string>& path,
                  const std::function<void(const std::vector<std::string>&)>& see) {
  see(path);
  for (const auto& command : help_of(path).commands) {
    auto below = path;
    below.push_back(command);
    each_command(below, see);
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : " ") + word;
  return all;
}

// The part of a page below `.SS "NAME"` or `.SS "NAME VALUE"`; empty if there is none.
std::string part_of(const std::string& page, const std::string& name) {
  for (const std::string& heading : {".SS \"" + name + "\"\n", ".SS \"" + name + " UUID\"\n"}) {
    const size_t at = page.find(heading);
    if (at == page.npos) continue;
    const size_t begin = at + heading.size();
    return page.substr(begin, page.find(".SS ", begin) - begin);
  }
  return "";
}

// What bash would offer after these words and at the start of the last one.
class Bash {
 public:
  explicit Bash(const ProgramCommand& program) : name_(program.name), script_(folder_ / "completion.bash") {
    std::ofstream(script_) << bash_completion(program);
  }
  std::set<std::string> offers(const std::vector<std::string>& words) const {
    const std::string shell = "bash --noprofile --norc -c 'source " + script_ + "; COMP_WORDS=(" + name_ + " " +
                              joined(words) + "); COMP_CWORD=" + std::to_string(words.size()) + "; _" + name_ +
                              "; printf \"%s\\n\" \"${COMPREPLY[@]}\"' 2>&1";
    std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(shell.c_str(), "r"), pclose);
    REQUIRE(pipe);
    std::set<std::string> all;
    char line[512];
    while (std::fgets(line, sizeof line, pipe.get())) {
      std::string word(line);
      word.pop_back();
      if (!word.empty()) all.insert(word);
    }
    return all;
  }
  const TemporaryDirectory& folder() const { return folder_; }

 private:
  std::string name_;
  TemporaryDirectory folder_;
  std::string script_;
};

std::set<std::string> starting_with(const std::set<std::string>& words, char c, bool wanted) {
  std::set<std::string> out;
  for (const auto& word : words)
    if ((word[0] == c) == wanted) out.insert(word);
  return out;
}

std::string example() { return text_of(TILLSYNC_DOCS "/tillsync.toml"); }

}  // namespace

TEST_SUITE_BEGIN("manual");

TEST_CASE("manual: every command and option that --help shows is in the page") {
  const auto words = man_page_words(tillsync_program());
  const std::string &options = words.at("OPTIONS"), &commands = words.at("COMMANDS");
  size_t seen = 0;
  each_command({}, [&](const std::vector<std::string>& path) {
    CAPTURE(joined(path));
    const std::string part = path.empty() ? options : part_of(commands, joined(path));
    CHECK_FALSE(part.empty());
    for (const auto& option : help_of(path).options) {
      if (!path.empty() && (option == "-h" || option == "--help")) continue;  // said once
      CAPTURE(option);
      CHECK(part.find("\\fB" + roff(option) + "\\fR") != part.npos);
      ++seen;
    }
  });
  CHECK(seen > 40);
  CHECK(commands.find("demo\\-shop") == commands.npos);
}

TEST_CASE("manual: bash offers the commands and options that --help shows, and nothing else") {
  const Bash bash(tillsync_program());
  const Help program = help_of({});
  CHECK(starting_with(bash.offers({"''"}), '-', false) == program.commands);
  each_command({}, [&](const std::vector<std::string>& path) {
    CAPTURE(joined(path));
    auto words = path;
    words.emplace_back("''");
    const auto offered = bash.offers(words);
    const Help help = help_of(path);
    auto options = help.options;
    for (const auto& option : program.options)
      if (option != "--version") options.insert(option);
    if (path.empty()) options.insert("--version");
    CHECK(starting_with(offered, '-', true) == options);
    CHECK(starting_with(offered, '-', false) == help.commands);
  });
}

TEST_CASE("manual: bash completes values, and takes none for a command") {
  const Bash bash(tillsync_program());
  using Words = std::set<std::string>;
  CHECK(bash.offers({"backup", "--type", "''"}) == Words{"differential", "full", "incremental"});
  CHECK(bash.offers({"backup", "--type", "f"}) == Words{"full"});
  CHECK(bash.offers({"--terminal", "backup", "sta"}) == Words{"status"});
  CHECK(bash.offers({"backup", "--name", "verify", "--ty"}) == Words{"--type"});
  CHECK(bash.offers({"log", "--to", "''"}).empty());
  std::ofstream(bash.folder() / "recovery.pem") << "x";
  const std::string file = bash.folder() / "recovery.pem";
  CHECK(bash.offers({"snapshots", "--key", bash.folder() / "rec"}) == Words{file});
  CHECK(bash.offers({"restore", "--to", bash.folder() / "rec"}) == Words{file});
  CHECK(bash.offers({"restore", "--assets", bash.folder() / "rec"}).empty());
  CHECK(Bash(agent_program()).offers({"--log-level", "d"}) == Words{"debug"});
  CHECK(Bash(tray_program()).offers({"--con"}) == Words{"--config", "--control"});
}

TEST_CASE("manual: zsh has every command as a function with its options") {
  const std::string script = zsh_completion(tillsync_program());
  CHECK(script.starts_with("#compdef tillsync\n"));
  each_command({}, [&](const std::vector<std::string>& path) {
    std::string name = "_tillsync";
    for (const auto& word : path) name += "_" + word;
    CAPTURE(name);
    const size_t begin = script.find("\n" + name + "() {\n");
    REQUIRE(begin != script.npos);
    const std::string function = script.substr(begin, script.find("\n}\n", begin) - begin);
    for (const auto& option : help_of(path).options) CHECK(function.find("'" + option + "[") != function.npos);
    for (const auto& command : help_of(path).commands) CHECK(function.find("'" + command + ":") != function.npos);
  });
  CHECK(script.find("demo-shop") == script.npos);
}

TEST_CASE("manual: each page's template has a place for all that is made for it") {
  const std::string folder = TILLSYNC_DOCS "/man/";
  const auto page = [&](const std::string& file, ManPageWords words) {
    words.insert({{"VERSION", "1.2.3"}, {"DATE", "2026-01-31"}});
    auto text = fill_man_page(text_of(folder + file), words);
    REQUIRE_MESSAGE(text.has_value(), (text ? "" : text.error().context));
    CHECK(text->find("2026-01-31") != text->npos);
    return *text;
  };
  CHECK(page("tillsync.1.in", man_page_words(tillsync_program())).find("130 interrupted") != std::string::npos);
  CHECK(page("tillsyncd.8.in", man_page_words(agent_program())).find("\\-\\-check\\-config") != std::string::npos);
  CHECK(page("tillsync-tray.1.in", man_page_words(tray_program())).find("\\-\\-control") != std::string::npos);
  const auto sections = read_config_example(example());
  REQUIRE(sections);
  const std::string text = page("tillsync.toml.5.in", man_page_words(*sections));
  for (const auto& [section, keys] : config_keys()) {
    CHECK(text.find("[" + roff(section) + "]") != text.npos);
    for (const auto& key : keys) CHECK(text.find("\\fB" + roff(key) + "\\fR = ") != text.npos);
  }
}

TEST_CASE("manual: the example describes every key that the configuration may have, and no other") {
  const auto sections = read_config_example(example());
  REQUIRE_MESSAGE(sections.has_value(), (sections ? "" : sections.error().context));
  std::map<std::string, std::set<std::string>> described;
  for (const auto& section : *sections)
    for (const auto& key : section.keys) described[section.name].insert(key.name);
  CHECK(described == config_keys());
  CHECK(config_keys().at("database").contains("path"));
  CHECK(config_keys().at("limits").size() >= 5);
}

TEST_CASE("manual: the example is a configuration, and what it shows as defaults are the defaults") {
  const auto as_it_is = parse_config(example(), "tillsync.toml");
  REQUIRE_MESSAGE(as_it_is.has_value(), (as_it_is ? "" : as_it_is.error().context));
  CHECK(check_agent_config(*as_it_is));
  const auto full = parse_config(with_every_key(example()), "tillsync.toml");
  REQUIRE_MESSAGE(full.has_value(), (full ? "" : full.error().context));
  CHECK(full->terminal == as_it_is->terminal);
  CHECK(full->databases == as_it_is->databases);
  CHECK(full->store == as_it_is->store);
  CHECK(full->keys == as_it_is->keys);
  CHECK(full->schedule == as_it_is->schedule);
  CHECK(full->retention == as_it_is->retention);
  CHECK(full->metrics == as_it_is->metrics);
  CHECK(full->limits == as_it_is->limits);
  REQUIRE(full->assets.size() == 1);
  CHECK(full->assets[0].include == AssetsConfig().include);
}

TEST_CASE("manual: an example that leaves something unsaid is refused, with its line") {
  const auto refused = [](std::string_view text) {
    const auto sections = read_config_example(text);
    REQUIRE_FALSE(sections.has_value());
    return sections.error().context;
  };
  CHECK(refused("[store]\nurl = \"\"\n") == "line 2: a key that nothing is said of");
  CHECK(refused("[store]\n# a comment\n\n#url = \"\"\n") == "line 4: a key that nothing is said of");
  CHECK(refused("# a comment\nurl = \"\"\n") == "line 2: a key outside of the sections");
  CHECK(refused("[store]\nurl\n") == "line 2: neither a comment, a section nor a key");
}

TEST_CASE("manual: a page with a word that nobody fills, or without a place for one, is refused") {
  CHECK(*fill_man_page("a @B@ c@d.e @\n", {{"B", "b"}}) == "a b c@d.e @\n");
  CHECK(*fill_man_page("x\n@B@\ny", {{"B", "b\n"}}) == "x\nb\ny");
  CHECK(fill_man_page("@C@", {{"B", "b"}}).error().context == "nothing fills @C@");
  CHECK(fill_man_page("", {{"B", "b"}}).error().context == "the page has no place for @B@");
}

TEST_CASE("manual: text stays text in the man macros") {
  CHECK(roff("--data \"x\" 'y' \\n") == "\\-\\-data \\(dqx\\(dq \\(aqy\\(aq \\en");
  CHECK(roff(".SH no\n.TH") == "\\&.SH no\n\\&.TH");
  CHECK(roff("`tillsync workflows` ~") == "\\fBtillsync workflows\\fR \\(ti");
  CHECK(roff("ü → …") == "\\[u00FC] \\[u2192] ...");
}

TEST_SUITE_END();
