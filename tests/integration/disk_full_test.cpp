// A disk that fills up, with the real agent: state_dir on a small file system of its own (as root, where the kernel
// lets us mount one).
#include <sys/mount.h>

#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct SmallDisk {
  std::string path;
  bool mounted = false;
  SmallDisk(const std::string& at, const std::string& size) : path(at) {
    std::filesystem::create_directory(path);
    mounted = ::mount("none", path.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted) ::umount2(path.c_str(), MNT_DETACH);
  }
  uint64_t free() const { return std::filesystem::space(path).available; }
  // Somebody else's file leaves so much.
  void leave(uint64_t bytes) {
    std::filesystem::remove(path + "/other");
    std::ofstream out(path + "/other", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (free() > bytes + block.size() && out) out << block << std::flush;
    REQUIRE(free() > bytes / 2);
  }
  void make_room() { std::filesystem::remove(path + "/other"); }
};

constexpr uint64_t kMiB = 1 << 20;

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("disk ladder: a full disk costs the till nothing, and nothing is lost") {
  World world;
  SmallDisk disk(world.folder / "state", "256m");
  if (!disk.mounted) {
    MESSAGE("skipped: a file system can't be mounted here");
    return;
  }
  world.start_shop({"--sales", "100", "--seed", "3"});
  world.wait_for_shop();
  {
    std::ifstream in(world.config);
    std::stringstream text;
    text << in.rdbuf();
    std::string changed = text.str();
    const auto at = changed.find("min_free = \"0B\"");
    REQUIRE(at != changed.npos);
    changed.replace(at, 15, "min_free = \"64MiB\"");
    std::ofstream(world.config, std::ios::trunc) << changed;
  }
  auto rung = [&] { return world.call("status")["disk"]["rung"].get<std::string>(); };
  world.start_agent();
  world.back_up("full");
  CHECK(rung() == "roomy");
  world.start_shop({"--sales", "300", "--rate", "10", "--seed", "4"});
  for (auto [left, name] : {std::pair{112 * kMiB, "uploads_first"}, {84 * kMiB, "compact"}, {68 * kMiB, "let_go"}}) {
    disk.leave(left);
    world.until(name, [&, name = name] { return rung() == name; });
    const Json status = world.call("status");
    bool said = false;
    for (auto& problem : status["problems"])
      if (problem["code"] == "disk_low" || problem["code"] == "disk_full") said = true;
    CHECK(said);
  }
  CHECK(world.database()["mode"] == "paused");
  // Nothing of the application's is open: it can be replaced, and its log emptied.
  for (auto& fd : std::filesystem::directory_iterator("/proc/" + std::to_string(world.agent.pid()) + "/fd")) {
    std::error_code gone;
    const std::string open = std::filesystem::read_symlink(fd.path(), gone);
    if (open.starts_with(world.db)) FAIL(open);
  }
  // A snapshot would cross the floor.
  auto backup = world.cli({"backup", "--type", "full", "--wait", "--timeout", "2s"});
  CHECK(backup.status != 0);
  CHECK(disk.free() > 63 * kMiB);
  world.wait_for_shop();
  std::string sales = world.query_text("SELECT n FROM sale_counter");
  disk.make_room();
  world.until("capture goes on", [&] { return world.database()["mode"] != "paused" && rung() == "roomy"; });
  world.flush();
  StoreSide side(world);
  auto outcome = side.restore({});
  CHECK(outcome.proven);
  check_equal_to(world.db, side.staging);
  world.stop_agent();
}

TEST_SUITE_END();
