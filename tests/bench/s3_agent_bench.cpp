// The agent with a store on S3 (Ceph RGW on loopback, which it starts): how fast a FULL goes up, and in which memory.
//
//   s3_agent_bench [compare|memory]... [--mb N] [--pairs N] [--seconds S] [--rclone OPTION]...
//
//   compare   a FULL of so many MB that nothing compresses; the same bytes by the store's own code alone (s3_uploader)
//             and by rclone, as one prepared file, with the agent's part size and connections; in turns, after a round
//             that warms up. Rates are of the agent's UPLOAD step (the last object's answer and the record of the step
//             included), and of the processes from their start to their end
//   memory    of the agent: idle, at 5 sales/s, in a FULL and in its UPLOAD. The peak is the kernel's (VmHWM), set back
//             before each; the figure beside it is the median of what was resident meanwhile
// Nothing named: both.
#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <iostream>

#include "bench/measured.h"
#include "integration/world.h"
#include "s3/s3_server.h"
#include "support/process_figures.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;
using Steady = std::chrono::steady_clock;

constexpr double kMb = 1e6;

double seconds_since(Steady::time_point start) { return std::chrono::duration<double>(Steady::now() - start).count(); }
double at(const Json& time) { return static_cast<double>(to_ms(must(parse_rfc3339(time.get<std::string>())))) / 1000; }

// CPU of the server's three processes.
double server_cpu() {
  double sum = 0;
  const auto run = std::filesystem::path(S3Server::running().credentials_file()).parent_path() / "run";
  for (auto& file : std::filesystem::directory_iterator(run)) {
    if (file.path().extension() != ".pid") continue;
    pid_t pid = 0;
    std::ifstream(file.path()) >> pid;
    sum += cpu_seconds_in_ticks(pid);
  }
  return sum;
}

// A shop with a history of so many MB, which nothing compresses, and a store in the bucket.
struct Shop : World {
  s3::S3Store::Options options = S3Server::running().options();

  explicit Shop(int64_t megabytes) : World("", "1s") {
    store_settings = test::store_settings(options);
    write_config("");
    start_shop({"--sales", "100"});
    wait_for_shop();
    auto app = application();
    must(app.execute("PRAGMA synchronous=OFF; CREATE TABLE history(id INTEGER PRIMARY KEY, body)"));
    auto insert =
        must(app.prepare("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<5000) INSERT INTO "
                         "history(body) SELECT randomblob(1000) FROM g"));
    while (must(app.query_integer("PRAGMA page_count")) * 4096 < megabytes * 1000000) must(insert.run());
    insert = {};
    must(app.execute("PRAGMA wal_checkpoint(TRUNCATE)"));
  }
  // Shares nothing with what is in the store.
  std::string begin_full() { return call("backup", {{"type", "full"}, {"dedup", false}})["uuid"]; }
  Json workflow(const std::string& uuid) { return call("workflows", {{"uuid", uuid}})[0]; }
  Json wait_for_end(const std::string& uuid) {
    const Json ended = call("workflow.wait", {{"uuid", uuid}});
    if (ended["status"] != "COMPLETED") throw std::logic_error(ended.dump());
    return workflow(uuid);
  }
  // Until its UPLOAD has begun. Out of state.db: to ask the agent would cost it memory and time.
  void wait_for_upload(const std::string& uuid, const std::function<void()>& meanwhile) {
    const std::string sql =
        "SELECT count(*) FROM workflow_steps s JOIN workflows w ON w.id=s.workflow_id WHERE w.uuid='" + uuid +
        "' AND (s.step_type='UPLOAD' AND s.started_at IS NOT NULL OR w.status NOT IN ('PENDING', 'IN_PROGRESS'))";
    const auto has_begun = [&] {
      auto state = must(Connection::open(folder / "state/state.db", SQLITE_OPEN_READONLY));
      must(state.execute("PRAGMA busy_timeout = 60000"));
      return must(state.query_integer(sql)) > 0;
    };
    while (!has_begun()) {
      meanwhile();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
};

// One side of a comparison: what a run of it took.
struct Side {
  const char* name;
  std::vector<double> seconds, cpu, server;  // server: its CPU, of the two cores
  std::vector<double> rates, ratios;         // ratios: of rates, to rclone's in the same round
};

void compare(int64_t megabytes, int pairs, const std::vector<std::string>& more) {
  Shop shop(megabytes);
  shop.start_agent();
  shop.flush();
  const uint64_t part = s3::S3Store::Options{}.part_size;
  const uint64_t connections = s3::S3Store::Options{}.under_way_max / part;
  // rclone's configuration; what it does not read from here it does as it comes.
  const std::string conf = shop.folder / "rclone.conf", file = shop.folder / "prepared";
  {
    std::ofstream out(conf);
    std::ifstream credentials(shop.options.credentials_file);
    out << "[s3]\ntype = s3\nprovider = Ceph\nendpoint = " << shop.options.address.endpoint << "\n";
    for (std::string line; std::getline(credentials, line);) {
      const auto equals = line.find('=');
      if (line.starts_with("aws_access_key_id")) out << "access_key_id =" << line.substr(equals + 1) << "\n";
      if (line.starts_with("aws_secret_access_key")) out << "secret_access_key =" << line.substr(equals + 1) << "\n";
    }
  }
  const std::string remote = "s3:" + shop.options.address.bucket + "/" + shop.options.prefix + "/rclone";
  // Told not to make the bucket, and not to hash the whole file beforehand: as fast as it can be.
  const auto rclone = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"rclone", "--config", conf, "--s3-no-check-bucket"});
    return run_measured(words).cpu;
  };
  Side whole{"agent, whole backup", {}, {}, {}, {}, {}}, step{"agent, UPLOAD", {}, {}, {}, {}, {}},
      own{"s3_uploader", {}, {}, {}, {}, {}}, theirs{"rclone", {}, {}, {}, {}, {}};
  double bytes = 0;
  size_t objects = 0;
  for (int round = 0; round <= pairs; round++) {
    const auto keep = [&](Side& side, double seconds, double cpu, double server) {
      if (round == 0) return;  // it warms up
      side.seconds.push_back(seconds);
      side.cpu.push_back(cpu);
      side.server.push_back(server);
      side.rates.push_back(bytes / seconds);
    };
    // The agent.
    {
      const pid_t agent = shop.agent.pid();
      const double cpu = cpu_seconds_in_ticks(agent), server = server_cpu();
      const std::string uuid = shop.begin_full();
      shop.wait_for_upload(uuid, [] {});
      const double upload_cpu = cpu_seconds_in_ticks(agent), upload_server = server_cpu();
      const Json ended = shop.wait_for_end(uuid);
      const double agent_end = cpu_seconds_in_ticks(agent), server_end = server_cpu();
      for (auto& one : ended["steps"]) {
        if (one["step_type"] == "CAPTURE_TABLE_DATA") {
          bytes = 0;
          objects = one["data"]["packs"].size();
          for (auto& pack : one["data"]["packs"]) bytes += pack["size"].get<double>();
        }
        if (one["step_type"] != "UPLOAD") continue;
        keep(step, at(one["ended_at"]) - at(one["started_at"]), agent_end - upload_cpu, server_end - upload_server);
      }
      keep(whole, at(ended["completed_at"]) - at(ended["created_at"]), agent_end - cpu, server_end - server);
    }
    if (round == 0) {
      std::ofstream out(file, std::ios::binary);
      SystemRandom random;
      Bytes piece(1 << 20);
      for (auto left = static_cast<uint64_t>(bytes); left > 0; left -= std::min<uint64_t>(left, piece.size())) {
        random.fill(piece);
        out.write(reinterpret_cast<const char*>(piece.data()),
                  static_cast<long>(std::min<uint64_t>(left, piece.size())));
      }
    }
    const auto timed = [&](Side& side, const std::function<double()>& run) {
      const double server = server_cpu();
      const auto start = Steady::now();
      const double cpu = run();
      keep(side, seconds_since(start), cpu, server_cpu() - server);
    };
    const std::string key = shop.options.prefix + "/own-" + std::to_string(round);
    timed(own, [&] {
      return run_measured({shop.bin + "/s3_uploader", shop.options.address.endpoint, shop.options.address.bucket,
                           shop.options.credentials_file, file, key, shop.folder / "journal"})
          .cpu;
    });
    timed(theirs, [&] {
      std::vector<std::string> words{"copyto", file, remote, "--ignore-times", "--s3-disable-checksum"};
      for (const char* option : {"--s3-chunk-size", "--s3-upload-cutoff"})
        words.insert(words.end(), {option, std::to_string(part) + "B"});
      words.insert(words.end(), {"--s3-upload-concurrency", std::to_string(connections)});
      words.insert(words.end(), more.begin(), more.end());
      return rclone(words);
    });
    rclone({"deletefile", remote});
    rclone({"deletefile", "s3:" + shop.options.address.bucket + "/" + key});
    if (round == 0) continue;
    std::printf("compare: round %d: UPLOAD %.1f, s3_uploader %.1f, rclone %.1f MB/s\n", round, step.rates.back() / kMb,
                own.rates.back() / kMb, theirs.rates.back() / kMb);
    std::fflush(stdout);
  }
  std::vector<double> starts;
  for (int i = 0; i < 5; i++) {
    const auto start = Steady::now();
    rclone({"lsf", remote + "/nothing"});
    starts.push_back(seconds_since(start));
  }
  std::printf(
      "compare: %.1f MB stored in %zu packs, parts of %llu MiB, %llu connections, %d rounds after one; rclone takes "
      "%.2f s to start and list nothing\n",
      bytes / kMb, objects, static_cast<unsigned long long>(part >> 20), static_cast<unsigned long long>(connections),
      pairs, median(starts));
  for (Side* side : {&whole, &step, &own, &theirs}) {
    for (size_t i = 0; i < side->rates.size(); i++) side->ratios.push_back(side->rates[i] / theirs.rates[i]);
    std::vector<double> shares;
    for (size_t i = 0; i < side->seconds.size(); i++) shares.push_back(side->server[i] / side->seconds[i]);
    std::printf(
        "compare: %-20s %.1f MB/s (%.1f to %.1f), %.2f s, to rclone %.2f (%.2f to %.2f); %.2f s of CPU, the server's "
        "%.2f s: %.2f cores\n",
        side->name, median(side->rates) / kMb, quantile(side->rates, 0) / kMb, quantile(side->rates, 1) / kMb,
        median(side->seconds), median(side->ratios), quantile(side->ratios, 0), quantile(side->ratios, 1),
        median(side->cpu), median(side->server), median(shares));
  }
  shop.stop_agent();
}

void memory(int64_t megabytes, double seconds) {
  Shop shop(megabytes);
  shop.start_agent();
  shop.flush();
  pid_t agent = shop.agent.pid();
  const auto set_back = [&] { forget_peak(agent); };
  std::vector<double> resident;
  const auto look = [&] { resident.push_back(memory_kib(agent, "VmRSS")); };
  const auto tell = [&](const char* when) {
    std::printf("memory: %ld MB, %-40s peak %.1f MiB, resident %.1f MiB, at the end %.1f (anonymous %.1f)\n",
                static_cast<long>(megabytes), when, memory_kib(agent, "VmHWM") / 1024, median(resident) / 1024,
                memory_kib(agent, "VmRSS") / 1024, memory_kib(agent, "RssAnon") / 1024);
    std::fflush(stdout);
    resident.clear();
    set_back();
  };
  const auto for_a_while = [&](double so_long) {
    for (const auto start = Steady::now(); seconds_since(start) < so_long;) {
      look();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  };
  const auto idle = [&](const char* when) {
    shop.until("the agent let go", [&] { return shop.database()["mode"] == "idle"; });
    set_back();
    resident.clear();
    for_a_while(seconds / 2);
    tell(when);
  };
  look();
  tell("first copy made");
  idle("idle, after the first copy");
  const auto sell = [&](const char* when) {
    shop.start_shop({"--rate", "5", "--seconds", std::to_string(seconds)});
    while (shop.shop.is_running()) for_a_while(0.1);
    shop.wait_for_shop();
    tell(when);
  };
  sell("5 sales/s, after the first copy");
  const auto full = [&](const char* capture, const char* upload) {
    set_back();
    resident.clear();
    const std::string uuid = shop.begin_full();
    shop.wait_for_upload(uuid, look);
    tell(capture);
    std::atomic<bool> is_over = false;
    std::thread waiter([&] {
      shop.wait_for_end(uuid);
      is_over = true;
    });
    while (!is_over) for_a_while(0.1);
    waiter.join();
    tell(upload);
  };
  full("FULL, until its UPLOAD", "FULL, its UPLOAD");
  idle("idle, after a FULL");
  sell("5 sales/s, after a FULL");
  full("second FULL, until its UPLOAD", "second FULL, its UPLOAD");
  shop.stop_agent();
  shop.start_agent();
  shop.flush();
  agent = shop.agent.pid();
  idle("idle, after a start");
  sell("5 sales/s, after a start");
  shop.stop_agent();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> what, more;
  int64_t megabytes = 500;
  int pairs = 5;
  double seconds = 20;
  CLI::App app{"the agent with a store on S3: its rate, and its memory"};
  app.add_option("what", what)->check(CLI::IsMember({"compare", "memory"}));
  app.add_option("--mb", megabytes)->check(CLI::Range(20, 10000));
  app.add_option("--pairs", pairs)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds)->check(CLI::Range(2.0, 3600.0));
  app.add_option("--rclone", more, "a further option of rclone's upload, as --rclone=--s3-v2-auth");
  CLI11_PARSE(app, argc, argv);
  doctest::Context context;  // World reports through it
  context.setAsDefaultForAssertsOutOfTestCases();
  if (what.empty()) what = {"compare", "memory"};
  // rclone 1.60 does not start where this is set.
  unsetenv("AWS_CA_BUNDLE");
  // What a server in memory can hold: it keeps what was deleted for a while.
  setenv("S3_STORE_BYTES", std::to_string(uint64_t{14} << 30).c_str(), 0);
  const auto server = S3Server::start("ceph_rgw");
  if (!server) {
    std::cerr << "ceph_rgw is not installed: tests/support/s3/install.sh does it\n";
    return 1;
  }
  for (auto& one : what) {
    if (one == "compare") compare(megabytes, pairs, more);
    if (one == "memory") memory(megabytes, seconds);
  }
}
