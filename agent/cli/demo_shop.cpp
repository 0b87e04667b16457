#include "agent/cli/demo_shop.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/cli/cli.h"
#include "agent/demo/pos_workload.h"

namespace tillsync {

namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr double kSalesPerSecond = 150;
constexpr auto kLookEvery = std::chrono::milliseconds(20);

// Appears whole, since the demo polls for it.
void write_whole(const std::string& path, const Json& document) {
  std::ofstream(path + ".tmp") << document.dump() << "\n";
  std::filesystem::rename(path + ".tmp", path);
}

Json result_of(std::vector<double> latencies_us, double seconds, uint64_t busy_waits) {
  std::sort(latencies_us.begin(), latencies_us.end());
  const auto quantile = [&](size_t percent) {
    if (latencies_us.empty()) return int64_t{0};
    return static_cast<int64_t>(latencies_us[std::min(latencies_us.size() - 1, latencies_us.size() * percent / 100)]);
  };
  return Json{{"sales", latencies_us.size()}, {"seconds", seconds},      {"p50_us", quantile(50)},
              {"p99_us", quantile(99)},       {"max_us", quantile(100)}, {"busy_waits", busy_waits}};
}

}  // namespace

Result<void> run_demo_shop(const CliContext& context) {
  const DemoShopFiles files(context.arguments().shop_folder);
  PosOptions options;
  options.path = files.database;
  TILLSYNC_LET(auto shop, PosWorkload::open(options));
  write_whole(files.ready, Json{{"products", options.products}});
  std::vector<double> latencies_us;
  const auto started = SteadyClock::now();
  auto look_at = started;
  while (!context.environment().is_interrupted()) {
    const auto pause = std::chrono::duration<double>(static_cast<double>(latencies_us.size()) / kSalesPerSecond);
    std::this_thread::sleep_until(started + std::chrono::duration_cast<SteadyClock::duration>(pause));
    const auto began = SteadyClock::now();
    auto sale = shop.sell_one();
    if (!sale && sale.error().kind != ErrorKind::transient) return std::move(sale).error();
    if (!sale) continue;
    latencies_us.push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - began).count());
    if (SteadyClock::now() < look_at) continue;
    look_at = SteadyClock::now() + kLookEvery;
    if (std::filesystem::exists(files.stop)) break;
    if (std::filesystem::remove(files.moment_wanted)) {
      TILLSYNC_TRY(shop.copy_to(files.moment_copy));
      write_whole(files.moment, Json{{"sale", sale->number}});
    }
  }
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - started).count();
  write_whole(files.result, result_of(std::move(latencies_us), seconds, shop.busy_waits()));
  return {};
}

}  // namespace tillsync
