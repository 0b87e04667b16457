// What only POSIX has: modes and owners, symbolic links, pipes and sockets, names of any bytes, and files that are open
// and have no name any more.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "assets/assets_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("assets");

TEST_CASE("capture: pipes, sockets and devices are left out and named, a pipe does not hold it up") {
  AssetWorld world;
  world.write("a", "a");
  REQUIRE(::mkfifo((world.media + "/pipe").c_str(), 0600) == 0);
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", world.media.c_str());
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  auto asset = world.back_up();
  CHECK(asset.files == 1);
  REQUIRE(asset.notes.size() == 2);
  CHECK(asset.notes[0] == "pipe: a pipe, socket or device, left out");
  CHECK(asset.notes[1] == "socket: a pipe, socket or device, left out");

  // One that takes the file's place between two looks is not waited for either.
  world.write("b", "b");
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "open" && name == "b") {
      std::filesystem::remove(world.media + "/b");
      REQUIRE(::mkfifo((world.media + "/b").c_str(), 0600) == 0);
    }
    return {};
  };
  auto next = world.back_up();
  CHECK(next.files == 1);
  CHECK(next.notes.size() == 3);
}

TEST_CASE("capture: a link that takes the place of a file or folder is not followed out of the asset") {
  AssetWorld world;
  std::filesystem::create_directory(world.folder / "outside");
  std::ofstream(world.folder / "outside/secret") << "secret";
  world.write("a", "a");
  world.write("d/secret", "ours");
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "open" && name == "a") {
      std::filesystem::remove(world.media + "/a");
      std::filesystem::create_symlink(world.folder / "outside/secret", world.media + "/a");
    }
    if (call == "folder" && name == "d") {
      std::filesystem::remove_all(world.media + "/d");
      std::filesystem::create_directory_symlink(world.folder / "outside", world.media + "/d");
    }
    return {};
  };
  auto asset = world.back_up();
  CHECK(asset.files == 0);
  CHECK(asset.notes.size() == 2);
}

TEST_CASE("capture: more than twenty notes are counted, and a name of any bytes is told in UTF-8") {
  AssetWorld world;
  for (int i = 0; i < 25; i++) REQUIRE(::mkfifo((world.media + "/p\xff" + std::to_string(i)).c_str(), 0600) == 0);
  auto asset = world.back_up();
  REQUIRE(asset.notes.size() == 21);
  CHECK(asset.notes[0] == "p\\xff0: a pipe, socket or device, left out");
  CHECK(asset.notes[20] == "and 5 more");
  CHECK(path_text("K\xc3\xa4se\n\xed\xa0\x80\xc0\xaf") == "K\xc3\xa4se\\x0a\\xed\\xa0\\x80\\xc0\\xaf");
}

TEST_CASE("restore: modes, times, owners, links, empty folders, empty and large files come back") {
  AssetWorld world;
  world.write("pos.conf", "printer = front\n", 0600);
  world.write("run.sh", "#!/bin/sh\n", 0755);
  world.write("read only/deep/er/x", "x", 0400);
  world.write("empty file", "");
  world.write("video.mp4", world.noise((6 << 20) + 1));
  world.write("name \xff\n of any bytes", "bytes");
  std::filesystem::create_directories(world.media + "/empty/inner");
  std::filesystem::create_symlink("../pos.conf", world.media + "/empty/link");
  std::filesystem::create_symlink("/nowhere/at all", world.media + "/broken");
  std::filesystem::create_directory_symlink("empty", world.media + "/folder link");
  REQUIRE(::chmod((world.media + "/read only/deep").c_str(), 0555) == 0);
  REQUIRE(::chmod((world.media + "/empty").c_str(), 01777) == 0);
  if (::geteuid() == 0) {
    REQUIRE(::lchown((world.media + "/pos.conf").c_str(), 1234, 4321) == 0);
    REQUIRE(::lchown((world.media + "/broken").c_str(), 1234, 4321) == 0);
    REQUIRE(::lchown((world.media + "/run.sh").c_str(), 99, 99) == 0);
    REQUIRE(::chmod((world.media + "/run.sh").c_str(), 04755) == 0);
  }
  world.set_time("pos.conf", 1'000'000'000, 123'456'789);
  world.set_time("empty file", -86'400, 1);  // before 1970
  world.set_time("broken", 1'100'000'000, 42);
  world.set_time("empty/inner", 1'200'000'000, 0);
  world.set_time("empty", 1'200'000'001, 7);
  world.set_time("read only/deep", 1'300'000'000, 8);
  world.set_time("", 1'400'000'000, 9);
  const auto before = described(world.media);

  auto asset = world.back_up();
  CHECK(asset.notes.empty());
  auto restored = must(world.restore(asset, world.folder / "back"));
  CHECK(described(world.folder / "back") == before);
  CHECK(restored.notes.empty());
  CHECK(restored.files == 6);
  CHECK(restored.links == 3);
  CHECK(restored.folders == asset.folders);
  CHECK(restored.bytes == asset.bytes);

  // And again over itself: the same, and nothing beside it.
  must(world.restore(asset, world.folder / "back"));
  CHECK(described(world.folder / "back") == before);
  CHECK(entries_in(world.folder.path()) == 5);  // back, media, spool, state.db and its -wal
}

TEST_CASE("restore: without `owners` nothing is given away and set-user-id is left out") {
  AssetWorld world;
  world.write("run.sh", "#!/bin/sh\n");
  REQUIRE(::chmod((world.media + "/run.sh").c_str(), 06755) == 0);
  auto asset = world.back_up();
  SystemFolders folders;
  must(
      restore_asset(world.store, folders, world.files, world.random, world.terminal, asset, world.folder / "back", {}));
  struct stat s {};
  REQUIRE(::stat((world.folder / "back" + "/run.sh").c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0755);
}

TEST_CASE("capture: what vanishes or may not be read is a note, and the rest goes on") {
  AssetWorld world;
  for (auto name : {"a", "b", "c", "d/e", "f"}) world.write(name, name);
  auto denied = [](const std::string& what) { return Error{ErrorKind::denied, EACCES, what + ": permission denied"}; };
  world.folders.before = [&](const std::string& call, const std::string& name) -> Result<void> {
    if (call == "stat" && name == "a") std::filesystem::remove(world.media + "/a");
    if (call == "read" && name == "b") std::filesystem::remove(world.media + "/b");
    if (call == "open" && name == "c") return denied("open /media/c");
    if (call == "folder" && name == "d") return denied("open /media/d");
    return {};
  };
  auto asset = world.back_up();
  CHECK(asset.files == 1);
  REQUIRE(asset.notes.size() == 4);
  CHECK(asset.notes[0] == "a: it vanished before it was read");
  CHECK(asset.notes[1] == "b: it vanished while it was read");
  CHECK(asset.notes[2] == "open /media/c: permission denied");
  CHECK(asset.notes[3] == "open /media/d: permission denied");
  must(world.restore(asset, world.folder / "back"));
  CHECK(described(world.folder / "back").size() == 3);  // itself, d, f
}

TEST_SUITE_END();
