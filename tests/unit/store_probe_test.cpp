// What a store really does, found by trying it.
#include "store/store_probe.h"

#include <doctest/doctest.h>

#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr const char* kPrefix = "terminals/x/probe/";

// As a server without conditional writes.
class Overwriting : public MemoryObjectStore {
 public:
  Result<void> put(const std::string& key, ObjectSource& source, const std::function<bool(uint64_t)>&) override {
    Bytes bytes(source.size());
    TILLSYNC_TRY(source.read(0, bytes));
    set(key, bytes);
    return {};
  }
};

// Says that it took what it did not.
class Forgetful : public MemoryObjectStore {
 public:
  Result<void> put(const std::string& key, ObjectSource& source, const std::function<bool(uint64_t)>&) override {
    set(key, Bytes(source.size(), 0));
    return {};
  }
};

}  // namespace

TEST_SUITE_BEGIN("store probe");

TEST_CASE("store probe: a store that does all it should is left as it was") {
  MemoryObjectStore store;
  SeededRandom random(1);
  const StoreProbe probe = must(probe_store(store, kPrefix, random));
  CHECK(probe.create_only);
  CHECK(probe.may_delete);
  CHECK(probe.left.empty());
  CHECK(probe.name == store.properties().name);
  CHECK(store.keys().empty());
}

TEST_CASE("store probe: what it does not do is found, and said") {
  SeededRandom random(2);
  Overwriting overwriting;
  const StoreProbe probe = must(probe_store(overwriting, kPrefix, random));
  CHECK_FALSE(probe.create_only);
  CHECK(overwriting.keys().empty());

  MemoryObjectStore keeping;
  keeping.set_may_delete(false);
  const StoreProbe kept = must(probe_store(keeping, kPrefix, random));
  CHECK_FALSE(kept.may_delete);
  REQUIRE(keeping.keys().size() == 1);
  CHECK(kept.left == keeping.keys().front());

  Forgetful forgetful;
  const auto failed = probe_store(forgetful, kPrefix, random);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::corrupt);
  CHECK(forgetful.keys().empty());

  MemoryObjectStore away;
  away.set_offline(true);
  const auto offline = probe_store(away, kPrefix, random);
  REQUIRE_FALSE(offline);
  CHECK(offline.error().kind == ErrorKind::offline);
}

TEST_SUITE_END();
