// What the agent costs and how soon it has a sale: the agent itself, as it is installed, in a process of its own.
//
//   agent_bench [latency|cpu|memory|start|waits]... [--seconds S] [--minutes M] [--sizes MB,MB] [--rounds N]
//
//   latency   from a sale's commit to its actions in state.db, at 50 sales/s
//   cpu       of all threads, at 5 sales/s, and idle; and how often they wake
//   memory    following databases of each of the sizes: after the first copy, and after 1,000 sales
//   start     from the start of the process to capturing, on an unchanged database, after SIGTERM and after SIGKILL
//   waits     the longest wait of a writer at 5 sales/s, beside a writer that nobody follows; synchronous=OFF, so that
//             the disk's syncs are apart
// Nothing named: all of them, briefly.
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <set>

#include "integration/world.h"
#include "support/process_figures.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Json said(const std::string& path) {
  std::ifstream in(path);
  return Json::parse(in);
}

// A shop with a first sale; with_agent: captured.
struct Shop : World {
  explicit Shop(bool with_agent = true) : World("", "1s") {
    start_shop({"--sales", "1"});
    wait_for_shop();
    std::filesystem::remove(folder / "shop.log");
    if (!with_agent) return;
    start_agent();
    flush();
  }
};

void latency(double seconds) {
  Shop shop;
  const auto first = shop.database()["transaction"].get<int64_t>();
  const std::string times = shop.folder / "times";
  shop.start_shop(
      {"--rate", "50", "--seconds", std::to_string(seconds), "--synchronous", "FULL", "--commit-times", times});
  // The status says what is committed to state.db; asking takes a moment, which counts as latency.
  std::vector<std::pair<int64_t, Clock::time_point>> seen;
  auto client = must(ControlClient::connect(shop.socket));
  int64_t last = first;
  auto ask = [&] {
    const auto transaction = must(client.call("status"))["databases"][0]["transaction"].get<int64_t>();
    if (transaction > last) seen.emplace_back(last = transaction, Clock::now());
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  };
  while (shop.shop.is_running()) ask();
  for (auto end = Clock::now() + std::chrono::seconds(1); Clock::now() < end;) ask();
  shop.wait_for_shop();
  std::ifstream in(times);
  std::vector<double> all;
  int64_t sale = 0, nanoseconds = 0;
  size_t at = 0;
  while (in >> sale >> nanoseconds) {
    // The first sale was in the baseline; each one after it is a transaction.
    while (at < seen.size() && seen[at].first < first + sale - 1) at++;
    if (at == seen.size()) throw std::logic_error("a sale was never captured");
    const Clock::time_point committed{std::chrono::nanoseconds(nanoseconds)};
    all.push_back(std::chrono::duration<double, std::milli>(seen[at].second - committed).count());
  }
  if (last != first + static_cast<int64_t>(all.size())) throw std::logic_error("transactions are not sales");
  std::printf("latency: commit to state.db at 50 sales/s, %zu sales: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
              all.size(), quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1));
  shop.stop_agent();
}

void cpu(double seconds) {
  Shop shop;
  const pid_t agent = shop.agent.pid();
  auto measure = [&](const char* what, auto until_over) {
    const double before = cpu_seconds(agent), ticks = cpu_seconds_in_ticks(agent);
    const uint64_t woken = wake_ups(agent);
    const auto start = Clock::now();
    until_over();
    const double took = ms_since(start) / 1000;
    std::printf("cpu: %s, %.0f s: %.3f %% of a core (%.2f %% by ticks), %.2f wake-ups/s, VmRSS %.1f MiB\n", what, took,
                100 * (cpu_seconds(agent) - before) / took, 100 * (cpu_seconds_in_ticks(agent) - ticks) / took,
                static_cast<double>(wake_ups(agent) - woken) / took, memory_kib(agent, "VmRSS") / 1024);
  };
  measure("5 sales/s", [&] {
    shop.start_shop({"--rate", "5", "--seconds", std::to_string(seconds)});
    shop.wait_for_shop();
  });
  shop.until("the agent let go", [&] { return shop.database()["mode"] == "idle"; });
  measure("idle", [&] { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); });
  shop.stop_agent();
}

// A shop with a history of so many MB, which nothing compresses.
void fill(World& world, int64_t megabytes) {
  auto db = world.application();
  must(db.execute(
      "PRAGMA busy_timeout=60000; PRAGMA synchronous=OFF; CREATE TABLE history(id INTEGER PRIMARY KEY, body)"));
  auto insert =
      must(db.prepare("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<5000) INSERT INTO "
                      "history(body) SELECT randomblob(170) FROM g"));
  while (must(db.query_integer("PRAGMA page_count")) * 4096 < megabytes * 1000000) must(insert.run());
  insert = {};
  must(db.execute("PRAGMA wal_checkpoint(TRUNCATE)"));
}

void memory(const std::vector<int64_t>& sizes) {
  for (int64_t size : sizes) {
    Shop shop(false);
    fill(shop, size);
    shop.start_agent();
    shop.flush();
    const pid_t agent = shop.agent.pid();
    auto tell = [&](const char* when) {
      std::printf("memory: %ld MB, %s: VmHWM %.1f MiB, VmRSS %.1f MiB (anonymous %.1f MiB)\n", static_cast<long>(size),
                  when, memory_kib(agent, "VmHWM") / 1024, memory_kib(agent, "VmRSS") / 1024,
                  memory_kib(agent, "RssAnon") / 1024);
      std::fflush(stdout);
    };
    tell("first copy made");
    shop.start_shop({"--sales", "1000", "--rate", "100"});
    shop.wait_for_shop();
    shop.flush();
    tell("1,000 sales later");
    shop.stop_agent();
  }
}

// Until the agent says that it captures.
double start_once(World& world) {
  const auto start = Clock::now();
  world.agent = must(ChildProcess::start({world.bin + "/tillsyncd", "--config", world.config}, world.agent_log));
  while (true) {
    if (auto client = ControlClient::connect(world.socket)) {
      auto status = client->call("status");
      if (status) {
        const std::string mode = (*status)["databases"][0]["mode"];
        if (mode == "wal" || mode == "idle") return ms_since(start);
      }
    }
    if (ms_since(start) > 60000) throw std::logic_error("the agent does not capture: " + world.log_text());
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

void start(int64_t size, int rounds) {
  Shop shop(false);
  fill(shop, size);
  shop.start_agent();
  shop.flush();
  for (const bool clean : {true, false}) {
    std::vector<double> all;
    for (int i = 0; i < rounds; i++) {
      // Something to come back to: a sale that was captured.
      shop.start_shop({"--sales", "1"});
      shop.wait_for_shop();
      shop.flush();
      const auto catch_ups = shop.database()["catch_ups"];
      if (clean)
        shop.stop_agent();
      else
        shop.kill_agent();
      all.push_back(start_once(shop));
      if (shop.database()["catch_ups"] != 0)
        std::printf("start: a scan was needed (%s before)\n", catch_ups.dump().c_str());
    }
    std::printf("start: %ld MB unchanged, after %s, %d times: median %.0f ms, %.0f to %.0f\n", static_cast<long>(size),
                clean ? "SIGTERM" : "SIGKILL", rounds, median(all), quantile(all, 0), quantile(all, 1));
  }
  shop.stop_agent();
}

void waits(double minutes) {
  Shop followed, alone(false);
  for (World* world : {static_cast<World*>(&followed), static_cast<World*>(&alone)})
    world->start_shop({"--rate", "5", "--seconds", std::to_string(minutes * 60), "--synchronous", "OFF"});
  for (World* world : {static_cast<World*>(&followed), static_cast<World*>(&alone)})
    CHECK(must(world->shop.wait(std::chrono::hours(3), [] { return false; })) == 0);
  auto of = [](World& world) { return said(world.folder / "shop.log"); };
  Json mine = of(followed), other = of(alone), status = followed.database();
  std::printf(
      "waits: 5 sales/s for %.1f minutes, synchronous=OFF: longest sale %.1f ms followed, %.1f ms alone; p99.9 %.2f "
      "and %.2f ms, p99 %.2f and %.2f ms; waits for a lock %ld and %ld; under our lock %.2f ms at most, %.2f in all\n",
      minutes, mine["max_us"].get<double>() / 1000, other["max_us"].get<double>() / 1000,
      mine["p999_us"].get<double>() / 1000, other["p999_us"].get<double>() / 1000, mine["p99_us"].get<double>() / 1000,
      other["p99_us"].get<double>() / 1000, mine["busy_waits"].get<long>(), other["busy_waits"].get<long>(),
      status["pos_blocked_ms_max"].get<double>(), status["pos_blocked_ms"].get<double>());
  followed.stop_agent();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> what;
  std::vector<int64_t> sizes{50, 200};
  double seconds = 10, minutes = 0.5;
  int rounds = 5;
  CLI::App app{"what the agent costs and how soon it has a sale"};
  app.add_option("what", what)->check(CLI::IsMember({"latency", "cpu", "memory", "start", "waits"}));
  app.add_option("--seconds", seconds)->check(CLI::Range(1.0, 3600.0));
  app.add_option("--minutes", minutes)->check(CLI::Range(0.1, 120.0));
  app.add_option("--sizes", sizes, "MB, of memory; start takes the last")->delimiter(',');
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  if (what.empty()) what = {"latency", "cpu", "memory", "start", "waits"};
  for (auto& one : what) {
    if (one == "latency") latency(seconds);
    if (one == "cpu") cpu(seconds);
    if (one == "memory") memory(sizes);
    if (one == "start") start(sizes.back(), rounds);
    if (one == "waits") waits(minutes);
    std::fflush(stdout);
  }
}
