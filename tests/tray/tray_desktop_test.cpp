// The real tillsync-tray between a desktop and an agent that are played.
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/tray/icon_images.h"
#include "support/process_figures.h"
#include "tests/tray/tray_world.h"
#include "version.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

// Answers each connection with one line, and closes it.
class RefusingAgent {
 public:
  RefusingAgent(const std::string& path, std::string line) : line_(std::move(line)) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    std::copy(path.begin(), path.end(), address.sun_path);
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    thread_ = std::thread([this] {
      while (true) {
        UniqueFd client(::accept(listener_.get(), nullptr, nullptr));
        if (!client) return;
        (void)!::send(client.get(), line_.data(), line_.size(), MSG_NOSIGNAL);
      }
    });
  }
  ~RefusingAgent() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

 private:
  std::string line_;
  UniqueFd listener_;
  std::thread thread_;
};

int64_t switches(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with("voluntary_ctxt_switches:")) return std::stoll(line.substr(line.find(':') + 1));
  return -1;
}

}  // namespace

TEST_SUITE_BEGIN("tray");

TEST_CASE("tray desktop: the icon is in the panel, with words and pixels") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  Panel& panel = *world.panel;
  CHECK(panel.text("Id") == "tillsync-tray");
  CHECK(panel.text("Title") == "tillsync");
  CHECK(panel.text("Category") == "ApplicationStatus");
  CHECK(panel.text("Status") == "Active");
  CHECK(panel.text("IconName").empty());  // no theme has it here
  CHECK(panel.tooltip() == std::pair(kAllIsWell, std::string()));
  const auto pixmaps = panel.pixmaps();
  std::vector<int> sizes;
  for (const auto& pixmap : pixmaps) {
    sizes.push_back(pixmap.width);
    REQUIRE(pixmap.height == pixmap.width);
    const auto image = icon_image(TrayIcon::ok, pixmap.width);
    REQUIRE(pixmap.bytes.size() == image.pixels.size() * 4);
    for (size_t i = 0; i < image.pixels.size(); ++i) {
      const Pixel sent{pixmap.bytes[4 * i], pixmap.bytes[4 * i + 1], pixmap.bytes[4 * i + 2], pixmap.bytes[4 * i + 3]};
      if (!(sent == image.pixels[i])) FAIL("pixel " << i << " at size " << pixmap.width);
    }
  }
  CHECK(sizes == std::vector<int>{16, 22, 24, 32, 48});
  CHECK(panel.pixmaps("AttentionIconPixmap").empty());
}

TEST_CASE("tray desktop: a theme that has our icons is asked for them by name") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  const std::string themed = world.folder / "share/icons/hicolor/scalable/status";
  std::filesystem::create_directories(themed);
  std::ofstream(themed + "/tillsync-ok.svg") << icon_svg(TrayIcon::ok);
  world.start_with_agent();
  CHECK(world.panel->text("IconName") == "tillsync-ok");
  CHECK(world.panel->pixmaps().size() == 5);
}

TEST_CASE("tray desktop: a panel that starts later, or crashes and comes back, gets the icon") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.panel.reset();
  world.start_agent();
  world.start_tray();
  world.panel = std::make_unique<Panel>(world.bus);
  for (int i = 0; i < 2; ++i) {
    world.until("the icon is registered", [&] { return !world.panel->registered.empty(); });
    world.until("it shows the state", [&] { return world.panel->line() == kAllIsWell; });
    CHECK(world.panel->registered.size() == 1);
    world.panel.reset();
    world.panel = std::make_unique<Panel>(world.bus);
  }
}

TEST_CASE("tray desktop: the menu's entries, also one by one") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  const auto menu = world.panel->menu();
  REQUIRE(menu.size() == 8);
  CHECK(menu.at(id_of(MenuItem::state_line)).label == kAllIsWell);
  CHECK_FALSE(menu.at(id_of(MenuItem::state_line)).enabled);
  CHECK(menu.at(id_of(MenuItem::separator_before_actions)).type == "separator");
  CHECK(menu.at(id_of(MenuItem::back_up_now)).label == "Back up now");
  CHECK(menu.at(id_of(MenuItem::pause)).label == "Pause for 1 hour");
  CHECK(menu.at(id_of(MenuItem::resume)).label == "Resume");
  CHECK_FALSE(menu.at(id_of(MenuItem::resume)).visible);
  CHECK(menu.at(id_of(MenuItem::show_status)).label == "Show status");
  CHECK(menu.at(id_of(MenuItem::about)).label == "About");
  const auto one = world.panel->labels_of(id_of(MenuItem::about));
  REQUIRE(one.size() == 2);
  CHECK(one.contains(0));
  CHECK(one.at(id_of(MenuItem::about)).label == "About");
}

TEST_CASE("tray desktop: pause and resume reach the agent, and the icon follows what it says") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  world.panel->signals.clear();
  world.panel->click(id_of(MenuItem::pause));
  world.until("pause is asked", [&] { return world.agent->calls("pause") == 1; });
  CHECK(world.agent->params("pause") == Json{{"for_ms", 3'600'000}});
  world.notified("tillsync pauses");
  world.agent->say(state_of("paused"));
  world.until("the panel hears of it", [&] {
    return world.panel->heard("NewIcon") && world.panel->heard("NewToolTip") && world.panel->heard("NewStatus") &&
           world.panel->heard("ItemsPropertiesUpdated") && world.panel->heard("LayoutUpdated");
  });
  CHECK(world.panel->line() == "Paused until you resume");
  CHECK_FALSE(world.panel->menu()[id_of(MenuItem::pause)].visible);
  CHECK_FALSE(world.panel->menu()[id_of(MenuItem::back_up_now)].enabled);
  world.panel->click_in_group(id_of(MenuItem::resume));
  world.until("resume is asked", [&] { return world.agent->calls("resume") == 1; });
  world.notified("tillsync goes on");
  world.agent->say(state_of("ok"));
  world.until("all is well", [&] { return world.panel->line() == kAllIsWell; });
}

TEST_CASE("tray desktop: back up now, by either kind of panel, until it is done") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  for (int i = 0; i < 2; ++i) {
    const size_t before = world.agent->calls("workflow.wait");
    const int id = id_of(MenuItem::back_up_now);
    world.notifications->shown.clear();
    if (i == 0)
      world.panel->click(id);
    else
      world.panel->click_in_group(id);
    const uint32_t number = world.notified("Backup begun").number;
    world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == before + 1; });
    CHECK(world.agent->params("backup") == Json{{"database", "pos"}});
    CHECK(world.agent->params("workflow.wait") == Json{{"uuid", "workflow-1"}});
    world.agent->progress(40);
    world.until("the menu says how far it is", [&] { return world.panel->label(id) == "Backing up… 40 %"; });
    CHECK_FALSE(world.panel->menu()[id].enabled);
    world.agent->end_workflow(Json{{"status", "COMPLETED"}, {"result", Json::object()}});
    const auto done = world.notified("Backup done");
    CHECK(done.replaces == number);
    CHECK(contains(done.body, "Everything that was sold until "));
    CHECK(done.has_image);
    world.until("the menu offers it again", [&] { return world.panel->menu()[id].enabled; });
    CHECK(world.panel->label(id) == "Back up now");
  }
}

TEST_CASE("tray desktop: progress is shown as a bar, and not again after the person closed it") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  world.panel->click(id_of(MenuItem::back_up_now));
  const uint32_t number = world.notified("Backup begun").number;
  world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == 1; });
  int percent = 0;
  // At most one every two seconds is shown.
  world.until("a bar is shown", [&] {
    if (percent < 60) world.agent->progress(++percent);
    std::this_thread::sleep_for(100ms);
    return world.notifications->has("Backing up");
  });
  const auto bar = world.notified("Backing up");
  CHECK(bar.replaces == number);
  CHECK(bar.percent > 0);
  CHECK(bar.urgency == 0);
  world.notifications->close(number);
  const size_t shown = world.notifications->shown.size();
  const auto end = std::chrono::steady_clock::now() + 2500ms;
  while (std::chrono::steady_clock::now() < end) {
    world.agent->progress(++percent);
    world.until("a moment", [] { return true; });
    std::this_thread::sleep_for(100ms);
  }
  world.until("the last percent", [&] {
    return world.panel->label(id_of(MenuItem::back_up_now)) ==
           "Backing up… " + std::to_string(std::min(percent, 100)) + " %";
  });
  CHECK(world.notifications->shown.size() == shown);
  world.agent->end_workflow(Json{{"status", "COMPLETED"}});
  CHECK(world.notified("Backup done").replaces == 0);
}

TEST_CASE("tray desktop: a backup that fails says so, with the reason as it is") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  bool reads_markup = true;
  SUBCASE("where bodies are markup") {}
  SUBCASE("where bodies are plain") { reads_markup = false; }
  world.notifications.reset();
  world.notifications = std::make_unique<NotificationDaemon>(world.bus, reads_markup);
  world.start_with_agent();
  world.panel->click(id_of(MenuItem::back_up_now));
  world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == 1; });
  world.agent->end_workflow(
      Json{{"status", "FAILED"}, {"error", {{"kind", "offline"}, {"message", "<s3> & \"co\" is away"}}}});
  const auto failed = world.notified("Backup failed");
  CHECK(contains(failed.body, "can't be reached"));
  CHECK(contains(failed.body, reads_markup ? "&lt;s3&gt; &amp; \"co\" is away" : "<s3> & \"co\" is away"));
}

TEST_CASE("tray desktop: an agent that stops and starts again") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_tray();  // before it, and before the folder of its socket
  CHECK(world.panel->line() == "tillsync is not running, new sales are not backed up");
  CHECK_FALSE(world.panel->menu()[id_of(MenuItem::back_up_now)].enabled);
  for (int i = 0; i < 3; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    world.start_agent();
    world.until("all is well", [&] { return world.panel->line() == kAllIsWell; });
    // It hears of the socket: it looks by itself only every 30 seconds, after the first few.
    if (i > 0) CHECK(std::chrono::steady_clock::now() - begun < 15s);
    world.agent.reset();
    world.until("no agent", [&] { return contains(world.panel->line(), "is not running"); });
    CHECK(world.panel->pixmaps()[0].bytes == [] {
      std::vector<uint8_t> bytes;
      for (const Pixel& pixel : icon_image(TrayIcon::no_agent, 16).pixels)
        bytes.insert(bytes.end(), {pixel.alpha, pixel.red, pixel.green, pixel.blue});
      return bytes;
    }());
    if (i == 1) std::filesystem::remove_all(world.folder / "run");  // as systemd does
  }
}

TEST_CASE("tray desktop: a backup is waited for over a restart of the agent") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  world.panel->click(id_of(MenuItem::back_up_now));
  world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == 1; });
  world.agent.reset();
  world.until("no agent", [&] { return contains(world.panel->line(), "is not running"); });
  world.start_agent();
  world.until("it is waited for again", [&] { return world.agent->calls("workflow.wait") == 1; });
  CHECK(world.agent->calls("backup") == 0);
  world.agent->end_workflow(Json{{"status", "COMPLETED"}});
  world.notified("Backup done");
  CHECK_FALSE(world.notifications->has("Backup failed"));
}

TEST_CASE("tray desktop: what needs attention is told, and a click on the icon says what to do") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  Json state = state_of("attention");
  state["problems"] = {
      Json{{"code", "store"}, {"severity", "problem"}, {"text", "the store is away"}, {"remedy", "look at the plug"}}};
  world.agent->say(state);
  const auto told = world.notified("tillsync needs attention");
  CHECK(told.body == "the store is away\nWhat to do: look at the plug");
  CHECK(world.panel->text("Status") == "NeedsAttention");
  CHECK(world.panel->pixmaps("AttentionIconPixmap").size() == 5);
  CHECK(world.panel->tooltip() ==
        std::pair(std::string("the store is away"), std::string("What to do: look at the plug")));
  world.notifications->shown.clear();
  world.panel->left_click();
  const auto status = world.notified("tillsync needs attention");
  CHECK(status.timeout == 0);  // it stays
  CHECK(contains(status.body, "look at the plug"));
  world.panel->click(id_of(MenuItem::about));
  world.notified(std::string("tillsync ") + TILLSYNC_VERSION);
}

TEST_CASE("tray desktop: a German operator reads German") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.language = "de_DE.UTF-8";
  world.start_with_agent();
  CHECK(world.panel->line() == "Letzte Sicherung vor 3 Minuten, alle Verkäufe sicher");
  const auto menu = world.panel->menu();
  CHECK(menu.at(id_of(MenuItem::back_up_now)).label == "Jetzt sichern");
  CHECK(menu.at(id_of(MenuItem::pause)).label == "1 Stunde pausieren");
  CHECK(menu.at(id_of(MenuItem::show_status)).label == "Status anzeigen");
  world.panel->click(id_of(MenuItem::back_up_now));
  world.notified("Sicherung begonnen");
  world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == 1; });
  world.agent->end_workflow(Json{{"status", "COMPLETED"}});
  CHECK(contains(world.notified("Sicherung fertig").body, "verkauft wurde"));
}

TEST_CASE("tray desktop: an operator whom the agent does not let in is told whom to ask") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  RefusingAgent agent(world.socket, encode_error(Json(nullptr), Error{ErrorKind::denied, 0, "not for you"}));
  world.start_tray();
  world.until("it says so", [&] { return contains(world.panel->line(), "may not ask"); });
  CHECK(contains(world.panel->tooltip().second, "add you to the group tillsync"));
  CHECK(world.panel->text("Status") == "NeedsAttention");
}

TEST_CASE("tray desktop: what answers on the socket and is no agent does not harm") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  RefusingAgent agent(world.socket, "HTTP/1.1 400 Bad Request\n{}\n");
  world.start_tray();
  CHECK(contains(world.panel->line(), "is not running"));
  CHECK(world.tray.is_running());
}

TEST_CASE("tray desktop: without a notification daemon everything else works") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.notifications.reset();
  world.start_with_agent();
  world.panel->click(id_of(MenuItem::back_up_now));
  world.until("the workflow is waited for", [&] { return world.agent->calls("workflow.wait") == 1; });
  world.agent->end_workflow(Json{{"status", "COMPLETED"}});
  world.until("it is over", [&] { return world.panel->menu()[id_of(MenuItem::back_up_now)].enabled; });
  world.notifications = std::make_unique<NotificationDaemon>(world.bus);  // one that comes later
  world.panel->click(id_of(MenuItem::about));
  world.notified(std::string("tillsync ") + TILLSYNC_VERSION);
  CHECK(world.notifications->shown.size() == 1);
}

TEST_CASE("tray desktop: one in a session, and the second goes quietly") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  ChildProcess second = world.run({"--control", world.socket}, world.folder / "second.log");
  CHECK(world.exit_status(second) == 0);
  CHECK(contains(TrayWorld::text_of(world.folder / "second.log"), "runs in this session already"));
  CHECK(world.tray.is_running());
}

TEST_CASE("tray desktop: it ends with its session, and when it is told to") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_with_agent();
  SUBCASE("the bus goes") { world.bus.kill(); }
  SUBCASE("SIGTERM") { world.tray.signal(SIGTERM); }
  SUBCASE("SIGINT") { world.tray.signal(SIGINT); }
  CHECK(world.exit_status(world.tray) == 0);
}

TEST_CASE("tray desktop: the configuration says where the agent is") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  world.start_agent();
  std::ofstream(world.folder / "tillsync.toml")
      << "[terminal]\nname = \"till\"\ncontrol = \"" << world.socket << "\"\n";
  world.tray = world.run({"--config", world.folder / "tillsync.toml"}, world.log);
  world.until("it found the agent",
              [&] { return !world.panel->registered.empty() && world.panel->line() == kAllIsWell; });
}

TEST_CASE("tray desktop: the command line") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  const auto ran = [&](const std::vector<std::string>& words, int status, const std::string& says) {
    const std::string output = world.folder / words[0];
    ChildProcess process = world.run(words, output);
    CHECK(world.exit_status(process) == status);
    INFO(TrayWorld::text_of(output));
    CHECK(contains(TrayWorld::text_of(output), says));
  };
  ran({"--version"}, 0, std::string("tillsync-tray ") + TILLSYNC_VERSION);
  ran({"--help"}, 0, "--control");
  ran({"--nonsense"}, 2, "--nonsense");
  ran({"--config", world.folder / "none.toml"}, 2, "none.toml");
  world.bus.kill();
  ran({"--control", world.socket}, 1, "session bus");
}

TEST_CASE("tray desktop: nothing to do wakes it up only as an age changes") {
  TILLSYNC_NEEDS_SESSION_BUS();
  TrayWorld world;
  std::string how = "with an agent";
  SUBCASE("with an agent") { world.start_with_agent(); }
  SUBCASE("without one") {
    how = "without an agent";
    world.start_tray();
    CHECK_FALSE(world.panel->menu()[id_of(MenuItem::pause)].enabled);
  }
  // The first attempts to meet an agent come soon, then ever more rarely; each wakes it up a few times.
  constexpr int kOneAttempt = 5;
  int64_t before = -1;
  world.until("it is quiet", [&] {
    const int64_t seen = switches(world.tray.pid());
    std::this_thread::sleep_for(3s);
    before = switches(world.tray.pid());
    return before - seen <= kOneAttempt;
  });
  std::this_thread::sleep_for(3s);
  const int64_t woken = switches(world.tray.pid()) - before;
  MESSAGE(how << ": woken " << woken << " times in 3 s, " << memory_kib(world.tray.pid(), "RssAnon")
              << " KiB of its own");
  CHECK(woken <= kOneAttempt);
}

TEST_SUITE_END();
