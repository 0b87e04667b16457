// What is damaged, missing or of somebody else is refused by name, and never restored.
#include <doctest/doctest.h>

#include "snapshot/pack_reader.h"
#include "support/sampled.h"
#include "support/snapshot_world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {
struct Damaged : SnapshotWorld {
  Manifest full, next;
  std::string full_key, next_key, full_pack, next_pack;
  Bytes truth;
  Damaged() {
    image.resize(5, generation, random);
    full = take(SnapshotType::full);
    full_pack = full.packs[0].key;
    image.change(1, generation, random);
    image.change(3, generation, random);
    next = take(SnapshotType::incremental, &full);
    next_pack = next.packs[0].key;
    full_key = keys::manifest(prefix_of(lineage), full.uuid);
    next_key = keys::manifest(prefix_of(lineage), next.uuid);
    truth = image.whole();
  }
  Error refused_naming(const std::string& key) {
    auto error = refused(restore(next.uuid));
    CHECK_MESSAGE(contains(error.context, key), error.context);
    return error;
  }
  // Replaces a manifest by one that decodes well and says something else.
  void rewrite(const std::string& key, const std::function<void(Manifest&)>& change) {
    Manifest m = must(Manifest::decode(*store.content(key), key, lineage));
    change(m);
    store.set(key, m.encode(random));
  }
};
}  // namespace

TEST_SUITE("snapshot") {
  TEST_CASE_FIXTURE(Damaged, "snapshot damage: every flipped byte of a manifest is refused naming the object") {
    for (auto& key : {full_key, next_key}) {
      size_t size = store.content(key)->size();
      for (uint64_t at = 0; at < size; at++) {
        for (uint8_t mask : {0x01, 0x80}) {
          store.flip(key, at, mask);
          auto restored = restore(next.uuid);
          store.flip(key, at, mask);
          REQUIRE_MESSAGE(!restored.has_value(), at);
          REQUIRE(restored.error().kind == ErrorKind::corrupt);
          REQUIRE(contains(restored.error().context, key));
        }
      }
    }
    CHECK((must(restore(next.uuid)) == truth));
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: every flipped byte of a pack is refused naming the object") {
    SeededRandom chosen(SeededRandom::seed_of_this_run());
    for (auto& key : {full_pack, next_pack}) {
      size_t size = store.content(key)->size();
      const Sampled bytes(chosen, 4);
      for (uint64_t at = bytes.first(); at < size; at += bytes.step()) {
        for (uint8_t mask : {0x01, 0x10}) {
          store.flip(key, at, mask);
          auto restored = restore(next.uuid);
          store.flip(key, at, mask);
          REQUIRE_MESSAGE(!restored.has_value(), at);
          REQUIRE(restored.error().kind == ErrorKind::corrupt);
          REQUIRE(contains(restored.error().context, key));
        }
      }
    }
    CHECK(must(verify_pack_object(store, full_pack)) == full.packs[0].size);
    store.flip(full_pack, 140);
    CHECK(kind_of(verify_pack_object(store, full_pack)) == ErrorKind::corrupt);
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: an object cut at any byte is refused naming it") {
    SeededRandom chosen(SeededRandom::seed_of_this_run());
    for (auto& key : {full_key, next_key, full_pack, next_pack}) {
      Bytes whole = *store.content(key);
      const Sampled sizes(chosen, 4);
      for (size_t size = sizes.first(); size < whole.size(); size += sizes.step()) {
        store.set(key, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
        auto error = refused(restore(next.uuid));
        REQUIRE(error.kind == ErrorKind::corrupt);
        REQUIRE(contains(error.context, key));
      }
      Bytes longer = whole;
      longer.push_back(0);
      store.set(key, longer);
      CHECK(refused_naming(key).kind == ErrorKind::corrupt);
      store.set(key, whole);
    }
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: a missing manifest or pack is not found, by name") {
    SeededRandom chosen(SeededRandom::seed_of_this_run());
    for (auto& key : {full_key, next_key, full_pack, next_pack}) {
      Bytes whole = *store.content(key);
      store.erase(key);
      auto error = refused_naming(key);
      CHECK(error.kind == ErrorKind::not_found);
      CHECK(contains(error.context, "missing"));
      store.set(key, whole);
    }
    CHECK(contains(refused(restore(Uuid{})).context, Uuid{}.str()));
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: objects of another terminal, database or epoch are refused") {
    for (int which = 0; which < 3; which++) {
      SnapshotWorld other;
      if (which == 0) other.lineage.terminal.bytes[0] ^= 1;
      if (which == 1) other.lineage.database = "other";
      if (which == 2) other.lineage.epoch = 4;
      other.image.resize(5, 1, other.random);
      Manifest foreign = other.take(SnapshotType::full);
      Bytes pack = *other.store.content(foreign.packs[0].key),
            manifest = *other.store.content(keys::manifest(prefix_of(other.lineage), foreign.uuid));
      Bytes kept = *store.content(full_key);
      store.set(full_key, manifest);
      CHECK(contains(refused_naming(full_key).context, "belongs to"));
      store.set(full_key, kept);
      kept = *store.content(full_pack);
      store.set(full_pack, pack);
      CHECK(refused_naming(full_pack).kind == ErrorKind::corrupt);
      store.set(full_pack, kept);
    }
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: objects in each other's place are refused") {
    Bytes a = *store.content(full_key), b = *store.content(next_key);
    store.set(next_key, a);
    CHECK(contains(refused_naming(next_key).context, "manifest of snapshot"));
    store.set(next_key, b);
    store.set(full_key, *store.content(full_pack));
    CHECK(contains(refused_naming(full_key).context, "a pack"));
    store.set(full_key, a);
    store.set(full_pack, *store.content(next_pack));
    CHECK(refused_naming(full_pack).kind == ErrorKind::corrupt);
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: manifests that are well formed and contradict each other are refused") {
    std::vector<std::pair<std::string, std::function<void(Manifest&)>>> lies = {
        {next_key, [](Manifest& m) { m.generation = 1; }},
        {next_key, [](Manifest& m) { m.sequence = 1; }},
        {next_key, [](Manifest& m) { m.page_size = 1024; }},
        {next_key, [](Manifest& m) { m.page_count = 6; }},
        {next_key, [](Manifest& m) { m.parent = m.uuid; }},
        {next_key,
         [](Manifest& m) {
           m.packs.clear();
           m.page_count = 9;
         }},
        {next_key, [this](Manifest& m) { m.packs = full.packs; }},
        {next_key, [](Manifest& m) { m.packs.push_back(m.packs[0]); }},
        {next_key, [](Manifest& m) { m.packs[0].size++; }},
        {full_key, [](Manifest& m) { m.map[0].block = 1; }},
        {full_key, [](Manifest& m) { m.map[0].name_check++; }},
        {full_key, [](Manifest& m) { m.map[0].pack = 1; }},
        {full_key, [](Manifest& m) { m.map.clear(); }},
        {full_key, [](Manifest& m) { m.page_count = 4; }},
        {full_key, [](Manifest& m) { m.type = SnapshotType::incremental; }},
    };
    for (size_t i = 0; i < lies.size(); i++) {
      CAPTURE(i);
      Bytes kept = *store.content(lies[i].first);
      rewrite(lies[i].first, lies[i].second);
      CHECK(kind_of(restore(next.uuid)) == ErrorKind::corrupt);
      store.set(lies[i].first, kept);
    }
    CHECK((must(restore(next.uuid)) == truth));
  }

  TEST_CASE_FIXTURE(Damaged, "snapshot damage: a store that fails at any call is reported as what it is") {
    must(restore(next.uuid));
    for (uint64_t n = 1;; n++) {
      store.fail_at(n, ErrorKind::offline);
      auto done = restore(next.uuid);
      if (done) {
        CHECK((*done == truth));
        CHECK(n > 5);
        break;
      }
      CHECK(done.error().kind == ErrorKind::offline);
    }
  }
}
