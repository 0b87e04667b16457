// tillsync-tray: the till operator's icon, until the session ends.
#include <cstdio>
#include <cstdlib>

#include "agent/config/config.h"
#include "agent/tray/arguments.h"
#include "agent/tray/linux/tray_session_linux.h"

namespace {

using namespace tillsync;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The agent's configuration is often not for the operator to read: then the agent is where it is by default.
Result<std::string> control_socket(const std::string& config_file) {
  auto config = load_config(config_path(config_file));
  if (config) return config->terminal.control;
  if (!config_file.empty()) return config.error();
  return default_config().terminal.control;
}

int run(int argc, char** argv) {
  TrayArguments arguments;
  if (const auto done = parse_tray_arguments(argc, argv, arguments)) return *done;
  std::string control = arguments.control;
  if (control.empty()) {
    auto found = control_socket(arguments.config);
    if (!found) {
      std::fprintf(stderr, "tillsync-tray: %s\n", found.error().context.c_str());
      return 2;
    }
    control = std::move(*found);
  }
  const Language language = language_of(variable("LC_ALL"), variable("LC_MESSAGES"), variable("LANG"));
  auto session = TraySession::open(control, language);
  if (!session) {
    std::fprintf(stderr, "tillsync-tray: %s\n", session.error().context.c_str());
    // One is enough: whoever starts a second has what they want.
    return session.error().kind == ErrorKind::conflict ? 0 : 1;
  }
  if (auto ran = (*session)->run(); !ran) {
    std::fprintf(stderr, "tillsync-tray: %s\n", ran.error().context.c_str());
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& bug) {
    std::fprintf(stderr, "tillsync-tray: a fault of the program: %s\n", bug.what());
    return 1;
  }
}
