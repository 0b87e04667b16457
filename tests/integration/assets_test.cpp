// File assets and configuration in backups: captured by the agent, restored through it and without one.
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/config/config.h"
#include "assets/asset_reference.h"
#include "integration/store_side.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

void run(World& world, const std::string& sql) {
  auto connection = world.application();
  must(connection.execute("PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL"));
  must(connection.execute(sql));
}

// The database lies in the asset's folder, as it does on many tills.
struct Shop : World {
  std::string media = folder / "media";
  SeededRandom random{3};

  Shop() {
    std::filesystem::create_directories(media + "/icons/empty");
    // Letting go of the database removes its log, and that is a new time of the folder, and another tree.
    database_settings += "idle_release = \"1h\"\n";
    write_config("[[assets]]\nname = \"till\"\npath = \"" + folder.path() +
                 "\"\ninclude = [\"media/**\", \"pos.db*\", \"state/**\"]\n");
    for (int i = 0; i < 20; i++) write("icons/" + std::to_string(i) + ".png", 2000);
    write("video.mp4", 9 << 20);
    std::ofstream(media + "/pos.conf") << "printer = front\n";
    std::filesystem::create_symlink("icons/1.png", media + "/logo");
    REQUIRE(::chmod((media + "/pos.conf").c_str(), 0640) == 0);
    const timespec times[2] = {{0, UTIME_OMIT}, {1'500'000'000, 42}};
    REQUIRE(::utimensat(AT_FDCWD, (media + "/pos.conf").c_str(), times, 0) == 0);
    REQUIRE(::utimensat(AT_FDCWD, (media + "/icons/empty").c_str(), times, 0) == 0);
    run(*this, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a')");
  }
  void write(const std::string& name, size_t size) {
    Bytes bytes(size);
    random.fill(bytes);
    std::ofstream(media + "/" + name, std::ios::binary | std::ios::trunc) << as_text(bytes);
  }
  std::map<std::string, uintmax_t> asset_objects() {
    std::map<std::string, uintmax_t> found;
    for (auto& entry : std::filesystem::recursive_directory_iterator(store))
      if (keys::sha256_of_asset(entry.path().string())) found[entry.path().string()] = entry.file_size();
    return found;
  }
};

// A line for everything below a folder: mode, owner, time, content.
std::vector<std::string> described(const std::string& root) {
  std::vector<std::string> lines;
  for (auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat s {};
    REQUIRE(::lstat(entry.path().c_str(), &s) == 0);
    std::stringstream line;
    line << entry.path().lexically_relative(root).string() << " " << std::oct << s.st_mode << " " << s.st_uid << ":"
         << s.st_gid << " " << s.st_mtim.tv_sec << "." << s.st_mtim.tv_nsec << " ";
    if (entry.is_symlink())
      line << std::filesystem::read_symlink(entry.path()).string();
    else if (entry.is_regular_file())
      line << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

TEST_SUITE_BEGIN("integration");

TEST_CASE("assets: backed up once, restored through the agent and without one, a damaged chunk is named") {
  Shop shop;
  shop.start_agent();
  Json first = shop.back_up("full");
  CHECK_FALSE(first.contains("note"));
  REQUIRE(first["assets"].size() == 1);
  CHECK(first["assets"][0]["files"] == 22);
  CHECK(first["assets"][0]["links"] == 1);
  const auto sent = shop.asset_objects();
  CHECK(sent.size() == 4);  // three chunks and the tree

  Json second = shop.back_up("incremental");
  CHECK(shop.asset_objects() == sent);
  CHECK(second["assets"][0]["tree"] == first["assets"][0]["tree"]);

  // The file as the agent loaded it is in the snapshot.
  StoreSide side(shop);
  auto manifest = must(read_manifest(*side.store, side.lineage, must(Uuid::parse(second["uuid"].get<std::string>()))));
  std::stringstream config;
  config << std::ifstream(shop.config).rdbuf();
  CHECK(manifest.configuration["text"] == config.str());
  CHECK(manifest.configuration["file"] == shop.config);
  CHECK(must(asset_objects(*side.store, manifest)).size() == 4);

  const auto before = described(shop.media);
  shop.write("icons/1.png", 10);
  std::filesystem::remove(shop.media + "/pos.conf");
  shop.back_up("incremental");

  SUBCASE("by the agent") {}
  SUBCASE("without one") { shop.stop_agent(); }
  auto restore = [&](std::vector<std::string> more, const std::string& number) {
    std::vector<std::string> words{"restore", "--to", shop.folder / ("restored" + number + ".db"), "--json"};
    if (!shop.agent.is_running())
      words.insert(words.end(), {"--store", "file://" + shop.store, "--terminal", "store-1/till-1"});
    words.insert(words.end(), more.begin(), more.end());
    return shop.cli(words);
  };
  const std::string back = shop.folder / "back";
  auto restored = restore({"--assets", back, "--snapshot", second["uuid"]}, "1");
  INFO(restored.err);
  REQUIRE(restored.status == 0);
  CHECK(restored.json()["proven"] == true);
  CHECK(restored.json()["assets"][0]["files"] == 22);
  CHECK(restored.json()["assets"][0]["path"] == back + "/till");
  CHECK(described(back + "/till/media") == before);
  // The database and the agent's own folder are no part of it, though the rules match them.
  CHECK(std::distance(std::filesystem::directory_iterator(back + "/till"), {}) == 1);

  // A folder with content is refused, before anything is made; with --force its asset is replaced and the rest is not.
  std::ofstream(back + "/mine") << "mine";
  auto again = restore({"--assets", back}, "2");
  CHECK(again.status == 5);
  CHECK(contains(again.err, "not empty"));
  CHECK_FALSE(std::filesystem::exists(shop.folder / "restored2.db"));
  auto forced = restore({"--assets", back, "--force"}, "2");
  REQUIRE(forced.status == 0);
  CHECK(std::filesystem::exists(back + "/mine"));
  CHECK(described(back + "/till/media") == described(shop.media));
  CHECK(std::distance(std::filesystem::directory_iterator(back), {}) == 2);

  std::vector<std::string> verify{"verify",     "--data",        "--store", "file://" + shop.store,
                                  "--terminal", "store-1/till-1"};
  auto sound = shop.cli(verify);
  INFO(sound.out);
  CHECK(sound.status == 0);
  // One byte of a chunk.
  std::string damaged;
  for (auto& [path, size] : sent)
    if (path.ends_with(".chunk") && size > damaged.size() && size > (4 << 20)) damaged = path;
  REQUIRE(!damaged.empty());
  {
    std::filesystem::permissions(damaged, std::filesystem::perms::owner_all);
    std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(100'000);
    const char byte = static_cast<char>(file.get());
    file.seekp(100'000).put(static_cast<char>(byte ^ 1));
  }
  auto found = shop.cli(verify);
  CHECK(found.status == 4);
  CHECK(contains(found.out, std::filesystem::path(damaged).filename().string()));
  auto refused = restore({"--assets", shop.folder / "back3"}, "3");
  CHECK(refused.status == 4);
  CHECK(contains(refused.err, std::filesystem::path(damaged).filename().string()));
  CHECK(contains(refused.err, "video.mp4"));
  CHECK_FALSE(std::filesystem::exists(shop.folder / "back3/till"));
  CHECK_FALSE(std::filesystem::exists(shop.folder / "restored3.db"));

  // Somebody took objects out of the store: the next backup notices, the one after it is whole again.
  if (shop.agent.is_running()) {
    std::filesystem::remove(damaged);
    Json started = shop.call("backup", {{"type", "incremental"}});
    Json ended = shop.call("workflow.wait", {{"uuid", started["uuid"]}});
    CHECK(ended["status"] == "FAILED");
    CHECK(contains(ended.dump(), "no longer in the store"));
    shop.back_up("incremental");
    auto healed = restore({"--assets", shop.folder / "back4"}, "4");
    INFO(healed.err);
    CHECK(healed.status == 0);
    CHECK(described(shop.folder / "back4/till/media") == described(shop.media));
    shop.stop_agent();
  }
}

TEST_CASE("assets: what can't be captured is said, and the backup goes on") {
  World world;
  world.write_config("[[assets]]\nname = \"gone\"\npath = \"" + world.folder / "nowhere" +
                     "\"\n[[assets]]\nname = " + "\"pipes\"\npath = \"" + world.folder / "pipes" + "\"\n");
  std::filesystem::create_directory(world.folder / "pipes");
  REQUIRE(::mkfifo((world.folder / "pipes/p").c_str(), 0600) == 0);
  run(world, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a')");
  world.start_agent();
  Json done = world.back_up("full");
  const std::string note = done["note"];
  CHECK(contains(note, "asset 'gone': open " + world.folder / "nowhere"));
  CHECK(contains(note, "asset 'pipes': p: a pipe"));
  auto restored = world.cli({"restore", "--to", world.folder / "r.db", "--assets", world.folder / "back"});
  CHECK(restored.status == 0);
  CHECK(contains(restored.out, "Asset gone: nothing of it is in this snapshot"));
  CHECK(std::filesystem::exists(world.folder / "back/pipes"));
  world.stop_agent();
}

// Killed at changes of its spool and of the store: the restarted agent goes on with the same backup, and what is in the
// store is whole.
TEST_CASE("assets: an agent killed while it captures or sends them goes on, and nothing is left in the spool") {
  Shop shop;
  int killed = 0;
  // What comes into the store is a further name of a spooled file: one change each.
  const std::map<std::string, std::vector<int>> moments{{"spool", {6, 14, 22, 30}}, {"store", {1, 3, 5, 7}}};
  for (const auto& [where, changes] : moments) {
    for (const int at : changes) {
      shop.write("video.mp4", 9 << 20);
      const char* options = std::getenv("ASAN_OPTIONS");
      shop.agent = must(ChildProcess::start(
          {"/usr/bin/env", "LD_PRELOAD=" + shop.bin + "/die_in_write.so", "TILLSYNC_DIE_BELOW=" + shop.folder.path(),
           "TILLSYNC_DIE_IN=" + where, "TILLSYNC_DIE_AT=" + std::to_string(at),
           at % 4 == 3 ? "TILLSYNC_DIE_PART=0" : "TILLSYNC_DIE_PART=500",
           "TILLSYNC_DIE_REPORT=" + shop.folder / "report",
           "ASAN_OPTIONS=" + (options ? std::string(options) + ":" : std::string()) + "verify_asan_link_order=0",
           shop.bin + "/tillsyncd", "--config", shop.config},
          shop.agent_log));
      bool asked = false;
      shop.until("the backup is asked for, or the agent is gone", [&] {
        if (!shop.agent.is_running()) return true;
        auto client = ControlClient::connect(shop.socket);
        asked = client && client->call("backup", {{"type", "full"}}).has_value();
        return asked;
      });
      auto ended = [&](const char* which) {
        auto client = ControlClient::connect(shop.socket);
        if (!client) return false;
        auto all = client->call("workflows");
        if (!all) return false;
        for (auto& one : *all)
          if (one["status"] != which) return false;
        return true;
      };
      shop.until("the agent is gone, or the backup done",
                 [&] { return !shop.agent.is_running() || (asked && ended("COMPLETED")); });
      if (!shop.agent.is_running()) killed++;
      shop.agent.kill();
      shop.start_agent();
      shop.until("what was begun is done", [&] { return ended("COMPLETED"); });
      shop.back_up("incremental");
      CHECK(std::filesystem::is_empty(shop.folder / "state/spool"));
      shop.stop_agent();
    }
  }
  CHECK(killed >= 6);
  auto verified = shop.cli({"verify", "--data", "--store", "file://" + shop.store, "--terminal", "store-1/till-1"});
  INFO(verified.out);
  CHECK(verified.status == 0);
  auto restored = shop.cli({"restore", "--to", shop.folder / "r.db", "--assets", shop.folder / "back", "--store",
                            "file://" + shop.store, "--terminal", "store-1/till-1"});
  INFO(restored.err);
  CHECK(restored.status == 0);
  CHECK(described(shop.folder / "back/till/media") == described(shop.media));
}

TEST_CASE(
    "prune: asset objects that no snapshot needs go once they are old, and the next backup does not count on them") {
  Shop shop;
  shop.write_config("[[assets]]\nname = \"till\"\npath = \"" + shop.media +
                    "\"\n[retention]\nlast = 1\nhourly = 0\ndaily = 0\nweekly = 0\nmonthly = 0\nlog = \"1h\"\n");
  const auto content = [](const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  };
  const auto all_old = [&] {
    for (auto& [path, size] : shop.asset_objects())
      std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  };
  shop.start_agent();
  std::string middle;
  for (int i = 0; i < 3; i++) {
    shop.write("video.mp4", 5 << 20);
    if (i == 1) middle = content(shop.media + "/video.mp4");
    run(shop, "INSERT INTO t(v) VALUES('b')");
    shop.flush();
    shop.back_up("full");
  }
  // The oldest stays for the log's window, the newest anyway. What the second alone needs may be a backup under way,
  // as far as the store can say.
  const auto before = shop.asset_objects();
  const Json young = shop.cli({"--json", "prune", "--dry-run"}).json();
  INFO(young.dump(1));
  CHECK(young["assets"]["objects"] == 0);
  CHECK(young["assets"]["young"]["count"] >= 3);  // the tree and two chunks
  all_old();
  const Json dry = shop.cli({"--json", "prune", "--dry-run"}).json();
  CHECK(dry["assets"]["objects"] == young["assets"]["young"]["count"]);
  CHECK(dry["assets"]["bytes"] >= 5 << 20);
  CHECK(shop.asset_objects() == before);
  auto pruned = shop.cli({"prune"});
  CHECK(pruned.status == 0);
  CHECK(contains(pruned.out, "file assets"));
  CHECK(shop.asset_objects().size() == before.size() - dry["assets"]["objects"].get<size_t>());
  CHECK(shop.cli({"verify", "--data"}).status == 0);
  // Its content comes back, and must be stored anew.
  std::ofstream(shop.media + "/video.mp4", std::ios::binary | std::ios::trunc) << middle;
  shop.back_up("full");
  CHECK(shop.cli({"verify", "--data"}).status == 0);
  const std::string to = shop.folder / "restored.db", assets = shop.folder / "restored-assets";
  CHECK(shop.cli({"restore", "--to", to, "--assets", assets}).status == 0);
  bool found = false;
  for (auto& entry : std::filesystem::recursive_directory_iterator(assets))
    if (entry.path().filename() == "video.mp4") found = content(entry.path()) == middle;
  CHECK(found);
  // With a tree that can't be read nothing of the assets goes.
  for (auto& [path, size] : shop.asset_objects())
    if (path.ends_with(".tree")) std::filesystem::resize_file(path, size / 2);
  all_old();
  const auto damaged = shop.asset_objects();
  auto refused = shop.cli({"prune"});
  CHECK(refused.status == 4);
  CHECK(contains(refused.out, "LEFT AS IT IS"));
  CHECK(shop.asset_objects() == damaged);
  shop.stop_agent();
}
