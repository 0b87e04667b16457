// The command line straight over a store in a folder, as `tillsync --store` does it.
#include <fcntl.h>
#include <unistd.h>

#include "agent/cli/direct_store.h"
#include "restore/restore_fixture.h"
#include "store/open_store.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
struct Shop : RestoreWorld {
  StoreAccess access;
  std::string url;

  Shop() {
    run("CREATE TABLE t(id INTEGER PRIMARY KEY, v, who); INSERT INTO t VALUES(1, 'a', 7)");
    remember();
    snapshot();
    for (int i = 0; i < 3; i++) {
      sell("INSERT INTO t(v, who) VALUES('r" + std::to_string(i) + "', 8)");
      seal();
    }
    snapshot(SnapshotType::incremental);
    must(files.make_directories(folder.path() + "/store"));
    url = "file://" + folder.path() + "/store";
    auto out = must(make_store({.url = url}, files, clock, random));
    for (auto& key : store.keys()) copy(*out, key, *store.content(key));
    copy(*out, keys::terminal_json(lineage.terminal),
         to_bytes(as_bytes(R"({"id": "00112233-4455-6677-8899-aabbccddeeff", "name": "till-3"})")));
    must(out->replace(keys::terminal_name("shop/till-3"),
                      as_bytes(R"({"id": "00112233-4455-6677-8899-aabbccddeeff"})")));
    access.config.store.url = url;
    access.config.terminal.name = "some-host";
  }
  static void copy(ObjectStore& to, const std::string& key, const Bytes& bytes) {
    BytesSource source(bytes);
    must(to.put(key, source));
  }
};
}  // namespace

TEST_CASE("store: snapshots, log, restore, verify and log verify from a folder") {
  Shop shop;
  auto commands = must(open_store_directly(shop.access));
  auto snapshots = must(commands->snapshots({}));
  REQUIRE(snapshots.size() == 2);
  CHECK(snapshots[1]["sequence"] == 3);
  CHECK(snapshots[1]["is_verified"] == false);

  std::vector<Json> actions;
  auto keep = [&](const Json& action) -> Result<void> {
    actions.push_back(action);
    return {};
  };
  must(commands->log({{"database", "pos"}}, keep));
  REQUIRE(actions.size() == 3);
  CHECK(actions[2]["data"]["v"] == "r2");
  CHECK(actions[2]["status"] == "COMPLETED");
  const std::string time = actions[1]["timestamp"];
  actions.clear();
  must(commands->log({{"since", time}, {"entity", "4"}}, keep));
  CHECK(actions.size() == 1);
  CHECK(kind_of(commands->log({{"database", "none"}}, keep)) == ErrorKind::not_found);

  const std::string target = shop.folder.path() + "/restored.db";
  const int fd = ::open(target.c_str(), O_RDWR | O_CREAT, 0600);
  std::vector<std::string> steps;
  auto restored = must(commands->restore({{"transaction", 2}}, fd, [&](const Json& progress) {
    if (steps.empty() || steps.back() != progress["step"]) steps.push_back(progress["step"]);
    return true;
  }));
  ::close(fd);
  CHECK(restored["proven"] == true);
  CHECK(restored["transaction"] == 2);
  CHECK(steps == std::vector<std::string>{"VALIDATE_SNAPSHOT", "FETCH_PACKS", "RESTORE_DATABASE", "REPLAY_ACTION_LOG",
                                          "FINAL_VALIDATION"});
  auto db = must(Connection::open(target, SQLITE_OPEN_READWRITE));
  check_same(dump(db), shop.copies.at(2));
  CHECK_FALSE(restored.contains("note"));
  const int again = ::open((target + "2").c_str(), O_RDWR | O_CREAT, 0600);
  auto unchecked = must(commands->restore({{"no_integrity_check", true}}, again, nullptr));
  ::close(again);
  CHECK(unchecked["proven"] == true);
  CHECK(contains(unchecked["note"].get<std::string>(), "integrity_check was left out"));
  CHECK(kind_of(commands->restore({}, -1, [](const Json&) { return false; })) == ErrorKind::cancelled);
  for (auto& entry : must(shop.files.list(shop.folder.path()))) CHECK(!entry.name.starts_with("tillsync-"));

  CHECK(must(commands->verify({{"data", false}}, nullptr))["ok"] == true);
  auto verified = must(commands->verify({{"data", true}}, nullptr));
  CHECK_MESSAGE(verified["ok"] == true, verified.dump());
  CHECK(verified["snapshots"][1]["method"] == "replay");
  CHECK(must(commands->snapshots({}))[1]["is_verified"] == true);
  auto log = must(commands->log_verify({}, nullptr));
  CHECK_MESSAGE(log["ok"] == true, log.dump());
  CHECK(log["segments"].size() == 3);
  for (auto& segment : log["segments"]) CHECK(segment["proven"] == true);

  // A segment that is gone is said by name, and the rest is still looked at.
  must(shop.files.remove(shop.folder.path() + "/store/" + shop.segments[1]));
  auto broken = must(commands->log_verify({}, nullptr));
  CHECK(broken["ok"] == false);
  CHECK(broken["segments"].size() == 2);
  CHECK(contains(broken["segments"][1]["error"], shop.segments[2]));
}

TEST_CASE("store: a terminal is found by id, by name, or as the only one, of several one has to be chosen") {
  Shop shop;
  for (const char* name : {"", "00112233-4455-6677-8899-aabbccddeeff", "shop/till-3", "till-3"}) {
    shop.access.terminal = name;
    must(open_store_directly(shop.access));
  }
  shop.access.terminal = "nobody";
  CHECK(kind_of(open_store_directly(shop.access)) == ErrorKind::not_found);
  auto out = must(make_store({.url = shop.url}, shop.files, shop.clock, shop.random));
  const Uuid other = must(Uuid::parse("10112233-4455-6677-8899-aabbccddeeff"));
  Shop::copy(*out, keys::terminal_json(other), to_bytes(as_bytes(R"({"name": "till-4"})")));
  shop.access.terminal = "";
  Error error = refused(open_store_directly(shop.access));
  CHECK(error.kind == ErrorKind::usage);
  CHECK(contains(error.context, "till-4"));
  CHECK(contains(error.context, "till-3"));
  shop.access.config.terminal.name = "shop/till-3";
  must(open_store_directly(shop.access));
}

TEST_CASE("store: a snapshot that is pruned while verify runs is no damage, one that lost only its pack is") {
  Shop shop;
  auto commands = must(open_store_directly(shop.access));
  auto folder = must(make_store({.url = shop.url}, shop.files, shop.clock, shop.random));
  const auto snapshots = must(commands->snapshots({}));
  REQUIRE(snapshots.size() == 2);
  const std::string prefix = prefix_of(shop.lineage);
  const std::string last = keys::manifest(prefix, must(Uuid::parse(snapshots[1]["uuid"].get<std::string>())));
  const Bytes manifest = must(read_object(*folder, last, 1 << 20));
  bool removed = false;
  for (bool data : {false, true}) {
    removed = false;
    auto verified = must(commands->verify({{"data", data}}, [&](const Json&) {
      if (!std::exchange(removed, true)) must(folder->remove(last));
      return true;
    }));
    REQUIRE(removed);
    INFO(verified.dump(1));
    CHECK(verified["ok"] == true);
    CHECK(verified["snapshots"].size() == 1);
    BytesSource again(manifest);
    must(folder->put(last, again));
  }
  const Manifest whole = must(Manifest::decode(manifest, last, shop.lineage));
  REQUIRE_FALSE(whole.packs.empty());
  must(folder->remove(whole.packs.back().key));
  auto damaged = must(commands->verify({{"data", false}}, nullptr));
  CHECK(damaged["ok"] == false);
  CHECK(damaged["snapshots"].size() == 2);
}

TEST_SUITE_END();
