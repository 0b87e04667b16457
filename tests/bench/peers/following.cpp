#include <optional>
#include <thread>

#include "s3/s3_server.h"
#include "sqlite/connection.h"
#include "tools.h"
#include "works.h"

namespace tillsync::test {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

// Both at once, each following a till of its own at 5 sales/s: what one does to the other it gets back.
void compare_following(Bench& bench) {
  auto& report = bench.report;
  const std::string& base = bench.databases.of(bench.options.megabytes);
  const std::string size = std::to_string(bench.options.megabytes) + " MB";
  Work& bytes = report.work("sent per sale at 5 sales/s", "bytes", "320; 1/60 of Litestream");
  Work& memory = report.work("resident at 5 sales/s, " + size, "MiB", "24; 1/2 of Litestream");
  Work& peak = report.work("peak of a window at 5 sales/s, " + size, "MiB");
  Work& cpu = report.work("CPU per sale at 5 sales/s", "ms", "1/3 of Litestream");
  bytes.notes.push_back(
      "all objects that are sent meanwhile, flushed each second, sealed and signed; Litestream's "
      "replica by how it grows. Receipts have 48 random bytes each; the images of 5 to 14 kB that one sale in 40 has "
      "in the other works are left out");
  report.setting(kOurs, FollowedTill::kSettings);

  FollowedTill till(base);
  till.follow();
  const TemporaryDirectory theirs;
  const std::string their_db = theirs / "pos.db";
  std::optional<Litestream> litestream;
  if (!bench.options.litestream.empty()) {
    report.version("Litestream", Litestream::version(bench.options.litestream));
    report.setting("Litestream", Litestream::kSettings);
    fs::copy_file(base, their_db);
    litestream.emplace(bench.options.litestream, their_db);
    litestream->start();
    litestream->wait_for_snapshot();
  }
  for (int round = 0; round <= bench.options.rounds; round++) {
    till.flush();
    if (litestream) litestream->wait_until_replicated();
    const double sent = till.sent_bytes(), our_cpu = cpu_seconds_in_ticks(till.agent.pid());
    const double replica = litestream ? litestream->replica_bytes() : 0;
    const double their_cpu = litestream ? cpu_seconds_in_ticks(litestream->pid()) : 0;
    forget_peak(till.agent.pid());
    if (litestream) forget_peak(litestream->pid());
    Json our_sales, their_sales;
    const std::vector<std::string> pace{"--rate", "5", "--seconds", std::to_string(bench.options.seconds),
                                        "--small-receipts"};
    std::thread other([&] {
      if (litestream) their_sales = sell(till, their_db, pace);
    });
    our_sales = sell(till, till.db, pace);
    other.join();
    const double our_resident = memory_kib(till.agent.pid(), "VmRSS"), our_peak = memory_kib(till.agent.pid(), "VmHWM");
    const double our_spent = cpu_seconds_in_ticks(till.agent.pid()) - our_cpu;
    till.flush();
    const double our_count = our_sales["sales"].get<double>();
    const double our_bytes = (till.sent_bytes() - sent) / our_count;
    std::fprintf(stderr, "following, round %d: %.0f bytes, %.1f MiB, %.2f ms a sale\n", round, our_bytes,
                 our_resident / 1024, 1000 * our_spent / our_count);
    if (round > 0) {
      bytes.add(kOurs, our_bytes);
      memory.add(kOurs, our_resident / 1024);
      peak.add(kOurs, our_peak / 1024);
      cpu.add(kOurs, 1000 * our_spent / our_count);
    }
    if (!litestream) continue;
    const double resident = memory_kib(litestream->pid(), "VmRSS"), most = memory_kib(litestream->pid(), "VmHWM");
    const double spent = cpu_seconds_in_ticks(litestream->pid()) - their_cpu;
    litestream->wait_until_replicated();
    const double count = their_sales["sales"].get<double>();
    const double grown = (litestream->replica_bytes() - replica) / count;
    std::fprintf(stderr, "following, round %d, Litestream: %.0f bytes, %.1f MiB, %.2f ms a sale\n", round, grown,
                 resident / 1024, 1000 * spent / count);
    if (round == 0) continue;
    bytes.add("Litestream", grown);
    memory.add("Litestream", resident / 1024);
    peak.add("Litestream", most / 1024);
    cpu.add("Litestream", 1000 * spent / count);
  }
  till.stop_agent();
}

namespace {

// One run of a till at full speed; side: "alone", kOurs, "Litestream", or a design of trigger_capture.h.
double sales_per_second(Bench& bench, const std::string& base, const std::string& side, double seconds) {
  FollowedTill till(base);
  std::optional<Litestream> litestream;
  if (side == kOurs) till.follow();
  if (side == "Litestream") {
    litestream.emplace(bench.options.litestream, till.db);
    litestream->start();
    litestream->wait_for_snapshot();
  }
  if (side.starts_with("triggers"))
    run_measured({till.bin + "/pos_writer", "--db", till.db, "--triggers", side.substr(side.find(' ') + 1)});
  settle_disk();
  const Json said = sell(till, till.db, {"--seconds", std::to_string(seconds), "--synchronous", "NORMAL"});
  if (side == kOurs) till.stop_agent();
  return said["sales"].get<double>() / said["seconds"].get<double>();
}

}  // namespace

void compare_sales(Bench& bench) {
  constexpr double kSeconds = 4;
  auto& report = bench.report;
  const std::string& base = bench.databases.of(50);
  Work& work = report.work("sales/s of the till at full speed, to alone", "ratio", "1.0");
  work.notes.push_back("each to the run alone of the same round; synchronous=NORMAL, 50 MB");
  Work& absolute = report.work("sales/s of the till at full speed", "sales/s");
  std::vector<std::string> sides{kOurs, "triggers undo", "triggers json", "triggers full"};
  if (!bench.options.litestream.empty()) sides.insert(sides.begin() + 1, "Litestream");
  for (int round = 0; round <= bench.options.rounds; round++) {
    const double alone = sales_per_second(bench, base, "alone", kSeconds);
    if (round > 0) absolute.add("alone", alone);
    for (auto& side : sides) {
      const double rate = sales_per_second(bench, base, side, kSeconds);
      std::fprintf(stderr, "sales, round %d: %s %.0f/s, %.2f of alone\n", round, side.c_str(), rate, rate / alone);
      if (round == 0) continue;
      absolute.add(side, rate);
      work.add(side, rate / alone);
    }
  }
}

namespace {

// Milliseconds from each sale's commit to its segment's being durable, by the agent's own record of the answer.
std::vector<double> times_to_durable(FollowedTill& till, double seconds) {
  const auto first = till.database()["transaction"].get<int64_t>();
  const auto first_sale = till.query("SELECT n FROM sale_counter WHERE id=1");
  const std::string times = till.folder / "times";
  const auto now_ms = [](auto clock_now) {
    return std::chrono::duration<double, std::milli>(clock_now.time_since_epoch()).count();
  };
  const double offset = now_ms(std::chrono::system_clock::now()) - now_ms(Steady::now());
  const Json said =
      sell(till, till.db,
           {"--rate", "5", "--seconds", std::to_string(seconds), "--synchronous", "FULL", "--commit-times", times});
  till.flush();
  if (till.database()["transaction"].get<int64_t>() - first != said["sales"].get<int64_t>())
    throw std::logic_error("transactions are not sales");
  std::map<int64_t, double> durable;  // by the last transaction of each segment
  auto state = must(Connection::open(till.folder / "state/state.db", SQLITE_OPEN_READONLY));
  must(state.execute("PRAGMA busy_timeout = 60000"));
  auto rows = must(state.prepare("SELECT last_transaction, durable_at FROM segments WHERE durable_at IS NOT NULL"));
  while (must(rows.step())) durable[rows.integer(0)] = static_cast<double>(rows.integer(1));
  std::vector<double> all;
  std::ifstream in(times);
  int64_t sale = 0, nanoseconds = 0;
  while (in >> sale >> nanoseconds) {
    const auto segment = durable.lower_bound(first + sale - first_sale);
    if (segment == durable.end()) throw std::logic_error("a sale is in no durable segment");
    all.push_back(segment->second - (static_cast<double>(nanoseconds) / 1e6 + offset));
  }
  return all;
}

}  // namespace

void measure_durability(Bench& bench) {
  auto& report = bench.report;
  setenv("S3_STORE_BYTES", std::to_string(uint64_t{6} << 30).c_str(), 0);
  const auto server = S3Server::start("ceph_rgw");
  if (!server) {
    report.note("commit to durable was not measured: Ceph RGW is not installed, tests/support/s3/install.sh does it");
    return;
  }
  for (const auto& [flush, target] :
       {std::pair<std::string, std::string>{"1s", "p50 700, p99 1,200"}, {"50ms", "p99 150"}}) {
    Work& p50 = report.work("commit to durable in S3 at 5 sales/s, flush " + flush + ": p50", "ms", target);
    Work& p99 = report.work("commit to durable in S3 at 5 sales/s, flush " + flush + ": p99", "ms", target);
    FollowedTill till(bench.databases.of(50), flush);
    till.store_settings = store_settings(server->options());
    till.write_config("");
    till.follow();
    for (int round = 0; round <= bench.options.rounds; round++) {
      const auto all = times_to_durable(till, bench.options.seconds);
      std::fprintf(stderr, "durable, flush %s, round %d: p50 %.0f ms, p99 %.0f ms of %zu sales\n", flush.c_str(), round,
                   quantile(all, 0.5), quantile(all, 0.99), all.size());
      if (round == 0) continue;
      p50.add(kOurs, quantile(all, 0.5));
      p99.add(kOurs, quantile(all, 0.99));
    }
    till.stop_agent();
  }
}

}  // namespace tillsync::test
