// What the till pays for being followed: sales a second of a writer at full speed, and the latency of single sales.
//
//   capture_cost_bench [--pairs N] [--seconds S] [--rate SALES_PER_SECOND] [--no-triggers] [--json]
//
// Runs in turn, each in a folder of its own: without the agent, with it, and with each design of a capture by triggers
// (undo log, JSON, full images) in its place; the ratios to the run without, and their medians. The writer is a process
// of its own (pos_writer), and so is the agent. Without --rate it sells as fast as it can (synchronous=NORMAL); with
// --rate at that pace (synchronous=FULL).
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>

#include "base/json.h"
#include "integration/world.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;

struct Run {
  double sales_per_second = 0, p99_us = 0, blocked_ms = 0;
};

// side: "alone", "followed", or a design of trigger_capture.h.
Run sell(double seconds, double rate, const std::string& side) {
  World world("", "1s");  // as the default is
  world.start_shop({"--sales", "200"});
  world.wait_for_shop();
  if (side == "followed") {
    world.start_agent();
    world.flush();
  } else if (side != "alone") {
    world.start_shop({"--triggers", side});
    world.wait_for_shop();
  }
  std::vector<std::string> options{"--seconds", std::to_string(seconds), "--synchronous", rate > 0 ? "FULL" : "NORMAL"};
  if (rate > 0) options.insert(options.end(), {"--rate", std::to_string(rate)});
  std::filesystem::remove(world.folder / "shop.log");
  world.start_shop(options);
  world.wait_for_shop();
  std::ifstream in(world.folder / "shop.log");
  Json said = Json::parse(in);
  Run run{said["sales"].get<double>() / said["seconds"].get<double>(), said["p99_us"].get<double>(), 0};
  if (side == "followed") {
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
  bool as_json = false, triggers = true;
  CLI::App app{"what the till pays for being followed"};
  app.add_option("--pairs", pairs)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds)->check(CLI::Range(0.5, 3600.0));
  app.add_option("--rate", rate)->check(CLI::NonNegativeNumber);
  app.add_flag("!--no-triggers", triggers);
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  std::vector<std::string> sides{"followed"};
  if (triggers) sides.insert(sides.end(), {"undo", "json", "full"});
  std::map<std::string, std::vector<double>> speed, latency;
  Json runs = Json::array();
  if (!as_json)
    std::printf("%10s %10s %12s %8s %12s %8s %10s\n", "", "alone/s", "sales/s", "ratio", "p99 us", "ratio",
                "blocked ms");
  for (int i = 0; i < pairs; i++) {
    const Run alone = sell(seconds, rate, "alone");
    for (auto& side : sides) {
      const Run run = sell(seconds, rate, side);
      speed[side].push_back(run.sales_per_second / alone.sales_per_second);
      latency[side].push_back(run.p99_us / std::max(1.0, alone.p99_us));
      runs.push_back({{"side", side},
                      {"alone_per_s", alone.sales_per_second},
                      {"per_s", run.sales_per_second},
                      {"alone_p99_us", alone.p99_us},
                      {"p99_us", run.p99_us},
                      {"blocked_ms", run.blocked_ms}});
      if (!as_json)
        std::printf("%10s %10.0f %12.0f %8.3f %12.0f %8.3f %10.1f\n", side.c_str(), alone.sales_per_second,
                    run.sales_per_second, speed[side].back(), run.p99_us, latency[side].back(), run.blocked_ms);
    }
  }
  Json medians = Json::object();
  for (auto& side : sides) {
    auto range = [](const std::vector<double>& all) { return std::minmax_element(all.begin(), all.end()); };
    auto [low, high] = range(speed[side]);
    auto [low_p99, high_p99] = range(latency[side]);
    medians[side] = {{"speed_ratio", median(speed[side])}, {"p99_ratio", median(latency[side])}};
    if (!as_json)
      std::printf("%s: median %.3f of the speed (%.2f to %.2f), %.3f of the p99 latency (%.2f to %.2f)\n", side.c_str(),
                  median(speed[side]), *low, *high, median(latency[side]), *low_p99, *high_p99);
  }
  if (as_json) std::cout << Json{{"runs", runs}, {"medians", medians}}.dump(2) << std::endl;
}
