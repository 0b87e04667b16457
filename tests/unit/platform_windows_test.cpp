// The ports on Windows, by Windows' own calls.
#include <doctest/doctest.h>
#include <windows.h>

#include "platform/this_system.h"
#include "platform/windows/error_windows.h"
#include "platform/windows/wide_text.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

void write(FileSystem& files, const std::string& path, std::string_view text) {
  auto file = must(files.open(path, OpenMode::create));
  must(file->write(0, as_bytes(text)));
}

std::string text_of(FileSystem& files, const std::string& path) {
  return std::string(as_text(must(read_file(files, path))));
}

}  // namespace

TEST_SUITE("platform windows") {
  TEST_CASE("windows paths: a path of ours is Windows' own of any length, whatever its separators") {
    CHECK(to_utf8(native_path("C:/a/b")) == "\\\\?\\C:\\a\\b");
    CHECK(to_utf8(native_path("C:\\a//b/")) == "\\\\?\\C:\\a\\b");
    CHECK(to_utf8(native_path("C:/")) == "\\\\?\\C:\\");
    CHECK(to_utf8(native_path("//server/share/f")) == "\\\\?\\UNC\\server\\share\\f");
    CHECK(to_utf8(native_path("\\\\?\\C:\\a")) == "\\\\?\\C:\\a");
    CHECK(to_utf8(native_path("a/b")) == "a\\b");
    CHECK(to_utf8(to_wide("Käse 漢 🧀")) == "Käse 漢 🧀");
    CHECK(to_utf8(std::wstring(1, wchar_t{0xd800})) == "\xef\xbf\xbd");
  }

  TEST_CASE("windows files: what is written at an offset is read back, and a read past the end is short") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    auto file = must(files.open(folder / "f", OpenMode::create_new));
    must(file->write(10, as_bytes("hello")));
    CHECK(must(file->size()) == 15);
    Bytes out(20, 0xff);
    CHECK(must(file->read(5, out)) == 10);
    CHECK(as_text(ByteView(out).subspan(5, 5)) == "hello");
    CHECK(out[0] == 0);
    CHECK(must(file->read(100, out)) == 0);
    must(file->truncate(12));
    CHECK(must(file->size()) == 12);
    must(file->sync());
    must(files.sync_directory(folder.path()));
    auto copy = must(file->duplicate());
    file.reset();
    CHECK(must(copy->read(10, MutableBytes(out).first(2))) == 2);
    CHECK(as_text(ByteView(out).first(2)) == "he");
    CHECK(must(copy->free_space()) > 0);
    CHECK(must(files.free_space(folder.path())) > 0);
  }

  TEST_CASE("windows files: errors say what and where in Windows' words, by kind") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    const Error missing = refused(files.open(folder / "nothing", OpenMode::read));
    CHECK(missing.kind == ErrorKind::not_found);
    CHECK(missing.code == ERROR_FILE_NOT_FOUND);
    // Whatever words this Windows has for it.
    const std::string place = "open " + (folder / "nothing") + ": ";
    CHECK(missing.context.starts_with(place));
    CHECK(missing.context.size() > place.size());
    must(files.open(folder / "f", OpenMode::create_new));
    CHECK(kind_of(files.open(folder / "f", OpenMode::create_new)) == ErrorKind::conflict);
    CHECK(kind_of(files.make_directories(folder / "f")) == ErrorKind::conflict);
    CHECK(kind_of(files.open(folder / "f/x", OpenMode::create)) == ErrorKind::not_found);
    CHECK(kind_of(files.list(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.sync_directory(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.remove(folder / "gone")) == ErrorKind::not_found);
    CHECK(kind_of(files.stat(folder / "gone")) == ErrorKind::not_found);
    CHECK(windows_error(ERROR_DISK_FULL, "write", "C:/x").kind == ErrorKind::no_space);
    CHECK(windows_error(ERROR_SHARING_VIOLATION, "open", "C:/x").kind == ErrorKind::transient);
    CHECK(windows_error(ERROR_BAD_NETPATH, "open", "C:/x").kind == ErrorKind::offline);
    CHECK_THROWS_AS(windows_error(ERROR_OUTOFMEMORY, "open", "C:/x"), std::bad_alloc);
  }

  TEST_CASE("windows files: a lock excludes a second open of the same file until it is closed, and no reader") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "f", "text");
    auto first = must(files.open(folder / "f", OpenMode::create));
    must(first->lock());
    must(first->lock());
    auto second = must(files.open(folder / "f", OpenMode::create));
    const Error error = refused(second->lock());
    CHECK(error.kind == ErrorKind::conflict);
    CHECK(contains(error.context, folder / "f"));
    CHECK(text_of(files, folder / "f") == "text");
    first.reset();
    must(second->lock());
  }

  TEST_CASE("windows files: rename_new never replaces, rename does, also what is read-only to remove") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "a", "a");
    write(files, folder / "b", "b");
    CHECK(kind_of(files.rename_new(folder / "a", folder / "b")) == ErrorKind::conflict);
    CHECK(text_of(files, folder / "b") == "b");
    must(files.rename_new(folder / "a", folder / "c"));
    CHECK(kind_of(files.stat(folder / "a")) == ErrorKind::not_found);
    must(files.rename(folder / "c", folder / "b"));
    CHECK(text_of(files, folder / "b") == "a");
    REQUIRE(::SetFileAttributesW(native_path(folder / "b").c_str(), FILE_ATTRIBUTE_READONLY));
    CHECK(must(files.stat(folder / "b")).mode == 0400);
    must(files.remove(folder / "b"));
    CHECK(kind_of(files.remove(folder / "b")) == ErrorKind::not_found);
  }

  TEST_CASE("windows files: a rename over a file that is open replaces it, or is refused and changes nothing") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "new", "new");
    write(files, folder / "old", "old");
    const auto open = must(files.open(folder / "old", OpenMode::read));
    const auto renamed = files.rename(folder / "new", folder / "old");
    // Which of the two is the file system's: docs/windows.md.
    MESSAGE(std::string(renamed ? "replaced" : renamed.error().context));
    if (!renamed) CHECK(renamed.error().kind == ErrorKind::denied);
    CHECK(text_of(files, folder / "old") == (renamed ? "new" : "old"));
    CHECK(bool(files.stat(folder / "new")) == !renamed);
    Bytes text(3);
    CHECK(must(open->read(0, text)) == 3);
    CHECK(as_text(text) == "old");
  }

  TEST_CASE("windows files: link_new gives a further name and the time of now, and never replaces") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "a", "a");
    {
      const HANDLE file = ::CreateFileW(native_path(folder / "a").c_str(), FILE_WRITE_ATTRIBUTES, FILE_SHARE_READ,
                                        nullptr, OPEN_EXISTING, 0, nullptr);
      const FILETIME long_ago{0, 0x01c00000};
      REQUIRE(::SetFileTime(file, nullptr, nullptr, &long_ago));
      ::CloseHandle(file);
    }
    CHECK(must(files.stat(folder / "a")).mtime_ns < 1'300'000'000'000'000'000);
    must(files.link_new(folder / "a", folder / "b"));
    CHECK(must(files.stat(folder / "b")).mtime_ns > 1'700'000'000'000'000'000);
    CHECK(must(files.stat(folder / "a")).inode == must(files.stat(folder / "b")).inode);
    CHECK(kind_of(files.link_new(folder / "a", folder / "b")) == ErrorKind::conflict);
    CHECK(kind_of(files.link_new(folder / "none", folder / "c")) == ErrorKind::not_found);
    must(files.remove(folder / "a"));
    CHECK(text_of(files, folder / "b") == "a");
  }

  TEST_CASE("windows files: a listing is sorted by UTF-8 and tells files from folders") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "z", "");
    write(files, folder / "Käse", "");
    must(files.make_directories(folder / "m/n"));
    const auto entries = must(files.list(folder.path()));
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].name == "Käse");
    CHECK(entries[1].name == "m");
    CHECK(entries[1].type == FileType::directory);
    CHECK(entries[2].name == "z");
    CHECK(entries[2].type == FileType::regular);
    CHECK(must(files.list(folder / "m/n")).empty());
    CHECK(must(files.stat(folder / "m")).mode == 0700);
  }

  TEST_CASE("windows files: paths of more than 260 characters are as good as short ones") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    std::vector<std::string> made;
    std::string path = folder.path();
    while (path.size() < 600) {
      path += "/" + std::string(60, 'x');
      must(files.make_directories(path));
      made.push_back(path);
    }
    write(files, path + "/f", "deep");
    must(files.rename(path + "/f", path + "/g"));
    CHECK(text_of(files, path + "/g") == "deep");
    REQUIRE(must(files.list(path)).size() == 1);
    must(files.remove(path + "/g"));
    // The standard library of mingw-w64 would not find its way down there.
    for (auto it = made.rbegin(); it != made.rend(); ++it) must(files.remove(*it));
  }

  TEST_CASE("windows clock and random: time moves on and randomness differs") {
    SystemClock clock;
    const auto before = clock.steady_now();
    clock.sleep_for(2ms);
    CHECK(clock.steady_now() - before >= 2ms);
    CHECK(to_ms(clock.now()) > 1'700'000'000'000);
    SystemRandom random;
    Bytes a(32), b(32);
    random.fill(a);
    random.fill(b);
    CHECK(a != b);
    CHECK(a != Bytes(32));
  }
}
