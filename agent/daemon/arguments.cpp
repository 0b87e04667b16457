#include "agent/daemon/arguments.h"

#include "agent/config/command_line.h"
#include "agent/config/config.h"
#include "version.h"

namespace tillsync {

namespace {

void define(CLI::App& app, AgentArguments& out) {
  app.add_option("--config", out.config,
                 "configuration (default: $TILLSYNC_CONFIG, else " + std::string(kDefaultConfigPath) + ")")
      ->type_name("FILE");
  app.add_flag("--check-config", out.check_config, "check the configuration and end");
  app.add_option("--log-level", out.log_level, "trace, debug, info, warn or error; info if not given")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->type_name("LEVEL");
  app.set_version_flag("--version", "tillsyncd " TILLSYNC_VERSION);
  app.footer(
      "Exit status: 0 stopped as asked, 1 failed, 2 usage or configuration, 5 refused. The reason is on standard\n"
      "error.");
}

const CommandLine<AgentArguments> kCommandLine{"tillsyncd: follows the till's databases and keeps them in the store",
                                               "tillsyncd", define};

}  // namespace

std::optional<int> parse_agent_arguments(int argc, char** argv, AgentArguments& out) {
  return kCommandLine.parse(argc, argv, out);
}

void with_agent_command_line(const std::function<void(const CLI::App&)>& use) { kCommandLine.read(use); }

}  // namespace tillsync
