// What the till pays for being followed: sales a second of a writer at full speed, and the latency of single sales.
//
//   capture_cost_bench [--pairs N] [--seconds S] [--rate SALES_PER_SECOND] [--json]
//
// Pairs of runs, one without the agent and one with it, in turn, each in a folder of its own; the ratio of each pair,
// and the median of the ratios. The writer is a process of its own (pos_writer), and so is the agent. Without --rate it
// sells as fast as it can (synchronous=NORMAL); with --rate at that pace (synchronous=FULL).
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/json.h"
#include "integration/world.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;

struct Run {
  double sales_per_second = 0, p99_us = 0, blocked_ms = 0;
};

Run sell(double seconds, double rate, bool followed) {
  World world("", "1s");  // as the default is
  world.start_shop({"--sales", "200"});
  world.wait_for_shop();
  if (followed) {
    world.start_agent();
    world.flush();
  }
  std::vector<std::string> options{"--seconds", std::to_string(seconds), "--synchronous", rate > 0 ? "FULL" : "NORMAL"};
  if (rate > 0) options.insert(options.end(), {"--rate", std::to_string(rate)});
  std::filesystem::remove(world.folder / "shop.log");
  world.start_shop(options);
  world.wait_for_shop();
  std::ifstream in(world.folder / "shop.log");
  Json said = Json::parse(in);
  Run run{said["sales"].get<double>() / said["seconds"].get<double>(), said["p99_us"].get<double>(), 0};
  if (followed) {
    world.flush();
    run.blocked_ms = world.database().value("pos_blocked_ms", 0.0);
    world.stop_agent();
  }
  return run;
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  int pairs = 9;
  double seconds = 3, rate = 0;
  bool as_json = false;
  CLI::App app{"what the till pays for being followed"};
  app.add_option("--pairs", pairs)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds)->check(CLI::Range(0.5, 3600.0));
  app.add_option("--rate", rate)->check(CLI::NonNegativeNumber);
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  std::vector<double> speed, latency;
  Json runs = Json::array();
  if (!as_json)
    std::printf("%12s %12s %8s %12s %12s %8s %12s\n", "alone/s", "followed/s", "ratio", "p99 us", "p99 us", "ratio",
                "blocked ms");
  for (int i = 0; i < pairs; i++) {
    const Run alone = sell(seconds, rate, false), followed = sell(seconds, rate, true);
    speed.push_back(followed.sales_per_second / alone.sales_per_second);
    latency.push_back(followed.p99_us / std::max(1.0, alone.p99_us));
    runs.push_back({{"alone_per_s", alone.sales_per_second},
                    {"followed_per_s", followed.sales_per_second},
                    {"alone_p99_us", alone.p99_us},
                    {"followed_p99_us", followed.p99_us},
                    {"blocked_ms", followed.blocked_ms}});
    if (!as_json)
      std::printf("%12.0f %12.0f %8.3f %12.0f %12.0f %8.3f %12.1f\n", alone.sales_per_second, followed.sales_per_second,
                  speed.back(), alone.p99_us, followed.p99_us, latency.back(), followed.blocked_ms);
  }
  if (as_json) {
    std::cout << Json{{"runs", runs}, {"speed_ratio", median(speed)}, {"p99_ratio", median(latency)}}.dump(2)
              << std::endl;
  } else {
    std::printf("median ratio: %.3f of the speed, %.3f of the p99 latency\n", median(speed), median(latency));
  }
}
