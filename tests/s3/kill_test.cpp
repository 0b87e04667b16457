// An upload whose process is killed, as a power cut would.
#include <doctest/doctest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "s3/behind_proxy.h"
#include "support/seeded_random.h"

extern char** environ;

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

pid_t start(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::filesystem::read_symlink("/proc/self/exe").parent_path() / "s3_uploader");
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0)
    throw std::runtime_error("no " + arguments[0]);
  return pid;
}

int status_of(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE(
    "s3 upload: the process is killed again and again, in the end no part went up more than once, but those under "
    "way") {
  BehindProxy s;
  TemporaryDirectory folder;
  constexpr uint64_t kPart = 8 << 20;  // the default
  Bytes bytes(7 * kPart + 999);
  SeededRandom(3).fill(bytes);
  std::ofstream(folder / "file").write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  const std::string key = s.options.prefix + "/k";
  const std::vector<std::string> arguments{
      s.proxy.endpoint(), S3Server::kBucket, S3Server::running().credentials_file(), folder / "file", key,
      folder / "journal"};
  // Each part waits, so that a kill falls into the middle.
  s.proxy.add(Fault{.kind = Fault::Kind::delay, .method = "PUT", .target = "partNumber", .times = 99, .pause = 100ms});
  int kills = 0;
  for (size_t parts = 2; parts <= 6; parts += 2) {
    const pid_t pid = start(arguments);
    const auto patience = std::chrono::steady_clock::now() + 20s;
    while (s.proxy.count("PUT", "partNumber") < parts && std::chrono::steady_clock::now() < patience)
      std::this_thread::sleep_for(5ms);
    kill(pid, SIGKILL);
    kills += status_of(pid) == -1;
  }
  CHECK(kills == 3);
  s.proxy.clear_faults();
  CHECK(status_of(start(arguments)) == 0);
  CHECK(must(s.store->head("k")).size == bytes.size());
  // Past the proxy, which holds a whole answer back: longer than its clients are patient.
  auto direct = s.options;
  direct.address.endpoint = S3Server::running().endpoint();
  S3Bucket past(direct);
  CHECK(must(read_object(past.store, "k", 64 << 20)) == bytes);
  CHECK(s.proxy.overwritten().empty());
  // At most four parts are under way at a time.
  const uint64_t sent = s.proxy.bytes_received();
  MESSAGE("sent ", sent, " bytes of ", bytes.size(), " in ", kills + 1, " runs");
  CHECK(sent < bytes.size() + static_cast<uint64_t>(kills) * 4 * kPart);
}

TEST_SUITE_END();
