// tillsyncd: the agent, in the foreground until SIGTERM or SIGINT.
#include <malloc.h>
#include <signal.h>

#include <cstdio>

#include "agent/daemon/agent.h"
#include "agent/daemon/arguments.h"
#include "agent/logging/log_output.h"
#include "crypto/secret.h"
#include "platform/linux/change_notifier_linux.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/folder_linux.h"
#include "platform/linux/lock_holders_linux.h"
#include "platform/linux/process_figures_linux.h"
#include "platform/linux/process_signals_linux.h"
#include "platform/linux/shared_files_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "platform/linux/systemd_notifier_linux.h"
#include "store/open_store.h"

namespace {

using namespace tillsync;

int fail(const Error& error) {
  std::fprintf(stderr, "tillsyncd: %s\n", error.context.c_str());
  return error.kind == ErrorKind::usage ? 2 : error.kind == ErrorKind::denied ? 5 : 1;
}

int run(int argc, char** argv) {
  AgentArguments arguments;
  if (const auto status = parse_agent_arguments(argc, argv, arguments)) return *status;
  auto config = load_config(config_path(arguments.config));
  if (!config) return fail(config.error());
  if (auto usable = check_agent_config(*config); !usable) return fail(usable.error());
  if (arguments.check_config) {
    std::printf("%s: ok\n", config->file.c_str());
    return 0;
  }
  if (auto logging = set_up_logging(config->log, arguments.log_level); !logging) return fail(logging.error());
  ::signal(SIGPIPE, SIG_IGN);
#ifdef __GLIBC__
  // An agent that is idle most of its life gives back what a burst took: few heaps, and large blocks mapped on their
  // own.
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 10);
#endif

  protect_secrets();
  LinuxFileSystem files;
  LinuxFolders folders;
  SystemClock clock;
  SystemRandom random;
  LinuxChangeNotifierFactory notifiers;
  LinuxProcessSignals signals;
  SystemdNotifier manager;
  if (auto prepared = prepare_store(config->store); !prepared) return fail(prepared.error());
  const auto may_open = [](const std::string& path) -> Result<void> {
    TILLSYNC_TRY(may_share_database(path));
    return {};
  };
  while (true) {
    auto agent = Agent::create(*config, {&files, &clock, &random, &notifiers, &folders, lock_holders, may_open,
                                         &signals, process_figures, &manager});
    if (!agent) return fail(agent.error());
    if ((*agent)->run() == Agent::Ended::stopped) break;
  }
  end_logging();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& bug) {
    std::fprintf(stderr, "tillsyncd: a fault of the program: %s\n", bug.what());
    return 1;
  }
}
