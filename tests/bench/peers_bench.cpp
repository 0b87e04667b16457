// tillsync beside what a shop would take otherwise: restic, BorgBackup, zstd, `sqlite3 .backup`, Litestream, triggers.
//
//   peers_bench [snapshots|replay|following|sales|durability|scaling]... [--mb N] [--rounds N] [--seconds S] [--large]
//               [--litestream PROGRAM] [--out FOLDER]
//
//   snapshots   FULL, INCREMENTAL after 2,000 sales, restore of the newest moment: time, CPU, memory, stored bytes
//   replay      restore to a moment with 20,000 sales after the snapshot
//   following   at 5 sales/s: bytes sent per sale, memory, CPU
//   sales       sales per second of the till: alone, followed, with triggers
//   durability  from the commit to being durable in an S3 server on loopback
//   scaling     cost against size (--large: up to 2 GB) and against the number of sales between two backups, and a plot
// Nothing named: all of them. Every tool runs once in each round, in turn, on the same database; a round before the
// kept ones warms up. Writes peers.md, peers.json and peers.svg into --out. Progress goes to standard error.
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <iostream>

#include "bench/peers/works.h"

namespace {

std::string machine() {
  std::ifstream in("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(in, line))
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return std::to_string(std::thread::hardware_concurrency()) + " cores (" + model + "), load " +
         tillsync::test::figure(load) + " at the begin";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tillsync;
  using namespace tillsync::test;
  const std::vector<std::string> all{"snapshots", "replay", "following", "sales", "durability", "scaling"};
  std::vector<std::string> what;
  std::string out = ".";
  bool large = false;
  Bench bench;
  CLI::App app{"tillsync beside its peers"};
  app.add_option("what", what)->check(CLI::IsMember(all));
  app.add_option("--mb", bench.options.megabytes, "size of the database")->check(CLI::Range(20, 10000));
  app.add_option("--rounds", bench.options.rounds, "kept rounds")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", bench.options.seconds, "of a window at 5 sales/s")->check(CLI::Range(2.0, 3600.0));
  app.add_flag("--large", large, "scaling: also a database of 2 GB");
  app.add_option("--litestream", bench.options.litestream, "Litestream's binary; without it, it is left out")
      ->check(CLI::ExistingFile);
  app.add_option("--out", out, "where the results go")->check(CLI::ExistingDirectory);
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  if (what.empty()) what = all;
  bench.report.setting("machine", machine());
  bench.report.setting("rounds", std::to_string(bench.options.rounds) + " after one that warms up");
  const auto is_wanted = [&](const char* name) { return std::find(what.begin(), what.end(), name) != what.end(); };
  std::vector<int64_t> sizes{50, 500};
  if (large) sizes.push_back(2000);
  if (is_wanted("snapshots")) compare_snapshots(bench);
  if (is_wanted("replay")) compare_replay(bench);
  if (is_wanted("following")) compare_following(bench);
  if (is_wanted("sales")) compare_sales(bench);
  if (is_wanted("durability")) measure_durability(bench);
  if (is_wanted("scaling")) {
    measure_scaling(bench, sizes, {500, 2000, 8000, 32000});
    plot_scaling(bench.report, out + "/peers.svg");
  }
  std::ofstream(out + "/peers.md") << bench.report.markdown();
  std::ofstream(out + "/peers.json") << bench.report.json().dump(2) << "\n";
  std::cout << bench.report.markdown();
  return 0;
}
