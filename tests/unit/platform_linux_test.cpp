#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "platform/linux/change_notifier_linux.h"
#include "platform/linux/errno_linux.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/process_signals_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "support/results.h"
#include "support/temporary_directory.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

TEST_SUITE("platform linux") {
  TEST_CASE("linux files: errors have errno's number and words") {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    auto missing = refused(files.open(folder / "nothing", OpenMode::read));
    CHECK(missing.code == ENOENT);
    CHECK(contains(missing.context, "No such file"));
    CHECK(errno_error(EROFS, "write", "/x").kind == ErrorKind::denied);
    CHECK(errno_error(ENOSPC, "write", "/x").kind == ErrorKind::no_space);
    CHECK(errno_error(ESTALE, "write", "/x").kind == ErrorKind::offline);
  }

  TEST_CASE("linux files: link_new gives the time of now, and is not possible between file systems") {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    must(must(files.open(folder / "a", OpenMode::create))->write(0, as_bytes("a")));
    const timespec long_ago[2]{{1000000000, 0}, {1000000000, 0}};
    REQUIRE(utimensat(AT_FDCWD, (folder / "a").c_str(), long_ago, 0) == 0);
    must(files.link_new(folder / "a", folder / "b"));
    CHECK(must(files.stat(folder / "b")).mtime_ns > 1'700'000'000'000'000'000);
    if (must(files.stat("/dev/shm")).device != must(files.stat(folder / "b")).device) {
      const std::string there = "/dev/shm/tillsync-" + std::to_string(getpid());
      CHECK(kind_of(files.link_new(folder / "b", there)) == ErrorKind::usage);
    }
  }

  TEST_CASE("linux files: links are told from files") {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    REQUIRE(::symlink("z", (folder / "l").c_str()) == 0);
    auto entries = must(files.list(folder.path()));
    REQUIRE(entries.size() == 1);
    CHECK(entries[0].type == FileType::symlink);
    CHECK(must(files.stat(folder / "l")).type == FileType::symlink);
  }

  TEST_CASE("linux clock and random: time moves on and randomness differs") {
    SystemClock clock;
    auto before = clock.steady_now();
    clock.sleep_for(1ms);
    CHECK(clock.steady_now() - before >= 1ms);
    CHECK(to_ms(clock.now()) > 1'600'000'000'000);
    SystemRandom random;
    Bytes a(300), b(300);
    random.fill(a);
    random.fill(b);
    CHECK(a != b);
  }

  struct Watched {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    std::string path = folder / "till.db";
    std::unique_ptr<ChangeNotifier> notifier = must(LinuxChangeNotifierFactory().watch(path));
    void touch(const std::string& file) { must(must(files.open(file, OpenMode::create))->write(0, as_bytes("x"))); }
  };

  using Event = ChangeNotifier::Event;

  TEST_CASE_FIXTURE(Watched, "linux change notifier: a burst of writes to the -wal is one event") {
    CHECK(notifier->wait(0ms) == Event::timeout);
    for (int i = 0; i < 50; i++) touch(path + "-wal");
    CHECK(notifier->wait(5s) == Event::changed);
    CHECK(notifier->wait(10ms) == Event::look);
    CHECK(notifier->wait(10ms) == Event::timeout);
  }

  TEST_CASE_FIXTURE(Watched, "linux change notifier: files of other names do not wake it") {
    touch(folder / "till.db-shm");
    touch(folder / "till.dbx");
    touch(folder / "other.db");
    touch(folder / "xtill.db");
    // Its watch was used up by them.
    CHECK(notifier->wait(20ms) == Event::look);
    CHECK(notifier->wait(20ms) == Event::timeout);
    touch(path + "-journal");
    CHECK(notifier->wait(5s) == Event::changed);
  }

  TEST_CASE_FIXTURE(Watched, "linux change notifier: nobody is watched after an event, until someone waits for long") {
    touch(path);
    CHECK(notifier->wait(0ms) == Event::changed);
    touch(path);
    CHECK(notifier->wait(1ms) == Event::timeout);
    touch(path);
    CHECK(notifier->wait(5s) == Event::look);
    touch(path);
    CHECK(notifier->wait(1ms) == Event::changed);
  }

  TEST_CASE_FIXTURE(Watched,
                    "linux change notifier: a database that is removed, made again and replaced is still watched") {
    auto noticed = [&] {
      CHECK(notifier->wait(5s) == Event::changed);
      CHECK(notifier->wait(5s) == Event::look);
    };
    touch(path);
    noticed();
    must(files.remove(path));
    noticed();
    touch(path);
    noticed();
    touch(folder / "new");
    CHECK(notifier->wait(20ms) == Event::look);
    // The name it had before is the first event, and not ours.
    must(files.rename(folder / "new", path));
    CHECK(notifier->wait(5s) == Event::look);
    touch(path);
    noticed();
  }

  TEST_CASE_FIXTURE(Watched,
                    "linux change notifier: wake ends a wait from another thread and keeps the change for the next") {
    touch(path);
    std::thread other([&] { notifier->wake(); });
    other.join();
    CHECK(notifier->wait(5s) == Event::woken);
    CHECK(notifier->wait(5s) == Event::changed);
    CHECK(notifier->wait(5s) == Event::look);
    std::thread late([&] {
      std::this_thread::sleep_for(20ms);
      notifier->wake();
    });
    CHECK(notifier->wait(1h) == Event::woken);
    late.join();
  }

  TEST_CASE("linux change notifier: a folder that goes and comes back is found again") {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    must(files.make_directories(folder / "pos"));
    auto notifier = must(LinuxChangeNotifierFactory().watch(folder / "pos/till.db"));
    must(files.rename(folder / "pos", folder / "old"));
    CHECK(notifier->wait(5s) == Event::changed);
    CHECK(notifier->wait(10ms) == Event::timeout);
    must(files.make_directories(folder / "pos"));
    CHECK(notifier->wait(5s) == Event::look);
    must(files.open(folder / "pos/till.db", OpenMode::create));
    CHECK(notifier->wait(5s) == Event::changed);
  }

  TEST_CASE("linux change notifier: a folder that does not exist is not found, by name") {
    TemporaryDirectory folder;
    auto error = refused(LinuxChangeNotifierFactory().watch(folder / "no/till.db"));
    CHECK(error.kind == ErrorKind::not_found);
    CHECK(contains(error.context, folder / "no"));
  }

  TEST_CASE("linux change notifier: a database behind a symlink is watched where it really is") {
    TemporaryDirectory folder;
    LinuxFileSystem files;
    must(files.make_directories(folder / "data"));
    must(files.open(folder / "data/real.db", OpenMode::create));
    REQUIRE(::symlink("data/real.db", (folder / "till.db").c_str()) == 0);
    auto notifier = must(LinuxChangeNotifierFactory().watch(folder / "till.db"));
    must(files.open(folder / "data/real.db-wal", OpenMode::create));
    CHECK(notifier->wait(5s) == Event::changed);
  }

  TEST_CASE("signals: none that comes while somebody listens is lost, and one that comes else ends the process") {
    LinuxProcessSignals signals;
    CHECK_FALSE(signals.next());
    signals.listen(true);
    for (int number : {SIGHUP, SIGTERM, SIGHUP, SIGINT}) ::raise(number);
    pollfd readable{signals.descriptor(), POLLIN, 0};
    CHECK(::poll(&readable, 1, 0) == 1);
    // The next listener finds what the one before did not ask for.
    CHECK(signals.next() == ProcessSignal::reload);
    signals.listen(false);
    signals.listen(true);
    CHECK(signals.next() == ProcessSignal::stop);
    CHECK(signals.next() == ProcessSignal::reload);
    CHECK(signals.next() == ProcessSignal::stop);
    CHECK_FALSE(signals.next());
    CHECK(::poll(&readable, 1, 0) == 0);
    // More than the pipe holds: no signal blocks the process.
    for (int i = 0; i < 100'000; i++) ::raise(SIGHUP);
    while (signals.next()) {}
    signals.listen(false);
    ::raise(SIGHUP);
    CHECK(signals.next() == ProcessSignal::reload);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::raise(SIGTERM);
      ::_exit(3);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGTERM);
  }
}
