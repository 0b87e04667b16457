// What a capture of assets takes, leaves out, reads and sends.
#include "assets/assets_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("assets");

TEST_CASE("capture: the second backup of the same files reads nothing and sends nothing") {
  AssetWorld world;
  for (int i = 0; i < 30; i++) world.write("icons/i" + std::to_string(i) + ".png", world.noise(3000));
  world.write("pos.conf", "printer = front\n");
  auto first = world.back_up();
  CHECK(world.last.files_read == 31);
  // Small files share a chunk.
  CHECK(world.last.chunks.size() == 1);
  CHECK(first.files == 31);
  CHECK(first.folders == 2);
  CHECK(first.bytes == 30 * 3000 + 16);

  auto second = world.back_up();
  CHECK(world.last.files_read == 0);
  CHECK(world.last.chunks.empty());
  CHECK(world.last.trees.empty());
  CHECK(second.tree == first.tree);

  SUBCASE("one changed file: its content and the tree are sent, nothing else is read") {
    world.write("pos.conf", "printer = back\n");
    auto third = world.back_up();
    CHECK(world.last.files_read == 1);
    REQUIRE(world.last.chunks.size() == 1);
    CHECK(world.last.chunks[0].size < 600);
    CHECK(third.tree != first.tree);
  }
  SUBCASE("a moved file is read, and its content is not sent again") {
    std::filesystem::rename(world.media + "/icons/i3.png", world.media + "/logo.png");
    world.back_up();
    CHECK(world.last.files_read == 1);
    CHECK(world.last.chunks.empty());
    CHECK(world.last.trees.size() == 1);
  }
  SUBCASE("without deduplication everything is read and stored again") {
    world.deduplicate = false;
    world.back_up();
    CHECK(world.last.files_read == 31);
    CHECK(world.last.chunks.size() == 1);
    CHECK(world.last.chunks[0].size > 30 * 3000);
  }
  SUBCASE("a chunk that was pruned is stored again") {
    const std::string chunk = world.only_chunk();
    world.store.erase(chunk);
    must(forget_asset_object(*world.state->lease(), *keys::sha256_of_asset(chunk)));
    world.back_up();
    CHECK(world.last.files_read == 31);
    CHECK(world.last.chunks.size() == 1);
  }
  SUBCASE("what was forgotten for a week of not being seen is read again, and not sent") {
    std::filesystem::remove_all(world.media + "/icons");
    world.back_up();
    world.clock.advance(std::chrono::hours(24 * 9));
    world.back_up();
    CHECK(must(world.state->lease()->query_integer("SELECT count(*) FROM asset_files")) == 1);
  }
}

TEST_CASE("capture: a file written just now is read again next time, because its time may not tell") {
  AssetWorld world;
  world.write("a", "one");
  world.clock.jump_to(std::chrono::floor<Milliseconds>(std::chrono::system_clock::now()));
  world.back_up();
  world.back_up();
  CHECK(world.last.files_read == 1);
  CHECK(world.last.chunks.empty());
}

TEST_CASE("capture: equal content is stored once, a large file in pieces over several chunks") {
  AssetWorld world;
  const std::string large = world.noise((9 << 20) + 77);
  world.write("video.mp4", large);
  world.write("copy/video.mp4", large);
  auto asset = world.back_up();
  CHECK(world.last.chunks.size() == 3);
  uint64_t stored = 0;
  for (auto& chunk : world.last.chunks) stored += chunk.size;
  CHECK(stored > large.size());
  CHECK(stored < large.size() + 3000);
  CHECK(asset.bytes == 2 * large.size());

  // The middle changes: one piece of 1 MiB.
  std::fstream(world.media + "/video.mp4", std::ios::in | std::ios::out | std::ios::binary).seekp(5 << 20) << "x";
  world.back_up();
  REQUIRE(world.last.chunks.size() == 1);
  CHECK(world.last.chunks[0].size < (1 << 20) + 1000);
}

TEST_CASE("capture: include rules say what belongs to the asset") {
  auto matches = [](const char* pattern, const char* path) { return IncludeRules({pattern}).matches(path); };
  CHECK(matches("**/*", "a"));
  CHECK(matches("**/*", "a/b/.c"));
  CHECK(matches("**/*.png", "x.png"));
  CHECK(matches("**/*.png", "a/b/x.png"));
  CHECK_FALSE(matches("**/*.png", "a/x.png/y"));
  CHECK_FALSE(matches("*.png", "a/x.png"));
  CHECK(matches("pos.conf", "pos.conf"));
  CHECK_FALSE(matches("pos.conf", "posxconf"));
  CHECK_FALSE(matches("pos.conf", "a/pos.conf"));
  CHECK(matches("img/**", "img/a/b"));
  CHECK(matches("img/**", "img"));
  CHECK(matches("a/**/z", "a/z"));
  CHECK(matches("a/**/z", "a/b/c/z"));
  CHECK(matches("t?ll-*", "till-12"));
  CHECK_FALSE(matches("t?ll-*", "tll-12"));
  CHECK(IncludeRules({"img/*.png"}).may_match_below("img"));
  CHECK(IncludeRules({"img/*.png"}).may_match_below(""));
  CHECK_FALSE(IncludeRules({"img/*.png"}).may_match_below("doc"));
  CHECK_FALSE(IncludeRules({"img/*.png"}).may_match_below("img/a"));
  CHECK(IncludeRules({"**/*.png"}).may_match_below("any/where"));
  // Patterns that would go back for ever if they were tried star by star.
  CHECK_FALSE(matches("*a*a*a*a*a*a*a*a*b", std::string(200, 'a').c_str()));
  std::string deep = "a";
  for (int i = 0; i < 100; i++) deep += "/a";
  CHECK_FALSE(matches("**/**/**/**/**/**/**/**/b", deep.c_str()));

  AssetWorld world;
  world.include = {"**/*.png", "pos.conf"};
  world.write("pos.conf", "c");
  world.write("a/b/x.png", "p");
  world.write("a/b/x.tmp", "t");
  world.write("secret/key", "k");
  std::filesystem::create_directory(world.media + "/empty");
  int opened = 0;
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "open") {
      opened++;
      CHECK(name != "key");
    }
    return {};
  };
  auto asset = world.back_up();
  CHECK(opened == 2);
  CHECK(asset.files == 2);
  // Its own, a, a/b: those that hold what was asked for.
  CHECK(asset.folders == 3);
}

TEST_CASE("capture: a file that changes while it is read is read again") {
  AssetWorld world;
  world.write("a", std::string(3000, 'a'));
  int reads = 0;
  SUBCASE("and is what the second reading gave") {
    world.folders.before = [&](const std::string& call, const std::string&) -> Result<void> {
      if (call == "read" && ++reads == 1) world.write("a", std::string(2000, 'b'));
      return {};
    };
    auto asset = world.back_up();
    CHECK(reads == 2);
    CHECK(asset.notes.empty());
    must(world.restore(asset, world.folder / "back"));
    CHECK(as_text(must(read_file(world.files, world.folder / "back" + "/a"))) == std::string(2000, 'b'));
  }
  SUBCASE("in place, with its old size and its old time, which only the change time tells") {
    world.set_time("a", 1'700'000'000, 5);
    world.folders.before = [&](const std::string& call, const std::string&) -> Result<void> {
      // After the content was read, before it is looked at again.
      if (call == "stat" && ++reads == 2) {
        std::fstream(world.media + "/a", std::ios::in | std::ios::out) << "b";
        world.set_time("a", 1'700'000'000, 5);
      }
      return {};
    };
    auto asset = world.back_up();
    CHECK(asset.notes.empty());
    must(world.restore(asset, world.folder / "back"));
    CHECK(as_text(must(read_file(world.files, world.folder / "back" + "/a"))) == "b" + std::string(2999, 'a'));
  }
  SUBCASE("each time: it is kept as it was read last, and the backup says so; it is not remembered") {
    world.folders.before = [&](const std::string& call, const std::string&) -> Result<void> {
      if (call == "read") world.write("a", std::string(3000, static_cast<char>('b' + reads++)));
      return {};
    };
    auto asset = world.back_up();
    CHECK(reads == 3);
    REQUIRE(asset.notes.size() == 1);
    CHECK(contains(asset.notes[0], "a: it changed each time it was read"));
    auto tree = must(AssetTreeReader::open(world.store, world.terminal, asset.tree->sha256, asset.tree->size));
    must(tree.next());
    CHECK(must(tree.next())->changed_while_read);
    world.folders.before = [](const std::string&, const std::string&) -> Result<void> { return {}; };
    auto next = world.back_up();
    CHECK(world.last.files_read == 1);
    CHECK(next.notes.empty());
  }
  SUBCASE("a file that grows without end is read up to where it was") {
    world.folders.before = [&](const std::string& call, const std::string&) -> Result<void> {
      if (call == "read") std::ofstream(world.media + "/a", std::ios::app) << "more";
      return {};
    };
    auto asset = world.back_up();
    CHECK(asset.notes.size() == 1);
    CHECK(asset.bytes == 3008);
  }
}

TEST_CASE("capture: chunks made only for readings that were thrown away are not sent") {
  AssetWorld world;
  world.write("a", world.noise(5 << 20));
  int reads = 0;
  world.folders.before = [&](const std::string& call, const std::string&) -> Result<void> {
    // The last of its pieces: the first chunk is in the spool by then.
    if (call == "read" && ++reads == 5) world.write("a", "small now");
    return {};
  };
  auto asset = world.back_up();
  CHECK(asset.bytes == 9);
  CHECK(world.last.chunks.size() == 1);
}

TEST_CASE("capture: an asset whose folder is not there is a note, and has no tree") {
  AssetWorld world;
  std::filesystem::remove(world.media);
  auto asset = world.back_up();
  CHECK_FALSE(asset.tree.has_value());
  REQUIRE(asset.notes.size() == 1);
  CHECK(contains(asset.notes[0], world.media));
  CHECK(world.store.keys().empty());
}

TEST_CASE("capture: a followed database in the folder is never opened, by whatever name") {
  AssetWorld world;
  for (auto name : {"pos.db", "pos.db-wal", "pos.db-shm", "other.db"}) world.write(name, "SQLite format 3");
  std::filesystem::create_hard_link(world.media + "/pos.db", world.media + "/again.db");
  // Through another path to the same folder.
#ifdef _WIN32
  const std::string alias = world.folder / "MEDIA";
#else
  const std::string alias = world.folder / "alias";
  std::filesystem::create_directory_symlink(world.media, alias);
#endif
  world.off_limits.add_database(world.folders, world.files, alias + "/pos.db");
  world.write("pos.db-journal", "came later");
  std::filesystem::create_directory(world.media + "/own");
  world.write("own/state.db", "state");
  world.off_limits.add_folder(world.folders, world.media + "/own");
  std::vector<std::string> opened;
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "open" || call == "folder") opened.push_back(name);
    return {};
  };
  world.back_up();
  CHECK(opened == std::vector<std::string>{"other.db"});
}

TEST_CASE("capture: the log of a followed database goes while its folder is read, and that is no note") {
  AssetWorld world;
  for (auto name : {"pos.db", "pos.db-wal", "other.db"}) world.write(name, "SQLite format 3");
  world.off_limits.add_database(world.folders, world.files, world.media + "/pos.db");
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "stat" && name == "pos.db-wal") std::filesystem::remove(world.media + "/pos.db-wal");
    return {};
  };
  auto asset = world.back_up();
  CHECK_FALSE(std::filesystem::exists(world.media + "/pos.db-wal"));
  CHECK(asset.notes.empty());
  CHECK(asset.files == 1);
}

TEST_CASE("capture: no room in the spool is a note, and the snapshot goes on without the asset") {
  AssetWorld world;
  world.write("a", world.noise(5 << 20));
  world.free_space_min = uint64_t{1} << 62;
  auto captured = must(world.try_capture());
  REQUIRE(captured.assets.size() == 1);
  CHECK_FALSE(captured.assets[0].tree.has_value());
  CHECK(contains(captured.assets[0].notes[0], "not in this snapshot"));
  CHECK(captured.chunks.empty());
  CHECK(must(world.files.list(world.spool)).empty());
}

TEST_CASE("capture: stops when it is told to") {
  AssetWorld world;
  world.write("a", "a");
  AssetMemory memory(*world.state);
  AssetCapture capture({world.folders,
                        world.files,
                        world.spool,
                        memory,
                        world.random,
                        world.clock,
                        world.terminal,
                        {},
                        true,
                        0,
                        [](uint64_t, uint64_t) { return false; }});
  CHECK(kind_of(capture.capture({"media", world.media, {"**/*"}})) == ErrorKind::cancelled);
}
