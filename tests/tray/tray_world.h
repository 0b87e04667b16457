// A till's desktop with the real tillsync-tray on it.
#pragma once

#include <csignal>
#include <memory>
#include <sstream>

#include "agent/tray/tray_view.h"
#include "base/types.h"
#include "tests/tray/desktop.h"
#include "tests/tray/scripted_agent.h"

namespace tillsync::test {

constexpr int id_of(MenuItem item) { return static_cast<int>(item); }

inline Json state_of(const std::string& state) {
  const auto now = std::chrono::floor<Milliseconds>(std::chrono::system_clock::now());
  return Json{{"state", state},
              {"last_backup_at", to_rfc3339(now - std::chrono::seconds(200))},
              {"waiting", 0},
              {"safe_until", to_rfc3339(now)},
              {"paused_until", nullptr},
              {"workflow", nullptr},
              {"problems", Json::array()}};
}
inline const std::string kAllIsWell = "Last backup 3 minutes ago, all sales safe";

struct TrayWorld {
  TemporaryDirectory folder;
  PrivateBus bus;
  std::unique_ptr<Panel> panel = std::make_unique<Panel>(bus);
  std::unique_ptr<NotificationDaemon> notifications = std::make_unique<NotificationDaemon>(bus);
  std::string socket = folder / "run/control.sock";
  std::string log = folder / "tray.log";
  std::string language = "C";
  std::unique_ptr<ScriptedAgent> agent;
  ChildProcess tray;

  void start_agent(const Json& state = state_of("ok")) { agent = std::make_unique<ScriptedAgent>(socket, state); }
  // With words as a person gives them, in an environment that is the same everywhere.
  ChildProcess run(std::vector<std::string> words, const std::string& output) {
    const std::string bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    std::vector<std::string> line{"/usr/bin/env",
                                  "-u",
                                  "LC_ALL",
                                  "-u",
                                  "LC_MESSAGES",
                                  "LANG=" + language,
                                  "DBUS_SESSION_BUS_ADDRESS=" + bus.address(),
                                  "XDG_DATA_DIRS=" + folder / "share",
                                  "TZ=UTC",
                                  bin + "/tillsync-tray"};
    line.insert(line.end(), words.begin(), words.end());
    return must(ChildProcess::start(line, output));
  }
  void start_tray() {
    tray = run({"--control", socket}, log);
    if (panel) until("the tray registers", [&] { return !panel->registered.empty(); });
  }
  void start_with_agent(const Json& state = state_of("ok")) {
    start_agent(state);
    start_tray();
    until("the tray shows the agent's state", [&] { return panel->menu()[id_of(MenuItem::pause)].enabled; });
  }
  int exit_status(ChildProcess& process) {
    return must(process.wait(std::chrono::seconds(20), [] { return false; }));
  }
  static std::string text_of(const std::string& file) {
    std::ifstream in(file);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  }

  // Serves the bus while it waits: what is waited for happens in other processes.
  template <class Condition>
  void until(const std::string& what, Condition condition, std::chrono::seconds limit = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (true) {
      if (panel) panel->serve();
      if (notifications) notifications->serve();
      if (condition()) return;
      if (std::chrono::steady_clock::now() > end) FAIL("never happened: " << what << "\n" << text_of(log));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  const ShownNotification& notified(const std::string& summary) {
    until("the notification '" + summary + "'", [&] { return notifications->has(summary); });
    const auto& shown = notifications->shown;
    return *std::find_if(shown.rbegin(), shown.rend(), [&](const auto& one) { return one.summary == summary; });
  }
};

}  // namespace tillsync::test
