// What the agent tells the service manager that started it, as systemd listens to it.
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "integration/world.h"
#include "platform/linux/systemd_notifier_linux.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// The manager's end of the socket.
class Manager {
 public:
  explicit Manager(const std::string& address) {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    REQUIRE(address.size() < sizeof at.sun_path);
    std::copy(address.begin(), address.end(), at.sun_path);
    if (address[0] == '@') at.sun_path[0] = '\0';
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&at),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size())) == 0);
    ::setenv("NOTIFY_SOCKET", address.c_str(), 1);
  }
  ~Manager() {
    ::close(socket_);
    ::unsetenv("NOTIFY_SOCKET");
  }
  // The next message; empty when none comes within 30 seconds.
  std::string next(int wait_ms = 30'000) {
    pollfd readable{socket_, POLLIN, 0};
    if (::poll(&readable, 1, wait_ms) <= 0) return "";
    char bytes[4096];
    const auto n = ::recv(socket_, bytes, sizeof bytes, 0);
    return std::string(bytes, n > 0 ? static_cast<size_t>(n) : 0);
  }
  std::string next_with(const std::string& what) {
    for (std::string message = next(); !message.empty(); message = next())
      if (contains(message, what)) return message;
    FAIL("never told: " << what);
    return "";
  }

 private:
  int socket_;
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("service: systemd is told in its own words, through a file or an abstract name") {
  TemporaryDirectory folder;
  for (const std::string& address : {folder / "notify", std::string("@tillsync-test-") + folder.path()}) {
    Manager manager(address);
    SystemdNotifier notifier;
    notifier.ready("one\nREADY=0");
    CHECK(manager.next() == "READY=1\nSTATUS=one READY=0\n");
    notifier.status("two");
    CHECK(manager.next() == "STATUS=two\n");
    notifier.reloading();
    CHECK(manager.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    notifier.alive();
    CHECK(manager.next() == "WATCHDOG=1\n");
    notifier.stopping();
    CHECK(manager.next().starts_with("STOPPING=1\nSTATUS="));
    CHECK(notifier.patience() == std::chrono::milliseconds(0));
  }
  Manager watching(folder / "watching");
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  CHECK(SystemdNotifier().patience() == std::chrono::seconds(3));
  ::setenv("WATCHDOG_PID", "1", 1);
  CHECK(SystemdNotifier().patience() == std::chrono::milliseconds(0));
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  CHECK(SystemdNotifier().patience() == std::chrono::seconds(3));
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
  // Nobody there, or nobody reads: nothing happens.
  SystemdNotifier alone;
  alone.ready("x");
  ::setenv("NOTIFY_SOCKET", (folder / "nobody").c_str(), 1);
  SystemdNotifier unheard;
  unheard.ready("x");
  Manager deaf(folder / "deaf");
  SystemdNotifier busy;
  for (int i = 0; i < 10'000; i++) busy.alive();
}

TEST_CASE("service: an agent says when it is ready, how the sales are, that it is alive, reloads and stops") {
  World world;
  Manager manager(world.folder / "notify");
  ::setenv("WATCHDOG_USEC", "300000", 1);
  auto app = world.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
  world.start_agent();
  ::unsetenv("WATCHDOG_USEC");
  const std::string ready = manager.next_with("READY=1");
  CHECK(contains(ready, "STATUS="));
  // Control answers by then.
  CHECK(world.call("store.info").contains("terminal_id"));
  for (int i = 0; i < 3; i++) manager.next_with("WATCHDOG=1");
  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  world.flush();
  if (!contains(ready, "in the store")) manager.next_with("everything that was captured is in the store");
  world.agent.signal(SIGHUP);
  manager.next_with("RELOADING=1");
  manager.next_with("READY=1");
  // The store goes away, and sales wait.
  std::filesystem::rename(world.store, world.store + ".away");
  std::ofstream(world.store) << "no folder";
  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  const std::string away = manager.next_with("can't be reached");
  CHECK(contains(away, "changes wait"));
  std::filesystem::remove(world.store);
  std::filesystem::rename(world.store + ".away", world.store);
  manager.next_with("everything that was captured is in the store");
  world.agent.signal(SIGTERM);
  manager.next_with("STOPPING=1");
  CHECK(must(world.agent.wait(std::chrono::seconds(30), [] { return false; })) == 0);
}

// One thread of the agent is stopped, as a debugger does it: the loop turns, and control answers.
TEST_CASE("service: an agent whose capture hangs does not say that it is alive") {
  World world;
  Manager manager(world.folder / "notify");
  ::setenv("WATCHDOG_USEC", "300000", 1);
  auto app = world.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
  world.start_agent();
  ::unsetenv("WATCHDOG_USEC");
  manager.next_with("WATCHDOG=1");
  pid_t capture = 0;
  for (auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(world.agent.pid()) + "/task")) {
    std::ifstream name(task.path() / "comm");
    std::string text;
    std::getline(name, text);
    if (text == "capture pos") capture = std::stoi(task.path().filename());
  }
  REQUIRE(capture != 0);
  REQUIRE(::ptrace(PTRACE_SEIZE, capture, nullptr, nullptr) == 0);
  REQUIRE(::ptrace(PTRACE_INTERRUPT, capture, nullptr, nullptr) == 0);
  REQUIRE(::waitpid(capture, nullptr, __WALL) == capture);
  // It waits for an event, which may take a minute; with one that it does not answer it hangs.
  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  std::this_thread::yield();
  const std::string hangs = manager.next_with("hangs");
  CHECK(contains(hangs, "capture of pos"));
  CHECK(manager.next(1500).empty());
  CHECK(world.call("store.info").contains("terminal_id"));
  REQUIRE(::ptrace(PTRACE_DETACH, capture, nullptr, nullptr) == 0);
  manager.next_with("WATCHDOG=1");
  world.flush();
  world.stop_agent();
}

TEST_SUITE_END();
