// What an upload to S3 costs, against Ceph RGW on loopback, which it starts.
//
//   s3_bench [upload|limit|resume]... [--mb N] [--rounds N] [--beside PROGRAM] [--server ceph_rgw|swift_s3api]
//
//   upload   one object of so many MB: MB/s, the peak of the uploader's memory, its seconds of CPU; in turns with
//   another
//            s3_uploader, as of an earlier commit, if one is given, and then the ratio within a round
//   limit    at 4 MiB/s for ten seconds: how far the rate is off
//   resume   the uploader is killed at half: bytes that were sent in both runs together, beside the object's
// Nothing named: all.
#define DOCTEST_CONFIG_IMPLEMENT
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <set>

#include "s3/behind_proxy.h"
#include "support/process_figures.h"
#include "support/seeded_random.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;
using Steady = std::chrono::steady_clock;
constexpr double kMb = 1e6;

struct Uploader {
  TemporaryDirectory folder;
  uint64_t bytes;
  std::string key;

  explicit Uploader(uint64_t size) : bytes(size), key(S3Server::running().options().prefix + "/k") {
    std::ofstream out(folder / "file", std::ios::binary);
    SeededRandom random(size);
    Bytes piece(1 << 20);
    for (uint64_t left = bytes; left > 0; left -= std::min<uint64_t>(left, piece.size())) {
      random.fill(piece);
      out.write(reinterpret_cast<const char*>(piece.data()), static_cast<long>(std::min<uint64_t>(left, piece.size())));
    }
  }
  static std::string own() { return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "s3_uploader"; }
  pid_t start(const std::string& endpoint, const std::string& program = own()) const {
    const pid_t pid = fork();
    if (pid == 0) {
      execl(program.c_str(), program.c_str(), endpoint.c_str(), S3Server::kBucket,
            S3Server::running().credentials_file().c_str(), (folder / "file").c_str(), key.c_str(),
            (folder / "journal").c_str(), nullptr);
      _exit(127);
    }
    return pid;
  }
  struct Cost {
    bool is_done = false;
    double cpu_s = 0, peak_mib = 0;
  };
  static Cost wait(pid_t pid) {
    int status = 0;
    rusage usage{};
    wait4(pid, &status, 0, &usage);
    const auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
    return {WIFEXITED(status) && WEXITSTATUS(status) == 0, seconds(usage.ru_utime) + seconds(usage.ru_stime),
            static_cast<double>(usage.ru_maxrss) / 1024};
  }
};

double seconds_since(Steady::time_point start) { return std::chrono::duration<double>(Steady::now() - start).count(); }

void upload(uint64_t bytes, int rounds, const std::string& beside) {
  const double mb = static_cast<double>(bytes) / kMb;
  const auto rate = [&](const char* name, const std::string& program) {
    const Uploader uploader(bytes);
    const auto start = Steady::now();
    const auto cost = Uploader::wait(uploader.start(S3Server::running().endpoint(), program));
    const double seconds = seconds_since(start);
    std::printf("%s %.0f MB: %s, %.1f s, %.0f MB/s, %.2f s of CPU, peak %.1f MiB\n", name, mb,
                cost.is_done ? "done" : "FAILED", seconds, mb / seconds, cost.cpu_s, cost.peak_mib);
    std::fflush(stdout);
    return mb / seconds;
  };
  std::vector<double> ratios;
  for (int round = 0; round < rounds; round++) {
    // Who begins takes turns, too.
    const double first = !beside.empty() && round % 2 == 1 ? rate("beside", beside) : 0;
    const double ours = rate("upload", Uploader::own());
    const double theirs = !beside.empty() && first == 0 ? rate("beside", beside) : first;
    if (theirs > 0) ratios.push_back(ours / theirs);
  }
  if (!ratios.empty())
    std::printf("upload to the one beside: %.2f (%.2f to %.2f) of %zu rounds\n", median(ratios), quantile(ratios, 0),
                quantile(ratios, 1), ratios.size());
}

void limit() {
  constexpr uint64_t kRate = 4 << 20, kSeconds = 10;
  const Uploader uploader(kRate * kSeconds);
  setenv("UPLOAD_LIMIT", std::to_string(kRate).c_str(), 1);
  const auto start = Steady::now();
  const auto cost = Uploader::wait(uploader.start(S3Server::running().endpoint()));
  const double seconds = seconds_since(start);
  unsetenv("UPLOAD_LIMIT");
  std::printf("limit 4 MiB/s: %s, %.2f s instead of %llu, %+.1f %%\n", cost.is_done ? "done" : "FAILED", seconds,
              static_cast<unsigned long long>(kSeconds), (static_cast<double>(kSeconds) / seconds - 1) * 100);
}

void resume(uint64_t bytes) {
  FaultProxy proxy(S3Server::running().port());
  const Uploader uploader(bytes);
  const pid_t first = uploader.start(proxy.endpoint());
  while (proxy.bytes_received() < bytes / 2) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  kill(first, SIGKILL);
  (void)Uploader::wait(first);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const uint64_t before = proxy.bytes_received();
  const auto start = Steady::now();
  const auto cost = Uploader::wait(uploader.start(proxy.endpoint()));
  const double all = static_cast<double>(proxy.bytes_received());
  std::printf(
      "resume of %.0f MB, killed after %.0f MB: %s, %.1f s, %.0f MB sent then, %.1f %% more than the object in all\n",
      static_cast<double>(bytes) / kMb, static_cast<double>(before) / kMb, cost.is_done ? "done" : "FAILED",
      seconds_since(start), (all - static_cast<double>(before)) / kMb, (all / static_cast<double>(bytes) - 1) * 100);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"What an upload to S3 costs"};
  std::vector<std::string> what;
  uint64_t mb = 512;
  int rounds = 3;
  std::string kind = "ceph_rgw", beside;
  app.add_option("what", what, "upload, limit, resume");
  app.add_option("--mb", mb);
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  app.add_option("--beside", beside, "another s3_uploader")->check(CLI::ExistingFile);
  app.add_option("--server", kind);
  CLI11_PARSE(app, argc, argv);
  const std::set<std::string> chosen(what.begin(), what.end());
  const auto wanted = [&](const char* name) { return chosen.empty() || chosen.contains(name); };
  // Ceph keeps in memory what every round stores; full, it answers no more.
  setenv("S3_STORE_BYTES", std::to_string(uint64_t{14} << 30).c_str(), 0);
  const auto server = S3Server::start(kind);
  if (!server) {
    std::cerr << kind << " is not installed: tests/support/s3/install.sh does it\n";
    return 1;
  }
  if (wanted("upload")) upload(mb << 20, rounds, beside);
  if (wanted("limit")) limit();
  if (wanted("resume")) resume(mb << 20);
  return 0;
}
