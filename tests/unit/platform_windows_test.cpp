// The ports on Windows, by Windows' own calls.
#include <doctest/doctest.h>
#include <windows.h>

#include <thread>

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

  TEST_CASE("windows files: errors have Windows' number, and their kind") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    CHECK(refused(files.open(folder / "nothing", OpenMode::read)).code == ERROR_FILE_NOT_FOUND);
    CHECK(windows_error(ERROR_DISK_FULL, "write", "C:/x").kind == ErrorKind::no_space);
    CHECK(windows_error(ERROR_SHARING_VIOLATION, "open", "C:/x").kind == ErrorKind::transient);
    CHECK(windows_error(ERROR_BAD_NETPATH, "open", "C:/x").kind == ErrorKind::offline);
    CHECK_THROWS_AS(windows_error(ERROR_OUTOFMEMORY, "open", "C:/x"), std::bad_alloc);
  }

  TEST_CASE("windows files: what is read-only says so, and is removed") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    write(files, folder / "b", "b");
    REQUIRE(::SetFileAttributesW(native_path(folder / "b").c_str(), FILE_ATTRIBUTE_READONLY));
    CHECK(must(files.stat(folder / "b")).mode == 0400);
    must(files.remove(folder / "b"));
    CHECK(kind_of(files.stat(folder / "b")) == ErrorKind::not_found);
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

  TEST_CASE("windows files: link_new gives the time of now") {
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

  struct Watched {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    std::string path = folder / "till.db";
    std::unique_ptr<ChangeNotifier> notifier = must(WindowsChangeNotifierFactory().watch(path));
  };
  using Event = ChangeNotifier::Event;

  TEST_CASE_FIXTURE(Watched, "windows change notifier: our files wake it at once, those of others do not") {
    write(files, folder / "till.dbx", "x");
    write(files, folder / "other.db", "x");
    write(files, folder / "till.db-shm", "x");
    CHECK(notifier->wait(20ms) == Event::timeout);
    for (const char* suffix : {"", "-wal", "-journal"}) {
      write(files, path + suffix, "x");
      CHECK(notifier->wait(100ms) == Event::changed);
      // It may be told in two parts, made and grown.
      while (notifier->wait(20ms) == Event::changed) {}
      must(files.remove(path + suffix));
      CHECK(notifier->wait(100ms) == Event::changed);
      while (notifier->wait(20ms) == Event::changed) {}
    }
  }

  TEST_CASE_FIXTURE(Watched,
                    "windows change notifier: who waits for long is told to look, five times a second at most") {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(notifier->wait(1h) == Event::look);
    CHECK(notifier->wait(1h) == Event::look);
    CHECK(std::chrono::steady_clock::now() - begin >= 395ms);
    CHECK(notifier->wait(1ms) == Event::timeout);
  }

  TEST_CASE_FIXTURE(Watched,
                    "windows change notifier: wake ends a wait from another thread and keeps the change for the next") {
    write(files, path, "x");
    std::thread([&] { notifier->wake(); }).join();
    CHECK(notifier->wait(5s) == Event::woken);
    CHECK(notifier->wait(100ms) == Event::changed);
  }

  TEST_CASE("windows change notifier: a folder that goes and comes back is found again") {
    TemporaryDirectory folder;
    WindowsFileSystem files;
    CHECK(kind_of(WindowsChangeNotifierFactory().watch(folder / "pos/till.db")) == ErrorKind::not_found);
    must(files.make_directories(folder / "pos"));
    auto notifier = must(WindowsChangeNotifierFactory().watch(folder / "pos/till.db"));
    must(files.remove(folder / "pos"));
    must(files.make_directories(folder / "pos"));
    // Before or after it noticed that the folder is another.
    bool is_told = false;
    for (int i = 0; i < 100 && !is_told; i++) {
      write(files, folder / "pos/till.db", "x");
      must(files.remove(folder / "pos/till.db"));
      is_told = notifier->wait(50ms) == Event::changed;
    }
    CHECK(is_told);
  }
}
