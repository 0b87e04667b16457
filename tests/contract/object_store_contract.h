// What every object store must do. Included by a test program that has defined STORES: the list of its stores, each a
// type with a member `store` that is empty at first.
#pragma once

#include <doctest/doctest.h>

#include <atomic>

#include "support/faulty_upload_journal.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"

#ifndef STORES
#error "define STORES first"
#endif

namespace tillsync::test::contract {

inline Result<void> put(ObjectStore& store, const std::string& key, std::string_view text) {
  BytesSource source(as_bytes(text));
  return store.put(key, source);
}
inline std::string get(ObjectStore& store, const std::string& key) {
  return std::string(as_text(must(read_object(store, key, 1 << 20))));
}
inline std::vector<std::string> keys(const ObjectPage& page) {
  std::vector<std::string> out;
  for (auto& object : page.objects) out.push_back(object.key);
  return out;
}

// More than one part where there are parts.
inline size_t large_size(const ObjectStore& store) {
  const auto properties = store.properties();
  return properties.resumable ? 2 * properties.part_size_bytes + 12'345 : 1'000'001;
}

TEST_SUITE("store") {
  TEST_CASE_TEMPLATE("object store: what was put is read back, whole and in ranges", Store, STORES) {
    Store s;
    must(put(s.store, "a/b/c.pack", "0123456789"));
    CHECK(get(s.store, "a/b/c.pack") == "0123456789");
    Bytes part(4);
    CHECK(must(s.store.read("a/b/c.pack", 3, part)) == 4);
    CHECK(as_text(part) == "3456");
    CHECK(must(s.store.read("a/b/c.pack", 8, part)) == 2);
    CHECK(must(s.store.read("a/b/c.pack", 50, part)) == 0);
    CHECK(must(s.store.head("a/b/c.pack")).size == 10);
    must(put(s.store, "empty", ""));
    CHECK(must(s.store.head("empty")).size == 0);
    CHECK(get(s.store, "empty").empty());
  }

  TEST_CASE_TEMPLATE(
      "object store: when an object was put, where it is known, is told alike by head and list, and never changes",
      Store, STORES) {
    Store s;
    must(put(s.store, "a/first", "1"));
    const auto told = must(s.store.head("a/first")).modified_at;
    must(put(s.store, "a/second", "2"));
    const auto page = must(s.store.list("a/", "", 10));
    REQUIRE(page.objects.size() == 2);
    CHECK(page.objects[0].modified_at == told);
    CHECK(page.objects[1].modified_at == must(s.store.head("a/second")).modified_at);
    if (told) CHECK(*told <= *page.objects[1].modified_at);
  }

  TEST_CASE_TEMPLATE("object store: a large object arrives whole and its progress reaches the end", Store, STORES) {
    Store s;
    Bytes large(3'000'001);
    SeededRandom(4).fill(large);
    BytesSource source(large);
    uint64_t last = 0;
    must(s.store.put("large", source, [&](uint64_t sent) {
      CHECK(sent >= last);
      last = sent;
      return true;
    }));
    CHECK(last == large.size());
    CHECK(must(read_object(s.store, "large", 4 << 20)) == large);
  }

  TEST_CASE_TEMPLATE("object store: a second put of a key is a conflict and changes nothing", Store, STORES) {
    Store s;
    must(put(s.store, "k", "first"));
    auto error = refused(put(s.store, "k", "second"));
    CHECK(error.kind == ErrorKind::conflict);
    CHECK(contains(error.context, "k"));
    CHECK(get(s.store, "k") == "first");
  }

  TEST_CASE_TEMPLATE("object store: a put that is cancelled or whose source fails leaves nothing under the key", Store,
                     STORES) {
    Store s;
    Bytes large(1'000'000);
    BytesSource source(large);
    CHECK(kind_of(s.store.put("k", source, [](uint64_t) { return false; })) == ErrorKind::cancelled);
    struct Broken : ObjectSource {
      uint64_t size() const override { return 600'000; }
      Result<size_t> read(uint64_t offset, MutableBytes out) override {
        if (offset + out.size() > 300'000) return Error{ErrorKind::transient, 0, "spool"};
        return out.size();
      }
    } broken;
    CHECK(kind_of(s.store.put("k", broken, nullptr)) == ErrorKind::transient);
    struct Short : Broken {
      Result<size_t> read(uint64_t, MutableBytes) override { return size_t{1}; }
    } shorter;
    CHECK(kind_of(s.store.put("k", shorter, nullptr)) == ErrorKind::corrupt);
    CHECK(kind_of(s.store.head("k")) == ErrorKind::not_found);
    CHECK(must(s.store.list("", "", 10)).objects.empty());
    must(put(s.store, "k", "now"));
  }

  TEST_CASE_TEMPLATE("object store: what is not there is not found, by key", Store, STORES) {
    Store s;
    Bytes out(1);
    auto error = refused(s.store.read("a/missing", 0, out));
    CHECK(error.kind == ErrorKind::not_found);
    CHECK(contains(error.context, "a/missing"));
    CHECK(kind_of(s.store.head("a/missing")) == ErrorKind::not_found);
    must(put(s.store, "a/b", "x"));
    CHECK(kind_of(s.store.head("a")) == ErrorKind::not_found);
    CHECK(kind_of(s.store.head("a/b/c")) == ErrorKind::not_found);
  }

  TEST_CASE_TEMPLATE("object store: a key of another form is a usage error in every call", Store, STORES) {
    Store s;
    Bytes out(1);
    for (std::string key : {"", "/a", "a/", "a//b", "a/../b", ".", "a/."}) {
      CAPTURE(key);
      CHECK(kind_of(put(s.store, key, "x")) == ErrorKind::usage);
      CHECK(kind_of(s.store.replace(key, out)) == ErrorKind::usage);
      CHECK(kind_of(s.store.read(key, 0, out)) == ErrorKind::usage);
      CHECK(kind_of(s.store.head(key)) == ErrorKind::usage);
      CHECK(kind_of(s.store.remove(key)) == ErrorKind::usage);
    }
    CHECK(kind_of(put(s.store, std::string(1001, 'k'), "x")) == ErrorKind::usage);
  }

  TEST_CASE_TEMPLATE("object store: replace overwrites, also what is not there yet", Store, STORES) {
    Store s;
    must(s.store.replace("fleet/status/1.json", as_bytes("one")));
    must(s.store.replace("fleet/status/1.json", as_bytes("2")));
    CHECK(get(s.store, "fleet/status/1.json") == "2");
  }

  TEST_CASE_TEMPLATE("object store: remove is final and may be repeated", Store, STORES) {
    Store s;
    must(put(s.store, "a/k", "x"));
    must(s.store.remove("a/k"));
    must(s.store.remove("a/k"));
    CHECK(kind_of(s.store.head("a/k")) == ErrorKind::not_found);
    must(put(s.store, "a/k", "again"));
  }

  TEST_CASE_TEMPLATE("object store: a listing is in byte order of full keys, in pages, below a prefix", Store, STORES) {
    Store s;
    // '-' and '.' sort before '/', '0' after it: folders must not be listed as if their name ended without it.
    std::vector<std::string> all = {"a-b",     "a.x", "a/b", "a/b.c/d", "a/b0", "a/c/d/e",
                                    "a/c/d/f", "a0",  "b/1", "b/2",     "z"};
    for (auto it = all.rbegin(); it != all.rend(); ++it) must(put(s.store, *it, *it));
    for (size_t limit : {1, 2, 3, 1000}) {
      CAPTURE(limit);
      std::vector<std::string> seen;
      std::string after;
      while (true) {
        auto page = must(s.store.list("", after, limit));
        CHECK(page.objects.size() <= limit);
        for (auto& object : page.objects) {
          seen.push_back(object.key);
          CHECK(object.size == object.key.size());
        }
        if (!page.more) break;
        after = seen.back();
      }
      CHECK(seen == all);
    }
    CHECK(keys(must(s.store.list("a/c", "", 10))) == std::vector<std::string>{"a/c/d/e", "a/c/d/f"});
    CHECK(keys(must(s.store.list("a/b", "", 10))) == std::vector<std::string>{"a/b", "a/b.c/d", "a/b0"});
    CHECK(keys(must(s.store.list("b/", "b/1", 10))) == std::vector<std::string>{"b/2"});
    CHECK(keys(must(s.store.list("", "a/c/d/e", 2))) == std::vector<std::string>{"a/c/d/f", "a0"});
    CHECK(must(s.store.list("none/", "", 10)).objects.empty());
    size_t count = 0;
    must(for_each_object(s.store, "a", [&](auto&) -> Result<void> { return count++, Result<void>(); }));
    CHECK(count == 8);
  }

  TEST_CASE_TEMPLATE("object store: a resumable put arrives whole, is create-only, and leaves nothing in its journal",
                     Store, STORES) {
    Store s;
    MemoryUploadJournal journal;
    for (const size_t size : {size_t{0}, size_t{10}, large_size(s.store)}) {
      CAPTURE(size);
      const std::string key = "packs/" + std::to_string(size);
      Bytes bytes(size);
      SeededRandom(size + 1).fill(bytes);
      BytesSource source(bytes);
      uint64_t last = 0;
      must(s.store.put_resumable(key, source, journal, [&](uint64_t sent) {
        CHECK(sent >= last);
        last = sent;
        return true;
      }));
      CHECK(last == size);
      CHECK(must(read_object(s.store, key, 64 << 20)) == bytes);
      CHECK(must(journal.list("")).empty());
      CHECK(kind_of(s.store.put_resumable(key, source, journal)) == ErrorKind::conflict);
      CHECK(must(journal.list("")).empty());
    }
  }

  TEST_CASE_TEMPLATE("object store: a resumable put that was cancelled goes on, and may be given up", Store, STORES) {
    Store s;
    MemoryUploadJournal journal;
    Bytes bytes(large_size(s.store));
    SeededRandom(7).fill(bytes);
    BytesSource source(bytes);
    for (int i = 0; i < 2; i++) {
      CHECK(kind_of(s.store.put_resumable(
                "k", source, journal, [&](uint64_t sent) { return sent < bytes.size() / 2; })) == ErrorKind::cancelled);
      CHECK(kind_of(s.store.head("k")) == ErrorKind::not_found);
    }
    must(s.store.put_resumable("k", source, journal));
    CHECK(must(read_object(s.store, "k", 64 << 20)) == bytes);

    CHECK(kind_of(s.store.put_resumable("other", source, journal, [&](uint64_t sent) {
            return sent < bytes.size() / 2;
          })) == ErrorKind::cancelled);
    must(s.store.abandon("other", journal));
    must(s.store.abandon("other", journal));
    CHECK(must(journal.list("")).empty());
    CHECK(kind_of(s.store.head("other")) == ErrorKind::not_found);
    must(s.store.put_resumable("other", source, journal));
  }

  TEST_CASE_TEMPLATE(
      "object store: a source is read once at a time, and one that gives other bytes when read again is refused or was "
      "read once",
      Store, STORES) {
    struct Changing : BytesSource {
      using BytesSource::BytesSource;
      std::atomic<bool> is_being_read = false;
      std::atomic<int> overlaps = 0, readings_of_the_middle = 0;
      Result<size_t> read(uint64_t offset, MutableBytes out) override {
        if (is_being_read.exchange(true)) overlaps++;
        auto got = BytesSource::read(offset, out);
        const uint64_t middle = size() / 2;
        if (got && offset <= middle && middle < offset + *got && ++readings_of_the_middle > 1)
          out[middle - offset] ^= 1;
        is_being_read = false;
        return got;
      }
    };
    Store s;
    for (const size_t size : {size_t{1000}, large_size(s.store)}) {
      CAPTURE(size);
      const std::string key = "packs/" + std::to_string(size);
      Bytes bytes(size);
      SeededRandom(size).fill(bytes);
      Changing source(bytes);
      MemoryUploadJournal journal;
      const auto done = s.store.put_resumable(key, source, journal);
      CHECK(source.overlaps == 0);
      if (done) {
        CHECK(must(read_object(s.store, key, 64 << 20)) == bytes);
        continue;
      }
      CHECK(done.error().kind == ErrorKind::corrupt);
      CHECK(kind_of(s.store.head(key)) == ErrorKind::not_found);
      BytesSource steady(bytes);
      must(s.store.put_resumable(key, steady, journal));
      CHECK(must(read_object(s.store, key, 64 << 20)) == bytes);
    }
  }

  TEST_CASE_TEMPLATE("object store: a resumable put whose journal fails at any call fails, and succeeds afterwards",
                     Store, STORES) {
    Store s;
    Bytes bytes(large_size(s.store));
    SeededRandom(8).fill(bytes);
    BytesSource source(bytes);
    int failures = 0;
    for (uint64_t n = 1;; n++) {
      CAPTURE(n);
      const std::string key = "k" + std::to_string(n);
      MemoryUploadJournal memory;
      FaultyUploadJournal journal(memory);
      journal.fail_at(n);
      auto done = s.store.put_resumable(key, source, journal);
      if (!done) {
        CHECK(done.error().kind == ErrorKind::no_space);
        failures++;
        done = s.store.put_resumable(key, source, journal);
        // The object was there before its upload was to be forgotten.
        if (!done) CHECK(done.error().kind == ErrorKind::conflict);
      }
      CHECK(must(read_object(s.store, key, 64 << 20)) == bytes);
      CHECK(must(memory.list("")).empty());
      if (journal.calls() < n) break;
    }
    CHECK((failures > 0) == s.store.properties().resumable);
  }
}

}  // namespace tillsync::test::contract
