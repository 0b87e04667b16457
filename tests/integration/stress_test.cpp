// Writers without pause, real processes: nothing is lost, the application's log stays bounded, and no writer is
// refused.
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using Steady = std::chrono::steady_clock;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kWalLimit = 16 * kMiB;  // limits.wal as it is by default

uint64_t size_of(const std::string& path) {
  std::error_code none;
  auto size = std::filesystem::file_size(path, none);
  return none ? 0 : size;
}

// The largest size that the log had on the disk.
class WalSampler {
 public:
  explicit WalSampler(std::string path)
      : path_(std::move(path)), thread_([this] {
          while (!done_) {
            bytes_max_ = std::max(bytes_max_.load(), size_of(path_));
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }) {}
  ~WalSampler() {
    done_ = true;
    thread_.join();
  }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  std::string path_;
  std::atomic<bool> done_ = false;
  std::atomic<uint64_t> bytes_max_ = 0;
  std::thread thread_;
};

struct Burst {
  int writers = 1;
  bool reader = false;  // the application reads one old state all the while
  std::vector<std::string> options = {};
};

// Sells until the burst is over; everything is checked but what a case looks at besides.
void sell_without_pause(const Burst& burst) {
  SeededRandom random(SeededRandom::seed_of_this_run());
  INFO("seed " << random.seed());
  World world;
  const std::string log = world.db + "-wal";
  // The till waits for no disk, and we do: the worst there is.
  std::vector<std::string> options{"--shared", "--synchronous", "OFF"};
  options.insert(options.end(), burst.options.begin(), burst.options.end());
  {
    auto opening = options;
    opening.insert(opening.end(), {"--sales", "1"});
    world.start_shop(opening);
    world.wait_for_shop();
  }
  world.start_agent();
  world.back_up("full");

  std::optional<Connection> reader;
  if (burst.reader) {
    reader = world.reader();
    must(reader->execute("BEGIN"));
    CHECK(must(reader->query_integer("SELECT n FROM sale_counter")) == 1);
  }
  // A reader keeps every frame in the log, with us or without: its burst has an end in frames, not in time.
  if (burst.reader)
    options.insert(options.end(), {"--sales", std::to_string((soak() ? 16000 : 4000) / burst.writers)});
  else
    options.insert(options.end(), {"--seconds", soak() ? "20" : "3"});
  // Sanitizers make the agent ten times slower than the tills it follows, and other tests run beside it: there the
  // tills sell three hundred times as fast as a shop, and only in the soak as fast as they can.
  if (!soak()) options.insert(options.end(), {"--rate", std::to_string(1500 / burst.writers)});
  // Two tills without pause starve each other, with us or without: a till that sleeps until the lock is free finds it
  // taken again. Alone they wait up to 4.0 s in 20 (6 runs), so SQLite's customary 5 s would say nothing about us;
  // what they wait for us is pos_blocked_ms.
  if (burst.writers > 1) options.insert(options.end(), {"--busy-ms", "20000"});
  WalSampler sampler(log);
  std::vector<ChildProcess> tills;
  auto said = [&](int till) { return world.folder / ("till-" + std::to_string(till)); };
  for (int i = 0; i < burst.writers; i++) {
    std::vector<std::string> words{world.bin + "/pos_writer", "--db", world.db, "--seed",
                                   std::to_string(random.below(1000000))};
    words.insert(words.end(), options.begin(), options.end());
    tills.push_back(must(ChildProcess::start(words, said(i))));
  }
  for (auto& till : tills) REQUIRE(must(till.wait(std::chrono::minutes(10), [] { return false; })) == 0);
  const auto ended = Steady::now();
  if (reader) {
    CHECK(must(reader->query_integer("SELECT n FROM sale_counter")) == 1);
    must(reader->execute("COMMIT"));
    reader.reset();
  }
  world.until("the log is small again", [&] { return size_of(log) <= 2 * kWalLimit; });
  const double small_after = std::chrono::duration<double>(Steady::now() - ended).count();

  int64_t sold = 1;
  double rate = 0;
  for (int i = 0; i < burst.writers; i++) {
    std::ifstream in(said(i));
    Json words = Json::parse(in);
    INFO(words.dump());
    CHECK(words["busy_errors"] == 0);
    sold += words["sales"].get<int64_t>();
    rate += words["sales"].get<double>() / words["seconds"].get<double>();
    MESSAGE("till " << i << ": p99 " << words["p99_us"] << " us, max " << words["max_us"] << " us, waits for a lock "
                    << words["busy_waits"]);
  }
  Json flushed = world.flush(), status = world.database();
  StoreSide side(world);
  LogFacts facts = read_log(side);
  MESSAGE("sales/s: " << rate << ", log at most " << sampler.bytes_max() / kMiB << " MiB, small again after "
                      << small_after << " s, captured singly: " << facts.single << ", catch-ups: " << facts.catch_ups
                      << ", pos_blocked_ms " << status["pos_blocked_ms"] << ", max " << status["pos_blocked_ms_max"]);
  CHECK(sampler.bytes_max() < 512 * kMiB);
  if (soak()) CHECK(small_after <= 5.0);
  if (soak()) WARN(rate >= 5000);  // a property of the machine
  CHECK(world.query("SELECT n FROM sale_counter") == sold);
  CHECK(facts.last_sequence == flushed["sequence"].get<Sequence>());
  CHECK(facts.last_sale == sold);
  auto outcome = side.restore({});
  CHECK(outcome.proven);
  check_equal_to(world.db, side.staging);
  world.stop_agent();
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("stress: a till without pause that checkpoints by itself") { sell_without_pause({}); }

TEST_CASE("stress: a till without pause that never checkpoints") {
  sell_without_pause({.options = {"--autocheckpoint", "0"}});
}

TEST_CASE("stress: two tills without pause in one database") { sell_without_pause({.writers = 2}); }

TEST_CASE("stress: a till without pause while the application reads one old state") {
  sell_without_pause({.reader = true, .options = {"--page-size", "1024"}});
}

TEST_CASE("stress: two tills that never checkpoint, while the application reads one old state") {
  sell_without_pause({.writers = 2, .reader = true, .options = {"--page-size", "1024", "--autocheckpoint", "0"}});
}

TEST_SUITE_END();
