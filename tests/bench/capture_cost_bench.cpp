// What the till pays for being followed: sales a second of a writer at full speed, and the latency of single sales.
//
//   capture_cost_bench [--pairs N] [--seconds S] [--rate SALES_PER_SECOND] [--sides SIDE,SIDE,…] [--json]
//
// Runs in turn, each in a folder of its own (TMPDIR): the till alone, then each side; the ratios to the run alone, and
// their medians. The writer is a process of its own (pos_writer), and so is the agent. Without --rate it sells as fast
// as it can (synchronous=NORMAL); with --rate at that pace (synchronous=FULL). Sides:
//
//   followed          with the agent
//   followed:N        the same, all its threads at nice N
//   undo, json, full  a capture by triggers in its place (undo log, JSON, full images)
//   every:N           alone, with its automatic checkpoint after N frames (the application's own is 1,000; 0: never)
//   beside:N          alone, beside N threads that only use up a core, as an agent might
//
// Of each run also, for a sale: microseconds on a core, ready to run without one, and waiting (disk, locks); how often
// the log was begun anew, and its file at the end.
#define DOCTEST_CONFIG_IMPLEMENT
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <thread>

#include "base/bytes.h"
#include "base/json.h"
#include "integration/world.h"
#include "support/process_figures.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;

struct Run {
  double sales_per_second = 0, p99_us = 0, blocked_ms = 0;
  double cpu_us = 0, core_wait_us = 0, wait_us = 0;  // of one sale
  double agent_cpu = 0;                              // cores
  int64_t restarts = 0;                              // -1: not known, the log was emptied meanwhile
  double log_mib = 0;
  int catch_ups = 0;
};

// Uses up cores until it is ended.
class BusyThreads {
 public:
  explicit BusyThreads(int count) {
    for (int i = 0; i < count; i++)
      threads_.emplace_back([this] {
        while (!end_) work_++;
      });
  }
  ~BusyThreads() {
    end_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> end_ = false;
  std::atomic<uint64_t> work_ = 0;
  std::vector<std::thread> threads_;
};

void be_nice(pid_t pid, int nice) {
  for (auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
    REQUIRE(::setpriority(PRIO_PROCESS, static_cast<id_t>(std::stoi(task.path().filename())), nice) == 0);
}

// Goes up by one with each new begin of the log.
uint32_t first_salt(const World& world) {
  std::ifstream in(world.db + "-wal", std::ios::binary);
  uint8_t header[20] = {};
  in.read(reinterpret_cast<char*>(header), sizeof header);
  return be32(header + 16);
}

Run sell(double seconds, double rate, const std::string& side) {
  World world("", "1s");  // as the default is
  world.start_shop({"--sales", "200"});
  world.wait_for_shop();
  const bool followed = side.starts_with("followed");
  const auto number = [&] { return side.substr(side.find(':') + 1); };
  std::vector<std::string> options{"--seconds", std::to_string(seconds), "--synchronous", rate > 0 ? "FULL" : "NORMAL"};
  if (rate > 0) options.insert(options.end(), {"--rate", std::to_string(rate)});
  std::optional<BusyThreads> busy;
  if (followed) {
    world.start_agent();
    world.flush();
    if (side != "followed") be_nice(world.agent.pid(), std::stoi(number()));
  } else if (side.starts_with("every:")) {
    options.insert(options.end(), {"--autocheckpoint", number()});
  } else if (side.starts_with("beside:")) {
    busy.emplace(std::stoi(number()));
  } else if (side != "alone") {
    world.start_shop({"--triggers", side});
    world.wait_for_shop();
  }
  // Keeps the log in its place while the writer opens and closes, and reads nothing.
  Connection keeper = world.application();
  must(keeper.query_integer("SELECT count(*) FROM sqlite_schema"));
  world.start_shop({"--sales", "1"});
  world.wait_for_shop();
  const uint32_t salt_before = first_salt(world);
  const double agent_before = followed ? cpu_seconds(world.agent.pid()) : 0;
  std::filesystem::remove(world.folder / "shop.log");
  world.start_shop(options);
  world.wait_for_shop();
  std::ifstream in(world.folder / "shop.log");
  Json said = Json::parse(in);
  const double sales = said["sales"].get<double>(), elapsed = said["seconds"].get<double>();
  Run run;
  run.sales_per_second = sales / elapsed;
  run.p99_us = said["p99_us"].get<double>();
  run.cpu_us = said["cpu_us"].get<double>() / sales;
  run.core_wait_us = said["core_wait_us"].get<double>() / sales;
  run.wait_us = elapsed * 1e6 / sales - run.cpu_us - run.core_wait_us;
  // An emptied log begins with random salts.
  const uint32_t begun = first_salt(world) - salt_before;
  run.restarts = begun < 1000000 ? begun : -1;
  run.log_mib = static_cast<double>(std::filesystem::file_size(world.db + "-wal")) / (1 << 20);
  if (followed) {
    run.agent_cpu = (cpu_seconds(world.agent.pid()) - agent_before) / elapsed;
    world.flush();
    run.blocked_ms = world.database().value("pos_blocked_ms", 0.0);
    run.catch_ups = world.database().value("catch_ups", 0);
    world.stop_agent();
  }
  return run;
}

Json to_json(const std::string& side, const Run& run) {
  return {{"side", side},
          {"per_s", run.sales_per_second},
          {"p99_us", run.p99_us},
          {"cpu_us", run.cpu_us},
          {"core_wait_us", run.core_wait_us},
          {"wait_us", run.wait_us},
          {"agent_cores", run.agent_cpu},
          {"log_restarts", run.restarts},
          {"log_mib", run.log_mib},
          {"catch_ups", run.catch_ups},
          {"blocked_ms", run.blocked_ms}};
}

void print(const std::string& side, const Run& run, const Run& alone) {
  std::printf("%12s %9.0f %7.3f %8.0f %7.3f %8.1f %8.1f %8.1f %7.2f %7ld %8.1f %6d %9.1f\n", side.c_str(),
              run.sales_per_second, run.sales_per_second / alone.sales_per_second, run.p99_us,
              run.p99_us / std::max(1.0, alone.p99_us), run.cpu_us, run.core_wait_us, run.wait_us, run.agent_cpu,
              static_cast<long>(run.restarts), run.log_mib, run.catch_ups, run.blocked_ms);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int pairs = 9;
  double seconds = 3, rate = 0;
  bool as_json = false;
  std::vector<std::string> sides{"followed", "undo", "json", "full"};
  CLI::App app{"what the till pays for being followed"};
  app.add_option("--pairs", pairs)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds)->check(CLI::Range(0.5, 3600.0));
  app.add_option("--rate", rate)->check(CLI::NonNegativeNumber);
  app.add_option("--sides", sides)->delimiter(',');
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  std::map<std::string, std::vector<Run>> runs, alones;
  Json all = Json::array();
  if (!as_json)
    std::printf("%12s %9s %7s %8s %7s %8s %8s %8s %7s %7s %8s %6s %9s\n", "", "sales/s", "ratio", "p99 us", "ratio",
                "cpu us", "ready", "waiting", "agent", "begun", "log MiB", "scans", "locked ms");
  for (int i = 0; i < pairs; i++) {
    const Run alone = sell(seconds, rate, "alone");
    all.push_back(to_json("alone", alone));
    if (!as_json) print("alone", alone, alone);
    for (auto& side : sides) {
      const Run run = sell(seconds, rate, side);
      all.push_back(to_json(side, run));
      if (!as_json) print(side, run, alone);
      runs[side].push_back(run);
      alones[side].push_back(alone);
    }
  }
  Json medians = Json::object();
  for (auto& side : sides) {
    auto ratios = [&](double Run::*what) {
      std::vector<double> of;
      for (size_t i = 0; i < runs[side].size(); i++)
        of.push_back(runs[side][i].*what / std::max(1e-9, alones[side][i].*what));
      return of;
    };
    auto speed = ratios(&Run::sales_per_second), latency = ratios(&Run::p99_us);
    medians[side] = {{"speed_ratio", median(speed)}, {"p99_ratio", median(latency)}};
    auto middle = [&](const std::vector<Run>& of, double Run::*what) {
      std::vector<double> values;
      for (auto& run : of) values.push_back(run.*what);
      return median(values);
    };
    if (!as_json)
      std::printf(
          "%s: median %.3f of the speed (%.2f to %.2f), %.3f of the p99 latency (%.2f to %.2f); a sale: on a core %.1f "
          "us (alone %.1f), ready %.1f (%.1f), waiting %.1f (%.1f)\n",
          side.c_str(), median(speed), quantile(speed, 0), quantile(speed, 1), median(latency), quantile(latency, 0),
          quantile(latency, 1), middle(runs[side], &Run::cpu_us), middle(alones[side], &Run::cpu_us),
          middle(runs[side], &Run::core_wait_us), middle(alones[side], &Run::core_wait_us),
          middle(runs[side], &Run::wait_us), middle(alones[side], &Run::wait_us));
  }
  if (as_json) std::cout << Json{{"runs", all}, {"medians", medians}}.dump(2) << std::endl;
}
