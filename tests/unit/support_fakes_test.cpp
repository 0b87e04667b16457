#include <doctest/doctest.h>

#include <thread>

#include "support/fake_change_notifier.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {
struct Memory {
  MemoryFileSystem files;
  Memory() { files.add_directory("/d"); }
  std::unique_ptr<File> open(const std::string& path) { return must(files.open(path, OpenMode::create)); }
  std::string content(const std::string& path) { return std::string(as_text(must(read_file(files, path)))); }
  bool exists(const std::string& path) { return files.stat(path).has_value(); }
  // A file that is there for good.
  void durable(const std::string& path, std::string_view text) {
    auto file = open(path);
    must(file->write(0, as_bytes(text)));
    must(file->sync());
    must(files.sync_directory("/d"));
  }
};
}  // namespace

TEST_SUITE("support") {
  TEST_CASE_FIXTURE(Memory, "memory files: what was synced survives a power loss, what was not is gone") {
    durable("/d/f", "first");
    auto file = open("/d/f");
    must(file->write(0, as_bytes("later and longer")));
    CHECK(content("/d/f") == "later and longer");
    files.crash();
    CHECK(content("/d/f") == "first");
    file = open("/d/f");
    must(file->write(0, as_bytes("FIRST")));
    must(file->sync());
    files.crash();
    CHECK(content("/d/f") == "FIRST");
  }

  TEST_CASE_FIXTURE(Memory, "memory files: an unsynced truncation is undone") {
    durable("/d/f", "content");
    must(open("/d/f")->truncate(2));
    CHECK(content("/d/f") == "co");
    files.crash();
    CHECK(content("/d/f") == "content");
  }

  TEST_CASE_FIXTURE(Memory, "memory files: a synced file whose name was not synced is gone") {
    auto file = open("/d/f");
    must(file->write(0, as_bytes("x")));
    must(file->sync());
    files.crash();
    CHECK_FALSE(exists("/d/f"));
  }

  TEST_CASE_FIXTURE(Memory, "memory files: a synced name whose content was not synced is an empty file") {
    must(open("/d/f")->write(0, as_bytes("x")));
    must(files.sync_directory("/d"));
    files.crash();
    CHECK(content("/d/f").empty());
  }

  TEST_CASE_FIXTURE(Memory, "memory files: an unsynced rename and an unsynced removal are undone") {
    durable("/d/a", "a");
    durable("/d/b", "b");
    must(files.rename("/d/a", "/d/b"));
    CHECK(content("/d/b") == "a");
    files.crash();
    CHECK(content("/d/a") == "a");
    CHECK(content("/d/b") == "b");
    must(files.remove("/d/a"));
    CHECK_FALSE(exists("/d/a"));
    files.crash();
    CHECK(content("/d/a") == "a");
    must(files.remove("/d/a"));
    must(files.sync_directory("/d"));
    files.crash();
    CHECK_FALSE(exists("/d/a"));
  }

  TEST_CASE_FIXTURE(Memory, "memory files: an unsynced folder is gone with all it holds") {
    must(files.make_directories("/d/e/f"));
    auto file = open("/d/e/f/x");
    must(file->sync());
    must(files.sync_directory("/d/e/f"));
    must(files.sync_directory("/d/e"));
    files.crash();
    CHECK_FALSE(exists("/d/e"));
    CHECK(exists("/d"));
  }

  TEST_CASE_FIXTURE(Memory, "memory files: a torn write leaves whole blocks, each old or new") {
    SeededRandom random(7);
    bool mixed = false;
    for (int round = 0; round < 50; round++) {
      durable("/d/f", std::string(4096, 'o'));
      must(open("/d/f")->write(100, Bytes(3000, 'n')));
      files.crash(random);
      std::string after = content("/d/f");
      REQUIRE(after.size() == 4096);
      bool any_old = false, any_new = false;
      for (size_t block = 0; block < 8; block++) {
        std::string part = after.substr(block * 512, 512);
        std::string fresh(512, 'o');
        for (size_t i = 0; i < 512; i++)
          if (block * 512 + i >= 100 && block * 512 + i < 3100) fresh[i] = 'n';
        REQUIRE((part == fresh || part == std::string(512, 'o')));
        if (fresh[511] == 'n') (part == fresh ? any_new : any_old) = true;
      }
      mixed = mixed || (any_old && any_new);
    }
    CHECK(mixed);
  }

  TEST_CASE_FIXTURE(Memory, "memory files: random losses keep name changes in order") {
    SeededRandom random(3);
    int seen[4] = {};
    for (int round = 0; round < 60; round++) {
      for (auto* name : {"/d/1", "/d/2", "/d/3"}) (void)files.remove(name).has_value();
      must(files.sync_directory("/d"));
      for (auto* name : {"/d/1", "/d/2", "/d/3"}) open(name);
      files.crash(random);
      int there = exists("/d/1") + exists("/d/2") + exists("/d/3");
      if (there >= 2) CHECK(exists("/d/2"));
      if (there >= 1) CHECK(exists("/d/1"));
      seen[there]++;
    }
    for (int count : seen) CHECK(count > 0);
  }

  TEST_CASE_FIXTURE(Memory, "memory files: after a power loss open files are dead and locks are free") {
    durable("/d/f", "x");
    auto file = open("/d/f");
    must(file->lock());
    CHECK(kind_of(open("/d/f")->lock()) == ErrorKind::conflict);
    files.cut_power();
    CHECK_FALSE(file->sync());
    CHECK_FALSE(files.stat("/d/f"));
    files.crash();
    Bytes out(1);
    CHECK_FALSE(file->read(0, out));
    must(open("/d/f")->lock());
  }

  TEST_CASE_FIXTURE(Memory, "memory files: a full disk refuses the write and keeps what is there") {
    durable("/d/f", "12345");
    files.set_capacity(8);
    CHECK(must(files.free_space("/d")) == 3);
    CHECK(kind_of(open("/d/f")->write(5, as_bytes("6789"))) == ErrorKind::no_space);
    must(open("/d/f")->write(5, as_bytes("678")));
    CHECK(content("/d/f") == "12345678");
  }

  TEST_CASE_FIXTURE(Memory, "memory files: errors are those of the port") {
    CHECK(kind_of(files.open("/d/no", OpenMode::read_write)) == ErrorKind::not_found);
    CHECK(kind_of(files.open("/no/f", OpenMode::create)) == ErrorKind::not_found);
    durable("/d/f", "x");
    durable("/d/g", "y");
    CHECK(kind_of(files.open("/d/f", OpenMode::create_new)) == ErrorKind::conflict);
    CHECK(kind_of(files.rename_new("/d/f", "/d/g")) == ErrorKind::conflict);
    CHECK(kind_of(files.remove("/d")) == ErrorKind::conflict);
    CHECK(kind_of(must(files.open("/d/f", OpenMode::read))->write(0, as_bytes("z"))) == ErrorKind::denied);
    auto entries = must(files.list("/d"));
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].name == "f");
  }

  TEST_CASE_FIXTURE(Memory, "pending file: interrupted at any call it appears whole or not at all") {
    FaultyFileSystem faulty(files);
    auto write = [&]() -> Result<void> {
      TILLSYNC_LET(auto pending, PendingFile::create(faulty, "/d/p", 1));
      TILLSYNC_TRY(pending.append(as_bytes("some ")));
      TILLSYNC_TRY(pending.append(as_bytes("content")));
      return pending.commit_new();
    };
    SeededRandom random(1);
    for (uint64_t n = 1;; n++) {
      faulty.reset();
      faulty.at_call(n, [&] { files.cut_power(); });
      bool done = write().has_value();
      files.crash(random);
      CAPTURE(n);
      if (exists("/d/p")) CHECK(content("/d/p") == "some content");
      if (done) {
        CHECK(exists("/d/p"));
        break;
      }
      for (auto& entry : must(files.list("/d"))) must(files.remove("/d/" + entry.name));
      must(files.sync_directory("/d"));
    }
  }

  TEST_CASE_FIXTURE(Memory, "faulty files: the call that was chosen fails, once or for good, and is named") {
    FaultyFileSystem faulty(files);
    auto file = must(faulty.open("/d/f", OpenMode::create));
    must(file->write(0, as_bytes("x")));
    CHECK(faulty.calls() == 2);
    faulty.reset();
    faulty.fail_at(2, ErrorKind::no_space);
    must(file->sync());
    CHECK(kind_of(file->sync()) == ErrorKind::no_space);
    must(file->sync());
    CHECK(faulty.failed_call() == "sync /d/f");
    faulty.reset();
    faulty.fail_at(1, ErrorKind::denied, true);
    CHECK_FALSE(file->sync());
    CHECK(kind_of(faulty.stat("/d/f")) == ErrorKind::denied);
  }

  TEST_CASE("fake clock: moves only when told, and a sleep moves it") {
    FakeClock clock;
    auto wall = clock.now();
    auto steady = clock.steady_now();
    clock.sleep_for(1500us);
    clock.advance(500us);
    CHECK(clock.now() - wall == 2ms);
    CHECK(clock.steady_now() - steady == 2ms);
    clock.jump_to(from_ms(0));
    CHECK(clock.now() == from_ms(0));
    CHECK(clock.steady_now() - steady == 2ms);
  }

  TEST_CASE("seeded random: the same seed gives the same bytes") {
    SeededRandom a(5), b(5), c(6);
    Bytes x(37), y(37), z(37);
    a.fill(x);
    b.fill(y);
    c.fill(z);
    CHECK(x == y);
    CHECK(x != z);
  }

  TEST_CASE("fake change notifier: answers what is pending, and else the time passes") {
    FakeClock clock;
    FakeChangeNotifierFactory factory(&clock);
    auto notifier = must(factory.watch("/pos/till.db"));
    auto start = clock.steady_now();
    CHECK(notifier->wait(5s) == ChangeNotifier::Event::timeout);
    CHECK(clock.steady_now() - start == 5s);
    factory.change("/pos/till.db");
    factory.change("/pos/till.db");
    factory.change("/pos/other.db");
    notifier->wake();
    CHECK(notifier->wait(5s) == ChangeNotifier::Event::woken);
    CHECK(notifier->wait(5s) == ChangeNotifier::Event::changed);
    CHECK(notifier->wait(0s) == ChangeNotifier::Event::timeout);
    FakeChangeNotifier real;
    std::thread other([&] { real.change(); });
    CHECK(real.wait(1h) == ChangeNotifier::Event::changed);
    other.join();
  }
}
