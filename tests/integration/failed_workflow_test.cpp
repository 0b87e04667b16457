// What status says of workflows that failed, or wait for their next try, with the real agent.
#include "integration/world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

struct FailingWorld : World {
  FailingWorld() {
    auto app = application();
    must(
        app.execute("PRAGMA journal_mode=WAL; CREATE TABLE sale(id INTEGER PRIMARY KEY, what TEXT);"
                    "INSERT INTO sale(what) SELECT hex(randomblob(400)) FROM json_each('[1,2,3,4,5,6,7,8,9,10]') a, "
                    "json_each('[1,2,3,4,5,6,7,8,9,10]') b, json_each('[1,2,3,4,5,6,7,8,9,10]') c"));
  }
  std::optional<Json> problem(const std::string& code) {
    const Json status = call("status");
    for (auto& problem : status["problems"])
      if (problem["code"] == code) return problem;
    return std::nullopt;
  }
  std::vector<std::filesystem::path> packs() {
    std::vector<std::filesystem::path> all;
    for (auto& entry : std::filesystem::recursive_directory_iterator(store))
      if (entry.path().extension() == ".pack") all.push_back(entry.path());
    return all;
  }
  std::string back_up_to_its_end() {
    Json started = call("backup", {{"type", "full"}});
    return call("workflow.wait", {{"uuid", started["uuid"]}})["status"];
  }
};

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("failed workflows: what failed is a problem until one succeeds, what waits while it waits") {
  FailingWorld world;
  world.start_agent();
  world.back_up("full");
  CHECK_FALSE(world.problem("backup"));
  CHECK_FALSE(world.problem("restore"));

  const auto packs = world.packs().front().parent_path();
  std::filesystem::rename(packs, world.folder / "packs");
  CHECK(world.cli({"restore", "--to", world.folder / "back.db"}).status != 0);
  auto restore = world.problem("restore");
  REQUIRE(restore);
  CHECK(contains((*restore)["text"], "pos: the restore of 20"));
  CHECK(contains((*restore)["text"], ".pack"));

  std::ofstream(packs.string()) << "not a folder";
  const Json refused = world.call("backup", {{"type", "full"}, {"dedup", false}});
  CHECK(world.call("workflow.wait", {{"uuid", refused["uuid"]}})["status"] == "FAILED");
  auto backup = world.problem("backup");
  REQUIRE(backup);
  CHECK(contains((*backup)["text"], "pos: the backup of 20"));
  CHECK(contains((*backup)["text"], "failed: UPLOAD: "));
  CHECK(contains((*backup)["remedy"], "tillsync backup --wait"));
  // Over a restart.
  world.stop_agent();
  world.start_agent();
  CHECK(world.problem("backup"));
  CHECK(world.problem("restore"));

  std::filesystem::remove(packs);
  std::filesystem::rename(world.folder / "packs", packs);
  world.back_up("full");
  CHECK_FALSE(world.problem("backup"));
  REQUIRE(world.cli({"restore", "--to", world.folder / "back.db"}).status == 0);
  CHECK_FALSE(world.problem("restore"));

  // Away, as a share is whose server is off.
  std::filesystem::rename(world.store, world.folder / "away");
  const Json waiting = world.call("backup", {{"type", "full"}});
  world.until("it waits", [&] { return world.problem("backup").has_value(); });
  backup = world.problem("backup");
  CHECK(contains((*backup)["text"], "pos: the backup waits and tries again"));
  CHECK(contains((*backup)["remedy"], "tillsync cancel " + waiting["uuid"].get<std::string>()));
  std::filesystem::rename(world.folder / "away", world.store);
  CHECK(world.call("workflow.wait", {{"uuid", waiting["uuid"]}})["status"] == "COMPLETED");
  CHECK_FALSE(world.problem("backup"));
}
