// A till's working day in short: sales without pause, snapshots, a server that restarts, clocks that jump, pauses and
// reloads; and an agent that is never restarted, whose memory and descriptors are watched. `./dev soak --minutes N`.
#include <cmath>

#include "s3/s3_world.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace {

constexpr const char* kFakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

struct Sample {
  double seconds, resident_mib;
  size_t descriptors;
};

// MiB per hour, by least squares.
double slope(const std::vector<Sample>& samples) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (auto& s : samples) {
    n++;
    x += s.seconds;
    y += s.resident_mib;
    xx += s.seconds * s.seconds;
    xy += s.seconds * s.resident_mib;
  }
  const double divisor = n * xx - x * x;
  return divisor == 0 ? 0 : (n * xy - x * y) / divisor * 3600;
}

struct Day : S3World {
  SeededRandom random;
  const std::string clock_file = folder / "clock";
  std::chrono::seconds jumped{0};
  std::map<std::string, int> done;

  explicit Day(uint64_t seed) : random(seed) {
    schedule = "incremental = \"1m\"\nfull = \"\"\nverify = \"\"\ndrill = \"\"\njitter = \"0s\"\n";
    log_flush = "1s";
    write_config("");
    set_clock();
  }
  // The wall clock of the agent alone; its steady clock goes on.
  void set_clock() {
    std::ofstream(clock_file + ".new") << (jumped.count() < 0 ? "" : "+") << jumped.count() << "s\n";
    std::filesystem::rename(clock_file + ".new", clock_file);
  }
  void start_agent_with_clock() {
    ::setenv("LD_PRELOAD", kFakeTime, 1);
    ::setenv("FAKETIME_TIMESTAMP_FILE", clock_file.c_str(), 1);
    ::setenv("FAKETIME_NO_CACHE", "1", 1);
    ::setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    agent = must(ChildProcess::start({bin + "/tillsyncd", "--config", config}, agent_log));
    for (const char* name :
         {"LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC"})
      ::unsetenv(name);
    until("the agent answers", [&] {
      auto client = ControlClient::connect(socket);
      return client && client->call("store.info").has_value();
    });
  }
  Sample look(Steady::time_point began) {
    std::ifstream file("/proc/" + std::to_string(agent.pid()) + "/statm");
    uint64_t total = 0, resident = 0;
    file >> total >> resident;
    Sample sample{std::chrono::duration<double>(Steady::now() - began).count(),
                  static_cast<double>(resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))) / (1 << 20), 0};
    for ([[maybe_unused]] auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(agent.pid()) + "/fd"))
      sample.descriptors++;
    return sample;
  }
  void something_happens() {
    const char* what = "";
    switch (random.below(8)) {
      case 0:
        what = "server killed and restarted";
        {
          const ServerIsBack back;
          S3Server::running().kill();
          std::this_thread::sleep_for(std::chrono::milliseconds(random.below(5000)));  // how long it is away
        }
        break;
      case 1:
        what = "clock jumped";
        jumped += std::chrono::seconds(static_cast<int64_t>(random.below(4 * 3600)) - 2 * 3600);
        set_clock();
        break;
      case 2:
        what = "paused and resumed";
        call("pause");
        std::this_thread::sleep_for(std::chrono::milliseconds(random.below(3000)));  // how long the installer takes
        call("resume");
        break;
      case 3:
        what = "reloaded";
        agent.signal(SIGHUP);
        break;
      case 4:
        what = "full snapshot";
        call("backup", {{"type", "full"}});
        break;
      case 5:
        what = "pages changed";
        change_photos(2);
        break;
      default: what = "incremental snapshot"; call("backup", {{"type", "incremental"}});
    }
    done[what]++;
  }
};

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 steady: through a day of sales, restarts of the server and jumps of the clock the agent does not grow") {
  const int64_t minutes = wish("TILLSYNC_STEADY_MINUTES", 0);
  if (minutes == 0) {
    MESSAGE("skipped: only ./dev soak --minutes N runs it");
    return;
  }
  REQUIRE_MESSAGE(std::filesystem::exists(kFakeTime), "libfaketime is needed: apt-get install libfaketime");
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  Day day(seed);
  day.start_agent_with_clock();
  const std::string ready = day.folder / "ready";
  day.start_shop({"--rate", "20", "--sales", "100000000", "--shared", "--seed", "1", "--ready-file", ready});
  day.until("the shop opens", [&] { return std::filesystem::exists(ready); });
  day.back_up("full");
  const pid_t agent = day.agent.pid();
  const auto began = Steady::now();
  const auto end = began + std::chrono::minutes(minutes);
  // A quarter is for everything to have been used once.
  const auto warm = began + std::chrono::minutes(minutes) / 4;
  std::vector<Sample> samples;
  auto next_event = began;
  while (Steady::now() < end) {
    if (Steady::now() >= next_event) {
      day.something_happens();
      next_event = Steady::now() + std::chrono::milliseconds(5000 + day.random.below(15000));
    }
    const Sample now = day.look(began);
    if (Steady::now() >= warm) samples.push_back(now);
    std::this_thread::sleep_for(1s);  // a sample a second
  }
  CHECK(day.agent.is_running());
  CHECK(day.agent.pid() == agent);
  day.shop.signal(SIGTERM);
  (void)must(day.shop.wait(60s, [] { return false; }));
  day.check_all();
  REQUIRE(samples.size() > 10);
  // In eighths, so that one snapshot that runs at the end is no growth.
  const size_t eighth = samples.size() / 8;
  auto lowest = [&](size_t from, size_t to) {
    Sample low = samples[from];
    for (size_t i = from; i < to; i++) {
      low.resident_mib = std::min(low.resident_mib, samples[i].resident_mib);
      low.descriptors = std::min(low.descriptors, samples[i].descriptors);
    }
    return low;
  };
  const Sample first = lowest(0, eighth + 1), last = lowest(samples.size() - eighth - 1, samples.size());
  double highest = 0;
  for (auto& s : samples) highest = std::max(highest, s.resident_mib);
  std::string events;
  for (auto& [what, times] : day.done) events += ", " + what + " " + std::to_string(times);
  MESSAGE("steady on ", S3Server::running().kind(), ": ", minutes, " minutes, ",
          day.query("SELECT n FROM sale_counter"), " sales", events, "; resident ", first.resident_mib,
          " MiB at first, ", last.resident_mib, " at last, ", highest, " at most, slope ", slope(samples),
          " MiB an hour; descriptors ", first.descriptors, " and ", last.descriptors);
  CHECK(last.descriptors <= first.descriptors + 2);
  // A short run shows little but caches that fill.
  if (minutes >= 30) CHECK(slope(samples) < 4);
  CHECK(last.resident_mib < first.resident_mib + 8);
}

TEST_SUITE_END();
