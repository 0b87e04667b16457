#include <doctest/doctest.h>

#include "platform/this_system.h"
#include "store/directory_store.h"
#include "store/open_store.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/temporary_directory.h"
#include "transfer/file_source.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {
struct Directory {
  MemoryFileSystem memory;
  FaultyFileSystem files{memory};
  SeededRandom random{1};
  Directory() { memory.add_directory("/usb/store"); }
  Result<void> put(const std::string& key, std::string_view text) {
    DirectoryStore store(files, random, "/usb/store");  // a new process each time
    BytesSource source(as_bytes(text));
    return store.put(key, source, nullptr);
  }
  size_t leftovers(const std::string& folder) {
    size_t n = 0;
    auto entries = memory.list(folder);
    if (!entries) return 0;
    for (auto& entry : *entries)
      n += entry.type == FileType::directory ? leftovers(folder + "/" + entry.name) : entry.name.ends_with(".tmp");
    return n;
  }
};
}  // namespace

TEST_SUITE("store") {
  TEST_CASE_FIXTURE(
      Directory,
      "directory store: a put that was interrupted leaves nothing under the key, and one that returned is durable") {
    DirectoryStore reader(memory, random, "/usb/store");
    for (uint64_t n = 1;; n++) {
      CAPTURE(n);
      std::string key = "t/" + std::to_string(n) + "/x.pack";
      files.reset();
      files.at_call(n, [&] { memory.cut_power(); });
      bool done = put(key, "content").has_value();
      memory.crash();
      auto there = reader.head(key);
      CHECK(there.has_value() == done);
      if (there) CHECK(as_text(must(read_object(reader, key, 100))) == "content");
      if (done) break;
    }
  }

  TEST_CASE_FIXTURE(
      Directory, "directory store: a put that failed at any call leaves nothing under the key and no temporary file") {
    DirectoryStore reader(memory, random, "/usb/store");
    for (uint64_t n = 1;; n++) {
      CAPTURE(n);
      std::string key = "t/" + std::to_string(n) + "/x.pack";
      files.reset();
      files.fail_at(n, ErrorKind::no_space);
      auto done = put(key, "content");
      CAPTURE(files.failed_call());
      if (files.failed_call().empty()) break;
      CHECK(reader.head(key).has_value() == done.has_value());
      CHECK(leftovers("/usb/store") == 0);
      if (!done) CHECK(contains(done.error().context, "/usb/store"));
    }
  }

  // A spooled file, each time a new process.
  struct Spooled : Directory {
    Spooled() {
      memory.add_directory("/spool");
      SeededRandom other{2};
      auto pending = must(PendingFile::create(memory, "/spool/x", 1));
      must(pending.append(as_bytes("content")));
      must(pending.commit());
    }
    Result<void> put(const std::string& key) {
      DirectoryStore store(files, random, "/usb/store");
      auto source = must(FileSource::open(memory, "/spool/x"));
      return store.put(key, *source, nullptr);
    }
  };

  TEST_CASE_FIXTURE(Spooled, "directory store: a durable file is not copied, and the object outlives it") {
    must(put("t/x.pack"));
    CHECK(must(memory.stat("/spool/x")).inode == must(memory.stat("/usb/store/t/x.pack")).inode);
    CHECK(files.bytes_written("/usb/store") == 0);
    CHECK(kind_of(put("t/x.pack")) == ErrorKind::conflict);
    must(memory.remove("/spool/x"));
    memory.crash();
    DirectoryStore reader(memory, random, "/usb/store");
    CHECK(as_text(must(read_object(reader, "t/x.pack", 100))) == "content");
  }

  TEST_CASE_FIXTURE(Spooled, "directory store: a durable file is copied where it can't have a further name") {
    for (const auto kind : {ErrorKind::usage, ErrorKind::denied, ErrorKind::internal}) {
      CAPTURE(to_string(kind));
      const std::string key = "t/" + std::string(to_string(kind));
      files.on_call(
          [&](const std::string& call) { return call.starts_with("link_new ") ? std::optional(kind) : std::nullopt; });
      must(put(key));
      CHECK(must(memory.stat("/spool/x")).inode != must(memory.stat("/usb/store/" + key)).inode);
      DirectoryStore reader(memory, random, "/usb/store");
      CHECK(as_text(must(read_object(reader, key, 100))) == "content");
    }
  }

  TEST_CASE_FIXTURE(Spooled,
                    "directory store: a durable file is an object whole or not at all, whenever the power fails") {
    DirectoryStore reader(memory, random, "/usb/store");
    for (uint64_t n = 1;; n++) {
      CAPTURE(n);
      const std::string key = "t/" + std::to_string(n) + "/x.pack", other = "t/" + std::to_string(n) + "/y.pack";
      files.reset();
      files.at_call(n, [&] { memory.cut_power(); });
      const bool done = put(key).has_value();
      memory.crash();
      const auto there = reader.head(key);
      CHECK(there.has_value() == done);
      if (there) CHECK(as_text(must(read_object(reader, key, 100))) == "content");
      // The same with a call that fails, the power staying on.
      files.reset();
      files.fail_at(n, ErrorKind::transient);
      const bool put_other = put(other).has_value();
      CHECK(reader.head(other).has_value() == put_other);
      if (done) break;
    }
  }

  TEST_CASE_FIXTURE(Directory, "directory store: a conflict means that the object is durable") {
    // Killed between the rename and the sync of its folder; the power goes after the next attempt.
    must(put("a/b", "content"));
    must(memory.open("/usb/store/a/new", OpenMode::create));
    must(must(memory.open("/usb/store/a/new", OpenMode::read_write))->sync());
    CHECK(kind_of(put("a/new", "")) == ErrorKind::conflict);
    memory.crash();
    CHECK(memory.stat("/usb/store/a/new").has_value());
  }

  TEST_CASE_FIXTURE(Directory, "directory store: a root that is not there is offline and is never made") {
    DirectoryStore store(memory, random, "/usb/other");
    BytesSource source(as_bytes("x"));
    for (auto& error :
         {refused(store.put("k", source, nullptr)), refused(store.head("k")), refused(store.list("", "", 1)),
          refused(store.remove("k")), refused(store.replace("fleet/x", as_bytes("x")))}) {
      CHECK(error.kind == ErrorKind::offline);
      CHECK(contains(error.context, "/usb/other"));
      CHECK(contains(error.context, "mount"));
    }
    CHECK_FALSE(memory.stat("/usb/other").has_value());
  }

  TEST_CASE_FIXTURE(Directory, "directory store: a full or read-only disk is said with its folder and its remedy") {
    memory.set_capacity(3);
    auto full = refused(put("a", "more than three"));
    CHECK(full.kind == ErrorKind::no_space);
    CHECK(contains(full.context, "/usb/store"));
    CHECK(contains(full.context, "free some space"));
    memory.set_capacity(1 << 20);
    files.reset();
    files.fail_at(1, ErrorKind::denied, true);
    auto denied = refused(put("a", "x"));
    CHECK(denied.kind == ErrorKind::denied);
    CHECK(contains(denied.context, "read-only"));
  }

  TEST_CASE_FIXTURE(Directory, "directory store: leftovers of an interrupted put are not listed and cannot be keys") {
    must(put("a/b", "x"));
    must(memory.open("/usb/store/a/c.0123abcd.tmp", OpenMode::create));
    DirectoryStore store(memory, random, "/usb/store");
    CHECK(must(store.list("", "", 10)).objects.size() == 1);
    CHECK(kind_of(put("a/c.tmp", "x")) == ErrorKind::usage);
  }

  TEST_CASE("directory store: an object says when it was put, by which prune tells what is left over") {
    TemporaryDirectory folder;
    SystemFiles files;
    SystemClock clock;
    SeededRandom random{1};
    DirectoryStore store(files, random, folder.path());
    // The file system's clock may tick more slowly.
    const Timestamp before = clock.now() - std::chrono::seconds(2);
    BytesSource source(as_bytes("x"));
    must(store.put("a/b", source, nullptr));
    const auto put_at = must(store.head("a/b")).modified_at;
    REQUIRE(put_at);
    CHECK(*put_at >= before);
    CHECK(*put_at <= clock.now());
  }

  TEST_CASE("store url: file urls are decoded, others are refused with what is supported") {
    SystemFiles files;
    SystemClock clock;
    SeededRandom random(1);
    auto root = [&](const char* url) {
      auto store = must(make_store({.url = url}, files, clock, random));
      return dynamic_cast<DirectoryStore&>(*store).root();
    };
    CHECK(root("file:///mnt/usb%20disk/t%c3%a9") == "/mnt/usb disk/t\xc3\xa9");
    CHECK(root("file://localhost/mnt/") == "/mnt");
    CHECK(root("file:///") == "/");
    for (auto* url :
         {"/mnt/usb", "file://nas/share", "file:relative", "file:///a%2", "file:///a%zz", "file:///a%00", ""}) {
      CAPTURE(url);
      auto error = refused(make_store({.url = url}, files, clock, random));
      CHECK(error.kind == ErrorKind::usage);
    }
    CHECK(contains(refused(make_store({.url = "ftp://bucket"}, files, clock, random)).context, "file:///"));
  }

  TEST_CASE("memory object store: errors come when they were asked for, also after the effect") {
    MemoryObjectStore store;
    BytesSource source(as_bytes("x"));
    store.set_offline(true);
    CHECK(kind_of(store.put("k", source)) == ErrorKind::offline);
    store.set_offline(false);
    store.fail_next(ErrorKind::throttled, 2);
    CHECK(kind_of(store.head("k")) == ErrorKind::throttled);
    CHECK(kind_of(store.put("k", source)) == ErrorKind::throttled);
    store.fail_at(1, ErrorKind::timeout, true);
    CHECK(kind_of(store.put("k", source)) == ErrorKind::timeout);
    CHECK(kind_of(store.put("k", source)) == ErrorKind::conflict);
    store.flip("k", 0);
    CHECK(store.content("k")->at(0) == ('x' ^ 1));
    CHECK(kind_of(store.replace("terminals/x", as_bytes("x"))) == ErrorKind::usage);
  }
}
