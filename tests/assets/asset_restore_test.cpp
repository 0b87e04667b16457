// Assets that come back as they were, or not at all.
#include "assets/assets_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("assets");

namespace {

AssetEntry folder_entry(uint32_t depth, const std::string& name) {
  AssetEntry entry;
  entry.depth = depth;
  entry.name = name;
  entry.mode = 0755;
  return entry;
}
AssetEntry file_entry(uint32_t depth, const std::string& name) {
  AssetEntry entry = folder_entry(depth, name);
  entry.kind = AssetEntryKind::file;
  return entry;
}
AssetEntry link_entry(uint32_t depth, const std::string& name, const std::string& target) {
  AssetEntry entry = folder_entry(depth, name);
  entry.kind = AssetEntryKind::link;
  entry.target = target;
  return entry;
}

// A tree as somebody with the key of the store could write it.
AssetReference forged(AssetWorld& world, const std::vector<AssetEntry>& entries,
                      const std::vector<TreeChunk>& chunks = {}) {
  auto writer = must(AssetTreeWriter::create(world.files, world.spool, world.terminal, world.random));
  for (auto& entry : entries) must(writer.add(entry));
  auto finished = must(writer.finish(chunks));
  world.store.set(keys::asset_tree(world.terminal, finished.sha256), must(read_file(world.files, finished.path)));
  AssetReference asset;
  asset.name = "media";
  asset.include = {"**/*"};
  asset.tree = {finished.sha256, finished.size};
  return asset;
}

}  // namespace

TEST_CASE("restore: times, what is read-only, empty folders, empty and large files come back") {
  AssetWorld world;
  world.write("pos.conf", "printer = front\n", 0600);
  world.write("read only/deep/er/x", "x", 0400);
  world.write("empty file", "");
  world.write("video.mp4", world.noise((6 << 20) + 1));
  std::filesystem::create_directories(world.media + "/empty/inner");
  world.set_time("pos.conf", 1'000'000'000, 123'456'700);
  world.set_time("empty file", -86'400, 100);  // before 1970
  world.set_time("empty/inner", 1'200'000'000, 0);
  world.set_time("empty", 1'200'000'001, 700);
  world.set_time("", 1'400'000'000, 900);
  const auto before = described(world.media);
  auto asset = world.back_up();
  CHECK(asset.notes.empty());
  auto restored = must(world.restore(asset, world.folder / "back"));
  CHECK(described(world.folder / "back") == before);
  CHECK(restored.notes.empty());
  CHECK(restored.files == 4);
  // And again over itself: the same, and nothing beside it.
  must(world.restore(asset, world.folder / "back"));
  CHECK(described(world.folder / "back") == before);
  CHECK(entries_in(world.folder.path()) == 5);  // back, media, spool, state.db and its -wal
}

TEST_CASE("restore: the old content is there until the new one is, and goes with it") {
  AssetWorld world;
  world.write("a", "new");
  auto asset = world.back_up();
  const std::string target = world.folder / "back";
  std::filesystem::create_directory(target);
  std::ofstream(target + "/a") << "old";
  std::ofstream(target + "/rest") << "rest";
  {
    SystemFolders folders;
    auto staged =
        must(StagedAsset::stage(world.store, folders, world.files, world.random, world.terminal, asset, target, {}));
    CHECK(as_text(must(read_file(world.files, target + "/a"))) == "old");
    CHECK(entries_in(world.folder.path()) == 6);
    SUBCASE("not swapped: nothing remains of it") {}
    SUBCASE("swapped") {
      must(staged.swap());
      CHECK(as_text(must(read_file(world.files, target + "/a"))) == "new");
      CHECK(entries_in(target) == 1);
    }
  }
  CHECK(entries_in(world.folder.path()) == 5);
}

TEST_CASE(
    "restore: whichever call of the folders fails once, files that are not the asset's stay or it is not restored") {
  AssetWorld world;
  world.write("a", "new");
  auto asset = world.back_up();
  const std::string target = world.folder / "till";
  asset.include = {"a", "empty"};
  uint64_t calls = 0, fails_at = 0, failed = 0;
  world.folders.before = [&](const std::string&, const std::string&) -> Result<void> {
    if (++calls == fails_at) return Error{ErrorKind::transient, EIO, "input/output error"};
    return {};
  };
  AssetRestoreOptions options;
  options.keep_others = true;
  uint64_t all = 0;  // calls of a restore in which none fails
  auto restore = [&] {
    std::filesystem::remove_all(target);
    std::filesystem::create_directories(target + "/empty/of sales");
    std::ofstream(target + "/a") << "old";
    std::ofstream(target + "/sales") << "all";
    std::ofstream(target + "/empty/of sales/one") << "one";
    calls = 0;
    return restore_asset(world.store, world.folders, world.files, world.random, world.terminal, asset, target, options);
  };
  for (fails_at = 0; fails_at <= all; fails_at++) {
    INFO("call " << fails_at);
    auto restored = restore();
    if (fails_at == 0) all = calls;
    CHECK((restored || fails_at > 0));
    failed += !restored;
    // What went wrong after the exchange is in the notes, and then what stays lies beside.
    if (restored && !restored->notes.empty()) continue;
    CHECK(std::filesystem::exists(target + "/sales"));
    CHECK(std::filesystem::exists(target + "/empty/of sales/one"));
  }
  CHECK(failed > 10);

  // One that can't be looked at for good.
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "stat" && name == "of sales") return Error{ErrorKind::denied, EACCES, "permission denied"};
    return {};
  };
  (void)restore().has_value();
  CHECK(std::filesystem::exists(target + "/empty/of sales/one"));
}

TEST_CASE("restore: where names can't change places, the old content is renamed first, and back when that fails") {
  AssetWorld world;
  world.write("a", "new");
  auto asset = world.back_up();
  const std::string target = world.folder / "back";
  std::filesystem::create_directory(target);
  std::ofstream(target + "/a") << "old";
  bool fails = false;
  std::vector<std::string> renamed;
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "exchange") return Error{ErrorKind::usage, EINVAL, "names can't change places here"};
    if (call != "rename") return {};
    renamed.push_back(name);
    if (fails && renamed.size() == 2) return Error{ErrorKind::transient, EIO, "input/output error"};
    return {};
  };
  auto restore = [&] {
    renamed.clear();
    return restore_asset(world.store, world.folders, world.files, world.random, world.terminal, asset, target, {});
  };
  fails = true;
  CHECK(kind_of(restore()) == ErrorKind::transient);
  REQUIRE(renamed.size() == 3);
  CHECK(renamed[0].ends_with(".tillsync-old"));
  CHECK(renamed[2] == "back");
  CHECK(as_text(must(read_file(world.files, target + "/a"))) == "old");
  CHECK(entries_in(world.folder.path()) == 5);
  fails = false;
  must(restore());
  CHECK(renamed.size() == 2);
  CHECK(as_text(must(read_file(world.files, target + "/a"))) == "new");
  CHECK(entries_in(world.folder.path()) == 5);
}

TEST_CASE("restore in place: of two restores that ended at their renames the later one's content is taken back") {
  AssetWorld world;
  world.write("a", "new");
  auto asset = world.back_up();
  asset.include = {"a"};
  const std::string target = world.folder / "till", left = target + ".01234567.tillsync-old";
  for (auto& folder : {target, left}) std::filesystem::create_directory(folder);
  std::ofstream(target + "/sales") << "all";
  std::ofstream(left + "/sales") << "of the restore before";
  bool ends = true;
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "exchange") return Error{ErrorKind::usage, EINVAL, "names can't change places here"};
    if (call == "rename" && name == "till" && ends) return Error{ErrorKind::transient, EIO, "input/output error"};
    return {};
  };
  AssetRestoreOptions options;
  options.keep_others = true;
  auto restore = [&] {
    return restore_asset(world.store, world.folders, world.files, world.random, world.terminal, asset, target, options);
  };
  REQUIRE_FALSE(restore());
  REQUIRE_FALSE(std::filesystem::exists(target));
  ends = false;
  must(restore());
  CHECK(as_text(must(read_file(world.files, target + "/a"))) == "new");
  CHECK(as_text(must(read_file(world.files, target + "/sales"))) == "all");
  CHECK(as_text(must(read_file(world.files, left + "er/sales"))) == "of the restore before");
}

TEST_CASE("restore in place: what is not of the asset stays, the same file, and what was of it goes") {
  AssetWorld world;
  world.include = {"**/*.png", "pos.conf", "img/**"};
  world.write("pos.conf", "printer = front\n");
  world.write("img/a.png", "a");
  auto asset = world.back_up();

  world.write("pos.conf", "printer = nowhere\n");
  world.write("img/b.png", "b");      // matched and not in the snapshot: goes
  world.write("gone/c.png", "c");     // likewise, with its folder
  world.write("bin/pos", "program");  // not matched: stays
  world.write("gone2/d.png", "d");
  world.write("gone2/keep.txt", "k");
#ifndef _WIN32
  std::filesystem::create_symlink("pos", world.media + "/bin/link");
  REQUIRE(::mkfifo((world.media + "/img/pipe").c_str(), 0600) == 0);
  REQUIRE(::chmod((world.media + "/bin").c_str(), 0711) == 0);
#endif
  world.set_time("bin", 1'500'000'000, 300);
  const auto bin = must(world.files.stat(world.media + "/bin"));
  const auto program = must(world.files.stat(world.media + "/bin/pos"));
  // An application that has its program's file open goes on with the same file.
  auto restored = must(world.restore(asset, world.media, true));
  CHECK(restored.notes.empty());
  CHECK(must(world.files.stat(world.media + "/bin/pos")).inode == program.inode);
  CHECK(std::filesystem::hard_link_count(world.media + "/bin/pos") == 1);
  const auto after = must(world.files.stat(world.media + "/bin"));
  CHECK(after.mode == bin.mode);
  CHECK(after.mtime_ns == 1'500'000'000'000'000'300);
  CHECK(as_text(must(read_file(world.files, world.media + "/pos.conf"))) == "printer = front\n");
  auto there = [&](const std::string& name) {
    return std::filesystem::exists(std::filesystem::symlink_status(world.media + "/" + name));
  };
  CHECK(there("img/a.png"));
#ifndef _WIN32
  CHECK(there("img/pipe"));
  CHECK(there("bin/link"));
#endif
  CHECK(there("gone2/keep.txt"));
  CHECK_FALSE(there("img/b.png"));
  CHECK_FALSE(there("gone/c.png"));
  CHECK_FALSE(there("gone2/d.png"));
  CHECK(entries_in(world.folder.path()) == 4);
}

TEST_CASE("restore in place: a followed database in the folder stays, whatever `include` says") {
  AssetWorld world;
  world.write("pos.db", "rows");
  world.write("pos.db-wal", "frames");
  world.write("a", "a");
  world.off_limits.add_database(world.folders, world.files, world.media + "/pos.db");
  auto asset = world.back_up();
  CHECK(asset.files == 1);
  world.write("a", "changed");
  must(world.restore(asset, world.media, true));
  CHECK(as_text(must(read_file(world.files, world.media + "/pos.db"))) == "rows");
  CHECK(as_text(must(read_file(world.files, world.media + "/pos.db-wal"))) == "frames");
  CHECK(as_text(must(read_file(world.files, world.media + "/a"))) == "a");

  std::filesystem::create_directory(world.media + "/own");
  world.off_limits.add_folder(world.folders, world.media + "/own");
  auto error = refused(world.restore(asset, world.media, true));
  CHECK(error.kind == ErrorKind::conflict);
  CHECK(contains(error.context, "own"));
  CHECK(entries_in(world.folder.path()) == 4);
}

TEST_CASE("restore: a target that is a file or a link is refused") {
  AssetWorld world;
  world.write("a", "a");
  auto asset = world.back_up();
#ifndef _WIN32
  std::filesystem::create_directory_symlink(world.media, world.folder / "link");
  CHECK(kind_of(world.restore(asset, world.folder / "link")) == ErrorKind::conflict);
#endif
  std::ofstream(world.folder / "file") << "x";
  CHECK(kind_of(world.restore(asset, world.folder / "file")) == ErrorKind::conflict);
  CHECK(kind_of(world.restore(asset, world.folder / "none/back")) == ErrorKind::not_found);
}

TEST_CASE("restore: hostile trees are refused, and nothing is outside or left behind") {
  AssetWorld world;
  const std::string outside = world.folder / "outside";
  std::filesystem::create_directory(outside);
  std::ofstream(outside + "/kept") << "kept";
  auto refuse = [&](const std::vector<AssetEntry>& entries) {
    auto error = refused(world.restore(forged(world, entries), world.folder / "back"));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK_FALSE(std::filesystem::exists(world.folder / "back"));
    CHECK(entries_in(outside) == 1);
    for (auto& entry : std::filesystem::directory_iterator(world.folder.path()))
      CHECK(!contains(entry.path().filename().string(), "tillsync-"));
    return error.context;
  };
  const auto root = folder_entry(0, "");
  for (auto name : {"..", ".", "", "a/b", "/etc/passwd", "../outside/x"})
    CHECK(contains(refuse({root, file_entry(1, name)}), "leads elsewhere"));
  CHECK(contains(refuse({root, file_entry(1, std::string("a\0b", 3))}), "leads elsewhere"));
  CHECK(contains(refuse({root, file_entry(1, std::string(256, 'a'))}), "leads elsewhere"));
  CHECK(contains(refuse({root, folder_entry(1, "..")}), "leads elsewhere"));
#ifndef _WIN32  // where nobody may make links unless he is told so
  // Through a link that was made earlier in the same restore: as its parent, and under its name.
  CHECK(contains(refuse({root, link_entry(1, "out", outside), file_entry(2, "x")}), "in no folder of the tree"));
  CHECK(contains(refuse({root, link_entry(1, "out", outside), folder_entry(1, "out"), file_entry(2, "x")}),
                 "there twice"));
  CHECK(contains(refuse({root, link_entry(1, "out", outside), file_entry(1, "out")}), "there twice"));
#endif
  CHECK(contains(refuse({root, folder_entry(1, "b"), folder_entry(1, "a")}), "out of order"));
  CHECK(contains(refuse({root, file_entry(1, "f"), file_entry(2, "x")}), "in no folder"));
  CHECK(contains(refuse({root, folder_entry(2, "x")}), "in no folder"));
  CHECK(contains(refuse({root, folder_entry(0, "")}), "in no folder"));
  CHECK(contains(refuse({folder_entry(0, "x")}), "first entry"));
  CHECK(contains(refuse({file_entry(0, "")}), "first entry"));
  CHECK(contains(refuse({folder_entry(1, "x")}), "first entry"));
  CHECK(contains(refuse({}), "no entry"));
  CHECK(contains(refuse({root, link_entry(1, "l", "")}), "target"));
  CHECK(contains(refuse({root, link_entry(1, "l", std::string(5000, 'x'))}), "target"));
  auto bad_mode = file_entry(1, "f");
  bad_mode.mode = 0100644;
  CHECK(contains(refuse({root, bad_mode}), "out of range"));
  std::vector<AssetEntry> deep{root};
  for (uint32_t i = 1; i <= kAssetDepthMax + 1; i++) deep.push_back(folder_entry(i, "d"));
  CHECK(contains(refuse(deep), "deeper"));
  auto wrong_size = file_entry(1, "f");
  wrong_size.size = 3;
  CHECK(contains(refuse({root, wrong_size}), "add up"));
  auto no_chunk = wrong_size;
  no_chunk.pieces = {{0, {128, 10, 3}, {}}};
  CHECK(contains(refuse({root, no_chunk}), "chunk"));
}

TEST_CASE("restore: a piece outside of its chunk, or a bomb, is refused") {
  AssetWorld world;
  world.write("a", std::string(1 << 20, 'a'));
  world.back_up();
  const std::string key = world.only_chunk();
  const TreeChunk chunk{*keys::sha256_of_asset(key), world.store.content(key)->size()};
  auto pieces = must(read_chunk_index(*world.store.content(key), key, world.terminal));
  auto with = [&](PieceRange range, uint64_t size) {
    auto file = file_entry(1, "f");
    file.size = size;
    file.pieces = {{0, range, pieces[0].name}};
    return refused(world.restore(forged(world, {folder_entry(0, ""), file}, {chunk}), world.folder / "back")).kind;
  };
  const PieceRange good = pieces[0].range;
  CHECK(with({good.offset, good.stored, 100}, 100) == ErrorKind::corrupt);  // it unpacks to more than it says
  CHECK(with({good.offset, static_cast<uint32_t>(chunk.size), good.raw}, good.raw) == ErrorKind::corrupt);
  CHECK(with({static_cast<uint32_t>(chunk.size), good.stored, good.raw}, good.raw) == ErrorKind::corrupt);
  CHECK(with({0, good.stored, good.raw}, good.raw) == ErrorKind::corrupt);
  CHECK(with({good.offset, good.stored, 2 << 20}, 2 << 20) == ErrorKind::corrupt);
  CHECK(with({good.offset + 1, good.stored, good.raw}, good.raw) == ErrorKind::corrupt);
}

TEST_CASE("restore: every flipped byte of tree and chunk is found, and the target is as it was") {
  AssetWorld world;
  world.write("a/b", "some content");
  world.write("c", "other content");
  auto asset = world.back_up();
  const std::string target = world.folder / "back";
  std::filesystem::create_directory(target);
  std::ofstream(target + "/old") << "old";
  const std::string tree = keys::asset_tree(world.terminal, asset.tree->sha256), chunk = world.only_chunk();
  const auto pieces = must(read_chunk_index(*world.store.content(chunk), chunk, world.terminal));
  auto still_old = [&] { return entries_in(target) == 1 && std::filesystem::exists(target + "/old"); };
  for (uint64_t at = 0; at < asset.tree->size; at++) {
    world.store.flip(tree, at);
    auto error = refused(world.restore(asset, target));
    CHECK_MESSAGE(contains(error.context, tree), at, error.context);
    CHECK(still_old());
    world.store.flip(tree, at);
  }
  // Of a chunk, a restore reads the pieces; the rest is verify's.
  for (uint64_t at = pieces.front().range.offset; at < pieces.back().range.offset + pieces.back().range.stored; at++) {
    world.store.flip(chunk, at);
    auto restored = world.restore(asset, target);
    // zstd has bits that mean nothing (an unused checksum flag is none of them): then the content is right.
    if (restored) {
      CHECK(as_text(must(read_file(world.files, target + "/c"))) == "other content");
      std::filesystem::remove_all(target);
      std::filesystem::create_directory(target);
      std::ofstream(target + "/old") << "old";
    } else {
      CHECK(restored.error().kind == ErrorKind::corrupt);
      CHECK(contains(restored.error().context, chunk));
      CHECK(contains(restored.error().context, "file '"));
      CHECK(still_old());
    }
    world.store.flip(chunk, at);
  }
  world.store.truncate(chunk, 130);
  CHECK(kind_of(world.restore(asset, target)) == ErrorKind::corrupt);
  world.store.erase(chunk);
  auto missing = refused(world.restore(asset, target));
  CHECK(missing.kind == ErrorKind::not_found);
  CHECK(contains(missing.context, chunk));
  CHECK(still_old());
  must(world.files.stat(target + "/old"));
}

TEST_CASE("restore: a store that fails at any call leaves the target as it was, and works afterwards") {
  AssetWorld world;
  for (int i = 0; i < 5; i++) world.write("d/f" + std::to_string(i), world.noise(200'000));
  auto asset = world.back_up();
  const std::string target = world.folder / "back";
  for (uint64_t n = 1;; n++) {
    world.store.fail_at(n, ErrorKind::transient);
    auto restored = world.restore(asset, target);
    if (restored) {
      CHECK(n > 5);
      break;
    }
    CHECK(restored.error().kind == ErrorKind::transient);
    CHECK(entries_in(world.folder.path()) == 4);
  }
  CHECK(described(target) == described(world.media));
}

TEST_CASE("restore: neighbours are read together, so small files cost few requests") {
  AssetWorld world;
  for (int i = 100; i < 400; i++) world.write("f" + std::to_string(i), world.noise(2000));
  auto asset = world.back_up();
  const uint64_t before = world.store.calls(), bytes = world.store.bytes_read();
  must(world.restore(asset, world.folder / "back"));
  CHECK(world.store.calls() - before < 25);
  CHECK(world.store.bytes_read() - bytes < 900'000);
}
