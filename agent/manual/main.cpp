// make_manual: writes the manual pages and the completions of the shells, when tillsync is built.
//
// usage: make_manual TEMPLATES EXAMPLE DATE OUT
//   TEMPLATES  the folder with NAME.SECTION.in of each page
//   EXAMPLE    the commented configuration
//   DATE       of this version, 2026-11-26: the pages do not change with the day they were built on
//   OUT        where they go: NAME.SECTION, NAME.bash, _NAME
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/cli/arguments.h"
#include "agent/daemon/arguments.h"
#include "agent/manual/completion.h"
#include "agent/manual/man_page.h"
#include "agent/tray/arguments.h"
#include "version.h"

namespace {

using namespace tillsync;
namespace fs = std::filesystem;

Result<std::string> text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return Error{ErrorKind::not_found, 0, path.string() + ": can't be read"};
  return text.str();
}

Result<void> write(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text << std::flush;
  if (!out) return Error{ErrorKind::denied, 0, path.string() + ": can't be written"};
  return {};
}

class Maker {
 public:
  Maker(fs::path templates, std::string date, fs::path out)
      : templates_(std::move(templates)),
        out_(std::move(out)),
        common_{{"VERSION", TILLSYNC_VERSION}, {"DATE", std::move(date)}} {}

  Result<void> page(const std::string& name, ManPageWords words) {
    words.insert(common_.begin(), common_.end());
    TILLSYNC_LET(const std::string text, text_of(templates_ / (name + ".in")));
    TILLSYNC_LET(const std::string page, fill_man_page(text, words).with(name + ".in"));
    return write(out_ / name, page);
  }

  Result<void> program(const ProgramCommand& program, const std::string& section) {
    TILLSYNC_TRY(page(program.name + "." + section, man_page_words(program)));
    TILLSYNC_TRY(write(out_ / (program.name + ".bash"), bash_completion(program)));
    return write(out_ / ("_" + program.name), zsh_completion(program));
  }

 private:
  fs::path templates_, out_;
  ManPageWords common_;
};

Result<void> make_all(char** arguments) {
  Maker maker(arguments[1], arguments[3], arguments[4]);
  ProgramCommand program;
  with_command_line([&](const CLI::App& app) { program = describe(app); });
  TILLSYNC_TRY(maker.program(program, "1"));
  with_agent_command_line([&](const CLI::App& app) { program = describe(app); });
  TILLSYNC_TRY(maker.program(program, "8"));
  with_tray_command_line([&](const CLI::App& app) { program = describe(app); });
  TILLSYNC_TRY(maker.program(program, "1"));
  TILLSYNC_LET(const std::string example, text_of(arguments[2]));
  TILLSYNC_LET(const auto sections, read_config_example(example).with(arguments[2]));
  return maker.page("tillsync.toml.5", man_page_words(sections));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: make_manual TEMPLATES EXAMPLE DATE OUT\n", stderr);
    return 2;
  }
  if (auto made = make_all(argv); !made) {
    std::fprintf(stderr, "make_manual: %s\n", made.error().context.c_str());
    return 1;
  }
  return 0;
}
