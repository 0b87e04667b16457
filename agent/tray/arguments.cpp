#include "agent/tray/arguments.h"

#include "agent/config/command_line.h"
#include "agent/config/config.h"
#include "version.h"

namespace tillsync {

namespace {

void define(CLI::App& app, TrayArguments& out) {
  app.add_option("--config", out.config,
                 "the agent's configuration (default: $TILLSYNC_CONFIG, else " + std::string(kDefaultConfigPath) + ")")
      ->type_name("FILE");
  app.add_option("--control", out.control, "the agent's control socket (default: as the configuration says)")
      ->type_name("FILE");
  app.set_version_flag("--version", "tillsync-tray " TILLSYNC_VERSION);
  app.footer(
      "Exit status: 0 at the end of the session, or where one runs in it already, 1 failed, 2 usage or configuration.");
}

const CommandLine<TrayArguments> kCommandLine{
    "tillsync-tray: shows in the panel how the till's sales are, and backs up, pauses and resumes", "tillsync-tray",
    define};

}  // namespace

std::optional<int> parse_tray_arguments(int argc, char** argv, TrayArguments& out) {
  return kCommandLine.parse(argc, argv, out);
}

void with_tray_command_line(const std::function<void(const CLI::App&)>& use) { kCommandLine.read(use); }

}  // namespace tillsync
