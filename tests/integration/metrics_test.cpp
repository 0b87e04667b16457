// Metrics as a scraper gets them: over a port, a socket and a file.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <set>

#include "integration/world.h"
#include "version.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

class Socket {
 public:
  explicit Socket(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }
  explicit Socket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), at.sun_path);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  void send(const std::string& text) { (void)!::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  std::string rest() {
    std::string all;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(fd_, bytes, sizeof bytes, 0)) > 0;) all.append(bytes, static_cast<size_t>(n));
    return all;
  }

 private:
  int fd_;
};

std::string get(Socket&& socket, const std::string& target = "/metrics") {
  socket.send("GET " + target + " HTTP/1.1\r\nHost: till\r\n\r\n");
  return socket.rest();
}

// The page as a scraper reads it: a value for each series; fails on what breaks the format.
std::map<std::string, double> series(const std::string& page) {
  std::map<std::string, double> all;
  std::set<std::string> seen;
  std::string metric, type;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.starts_with("# HELP ")) {
      metric = line.substr(7, line.find(' ', 7) - 7);
      CHECK(seen.insert(metric).second);
      CHECK(line.ends_with('.'));
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      CHECK(line.starts_with("# TYPE " + metric + " "));
      type = line.substr(8 + metric.size());
      CHECK((type == "gauge" || type == "counter"));
      CHECK((type == "counter") == metric.ends_with("_total"));
      continue;
    }
    const auto end = line.rfind(' ');
    REQUIRE(end != line.npos);
    const std::string name = line.substr(0, end);
    CHECK(name.substr(0, name.find('{')) == metric);
    CHECK((name.find('{') == name.npos || name.ends_with('}')));
    size_t used = 0;
    const double value = std::stod(line.substr(end + 1), &used);
    CHECK(used == line.size() - end - 1);
    CHECK(all.emplace(name, value).second);
  }
  return all;
}

std::string body_of(const std::string& answer) {
  const auto at = answer.find("\r\n\r\n");
  REQUIRE(at != answer.npos);
  return answer.substr(at + 4);
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("metrics: a port, a socket and a file say how far the sales are, in Prometheus' words") {
  World world;
  const std::string file = world.folder / "tillsync.prom";
  world.write_config("[metrics]\nlisten = \"127.0.0.1:0\"\ntextfile = \"" + file + "\"\n");
  auto app = world.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY); INSERT INTO sale VALUES(1)"));
  world.start_agent();
  world.flush();  // from here on each row is an action
  for (int i = 0; i < 10; i++) must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  world.flush();
  world.back_up("full");
  const std::string told = "metrics on 127.0.0.1:";
  world.until("the port is said", [&] { return contains(world.log_text(), told); });
  const std::string log = world.log_text();
  const int port = std::atoi(log.c_str() + log.find(told) + told.size());
  const std::string answer = get(Socket(port));
  CHECK(answer.starts_with("HTTP/1.1 200 "));
  CHECK(contains(answer, "Content-Type: text/plain; version=0.0.4"));
  auto now = series(body_of(answer));
  CHECK(now.at("tillsync_captured_sequence{database=\"pos\"}") == 10);
  CHECK(now.at("tillsync_durable_sequence{database=\"pos\"}") == 10);
  CHECK(now.at("tillsync_lag_seconds{database=\"pos\"}") == 0);
  CHECK(now.at("tillsync_capture_up{database=\"pos\"}") == 1);
  CHECK(now.at("tillsync_store_requests_total{operation=\"put\"}") >= 3);
  CHECK(now.at("tillsync_store_errors_total{class=\"network\"}") == 0);
  CHECK(now.at("tillsync_store_sent_bytes_total") > 1000);
  CHECK(now.at("tillsync_paused") == 0);
  CHECK(now.at("tillsync_problems{severity=\"problem\"}") == 0);
  CHECK(now.at("tillsync_problems{severity=\"advice\"}") == 1);  // no recovery key
  CHECK(now.at("process_resident_memory_bytes") > 4e6);
  CHECK(now.at("process_open_fds") > 5);
  const double wall = static_cast<double>(std::time(nullptr));
  CHECK(std::abs(now.at("process_start_time_seconds") - wall) < 600);
  CHECK(std::abs(now.at("tillsync_snapshot_timestamp_seconds{type=\"full\"}") - wall) < 600);
  world.call("pause");
  CHECK(series(body_of(get(Socket(port)))).at("tillsync_paused") == 1);
  CHECK(series(body_of(get(Socket(port)))).at("tillsync_capture_up{database=\"pos\"}") == 0);
  world.call("resume");
  // Others than a scraper.
  CHECK(get(Socket(port), "/").starts_with("HTTP/1.1 404 "));
  Socket post(port);
  post.send("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  CHECK(post.rest().starts_with("HTTP/1.1 405 "));
  Socket large(port);
  large.send("GET /metrics HTTP/1.1\r\nX: " + std::string(1 << 20, 'x'));
  CHECK(large.rest().empty());
  {
    std::vector<std::unique_ptr<Socket>> silent;
    for (int i = 0; i < 8; i++) silent.push_back(std::make_unique<Socket>(port));
    for (auto& one : silent) one->send("GET /met");
    world.until("one too many is let go", [&] { return get(Socket(port)).empty(); });
    CHECK(world.call("store.info").contains("terminal_id"));
  }
  world.until("there is room again", [&] { return get(Socket(port)).starts_with("HTTP/1.1 200 "); });
  // The file is whole whenever it is read.
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  CHECK(series(text.str()).contains("tillsync_captured_sequence{database=\"pos\"}"));
  world.stop_agent();
}

TEST_CASE("metrics: a Unix socket, and where nothing can listen the agent says so and keeps the sales") {
  World world;
  const std::string path = world.folder / "metrics.sock";
  world.write_config("[metrics]\nlisten = \"unix:" + path + "\"\n");
  auto app = world.application();
  must(app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
  world.start_agent();
  world.until("it listens", [&] { return std::filesystem::exists(path); });
  CHECK(series(body_of(get(Socket(path))))
            .contains("tillsync_build_info{version=\"" TILLSYNC_VERSION "\",terminal=\"" + world.terminal().str() +
                      "\",name=\"store-1/till-1\"}"));
  world.stop_agent();
  CHECK(!std::filesystem::exists(path));
  std::ofstream(path) << "no socket";
  world.start_agent();
  world.flush();
  must(app.execute("INSERT INTO sale DEFAULT VALUES"));
  CHECK(world.flush()["durable_sequence"] == 1);
  world.until("the problem is shown", [&] {
    const Json status = world.call("status");
    for (auto& problem : status["problems"])
      if (problem["code"] == "metrics") return problem["severity"] == "advice";
    return false;
  });
  world.stop_agent();
}

TEST_SUITE_END();
