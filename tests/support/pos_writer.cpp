// pos_writer: a till at work, as a process of its own. Makes a point-of-sale database and sells.
//
//   pos_writer --db FILE [--sales N] [--rate SALES_PER_SECOND] [--seconds S] [--seed N] [--journal wal|delete]
//              [--synchronous OFF|NORMAL|FULL] [--products N] [--page-size N] [--autocheckpoint N] [--shared]
//              [--small-receipts] [--mark N --mark-dir DIR] [--ready-file F] [--stop-file F] [--commit-times F]
//              [--print-sales] [--busy-ms N] [--triggers undo|json|full]
//
// --triggers: only puts the triggers of a trigger-based capture into the database, and ends.
// --shared: other writers sell into the same database. --busy-ms: how long a lock is waited for, 5000. --commit-times:
// for each sale a line "<sale> <nanoseconds of CLOCK_MONOTONIC just after its commit>". --print-sales: "sold
// <orders.uuid>" on standard output, after each commit.
// --mark: after N of the sales, chosen by the seed, copies the database at that very transaction to DIR/<sale>.db and
// adds a line {sale, order_id, committed_at} to DIR/marks.jsonl. sale_counter tells a test which sale a transaction
// was. Prints one line at the end: {seed, sales, seconds, p50_us, p99_us, p999_us, max_us, busy_errors, busy_waits,
// cpu_us, core_wait_us}, the last two for the time of all sales: on a core, and ready to run without one. The rest of
// the time it waited for the disk or for a lock.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <vector>

#include "agent/demo/pos_dice.h"
#include "agent/demo/pos_workload.h"
#include "base/types.h"
#include "support/trigger_capture.h"

namespace {

using namespace tillsync;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Options {
  PosOptions shop;
  int64_t sales = 0;  // 0: until the time is over or the stop file is there
  double rate = 0;    // 0: as fast as it can
  double seconds = 0;
  int64_t marks = 0;
  std::string mark_directory, ready_file, stop_file, commit_times, triggers;
  bool print_sales = false;
};

[[noreturn]] void die(const Error& error) {
  std::fprintf(stderr, "pos_writer: %s\n", error.context.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) die(result.error());
  return std::move(*result);
}
void must(Result<void> result) {
  if (!result) die(result.error());
}

// Which of the sales from first on get a copy.
std::set<int64_t> choose_marks(const Options& options, int64_t first) {
  std::set<int64_t> chosen;
  pos::Dice dice(options.shop.seed, ~uint64_t{0});
  const int64_t wanted = std::min(options.marks, options.sales);
  while (static_cast<int64_t>(chosen.size()) < wanted)
    chosen.insert(first + dice.below(static_cast<uint64_t>(options.sales)));
  return chosen;
}

class Marks {
 public:
  Marks(const Options& options, int64_t first)
      : directory_(options.mark_directory), chosen_(choose_marks(options, first)) {
    if (chosen_.empty()) return;
    std::filesystem::create_directories(directory_);
    list_.open(directory_ / "marks.jsonl", std::ios::app);
  }
  bool is_chosen(int64_t sale) const { return chosen_.contains(sale); }
  void take(const PosWorkload& shop, const Sale& sale) {
    const auto now = std::chrono::time_point_cast<Milliseconds>(std::chrono::system_clock::now());
    must(shop.copy_to((directory_ / (std::to_string(sale.number) + ".db")).string()));
    list_ << Json{{"sale", sale.number}, {"order_id", sale.order_id}, {"committed_at", to_rfc3339(now)}}.dump()
          << std::endl;
    if (!list_) die(Error{ErrorKind::no_space, 0, (directory_ / "marks.jsonl").string() + ": could not write"});
  }

 private:
  std::filesystem::path directory_;
  std::set<int64_t> chosen_;
  std::ofstream list_;
};

Options parse(int argc, char** argv) {
  Options options;
  int64_t busy_ms = options.shop.busy_time.count();
  CLI::App app{"a till at work: makes a point-of-sale database and sells"};
  app.add_option("--db", options.shop.path)->required();
  app.add_option("--sales", options.sales)->check(CLI::NonNegativeNumber);
  app.add_option("--rate", options.rate)->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.shop.seed);
  app.add_option("--journal", options.shop.journal)->check(CLI::IsMember({"wal", "delete"}));
  app.add_option("--synchronous", options.shop.synchronous)->check(CLI::IsMember({"OFF", "NORMAL", "FULL"}));
  app.add_option("--products", options.shop.products)->check(CLI::Range(1, 1000000));
  app.add_option("--page-size", options.shop.page_size)->check(CLI::Range(512, 65536));
  app.add_option("--autocheckpoint", options.shop.autocheckpoint)->check(CLI::NonNegativeNumber);
  app.add_flag("--shared", options.shop.shared);
  app.add_flag("!--small-receipts", options.shop.image_receipts);
  auto* mark = app.add_option("--mark", options.marks)->check(CLI::NonNegativeNumber);
  mark->needs(app.add_option("--mark-dir", options.mark_directory));
  app.add_option("--busy-ms", busy_ms)->check(CLI::PositiveNumber);
  app.add_option("--ready-file", options.ready_file);
  app.add_option("--stop-file", options.stop_file);
  app.add_option("--commit-times", options.commit_times);
  app.add_flag("--print-sales", options.print_sales);
  app.add_option("--triggers", options.triggers)->check(CLI::IsMember({"undo", "json", "full"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  options.shop.busy_time = std::chrono::milliseconds(busy_ms);
  if (options.sales == 0 && options.seconds == 0 && options.stop_file.empty()) options.sales = 1000;
  if (options.marks > 0 && options.sales == 0) die(Error{ErrorKind::usage, 0, "--mark needs --sales"});
  return options;
}

struct CoreTime {
  double on_core_us = 0, waited_us = 0;
};

// Of this thread, which does all the work.
CoreTime core_time() {
  std::ifstream in("/proc/thread-self/schedstat");
  CoreTime time;
  in >> time.on_core_us >> time.waited_us;
  return {time.on_core_us / 1000, time.waited_us / 1000};
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  PosWorkload shop = must(PosWorkload::open(options.shop));
  if (!options.triggers.empty()) {
    auto connection = must(pos::open_handle(options.shop.path, SQLITE_OPEN_READWRITE));
    must(pos::install_capture_triggers(connection.get(), options.triggers));
    return 0;
  }
  Marks marks(options, shop.last_sale() + 1);
  if (!options.ready_file.empty()) std::ofstream(options.ready_file) << "ready\n";

  std::vector<double> latencies_us;
  std::vector<std::pair<int64_t, Clock::time_point>> commits;
  int64_t busy_errors = 0;
  const CoreTime core_before = core_time();
  const auto started = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - started).count(); };
  for (int64_t sold = 0; options.sales == 0 || sold < options.sales;) {
    if (options.seconds > 0 && elapsed() >= options.seconds) break;
    if (!options.stop_file.empty() && std::filesystem::exists(options.stop_file)) break;
    if (options.rate > 0) {
      const auto pause = std::chrono::duration<double>(static_cast<double>(sold) / options.rate);
      std::this_thread::sleep_until(started + std::chrono::duration_cast<Clock::duration>(pause));
    }
    const auto began = Clock::now();
    auto sale = shop.sell_one();
    if (!sale && sale.error().kind == ErrorKind::transient) {
      ++busy_errors;
      continue;
    }
    if (!sale) die(sale.error());
    const auto committed = Clock::now();
    if (options.print_sales) std::cout << "sold " + sale->uuid + "\n" << std::flush;
    latencies_us.push_back(std::chrono::duration<double, std::micro>(committed - began).count());
    if (!options.commit_times.empty()) commits.emplace_back(sale->number, committed);
    if (marks.is_chosen(sale->number)) marks.take(shop, *sale);
    ++sold;
  }

  const double seconds = elapsed();
  const CoreTime core_after = core_time();
  if (!options.commit_times.empty()) {
    std::ofstream out(options.commit_times);
    for (auto& [sale, at] : commits)
      out << sale << ' ' << std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count() << '\n';
    out.flush();
    if (!out) die(Error{ErrorKind::no_space, 0, options.commit_times + ": could not write"});
  }
  std::sort(latencies_us.begin(), latencies_us.end());
  const auto quantile = [&](size_t permille) {
    if (latencies_us.empty()) return int64_t{0};
    return static_cast<int64_t>(latencies_us[std::min(latencies_us.size() - 1, latencies_us.size() * permille / 1000)]);
  };
  const Json result{{"seed", options.shop.seed},
                    {"sales", latencies_us.size()},
                    {"seconds", seconds},
                    {"p50_us", quantile(500)},
                    {"p99_us", quantile(990)},
                    {"p999_us", quantile(999)},
                    {"max_us", quantile(1000)},
                    {"busy_errors", busy_errors},
                    {"busy_waits", shop.busy_waits()},
                    {"cpu_us", core_after.on_core_us - core_before.on_core_us},
                    {"core_wait_us", core_after.waited_us - core_before.waited_us}};
  std::cout << result.dump() << std::endl;
  return 0;
}
