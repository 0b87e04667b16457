// What a prune removes from a store, in which order, and what stays whatever happens meanwhile.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "prune/prune_run.h"
#include "snapshot/epochs.h"
#include "snapshot/verified.h"
#include "support/fake_clock.h"
#include "support/sampled.h"
#include "support/snapshot_world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;

RetentionPolicy only_last(int n) { return {n, 0, 0, 0, 0, hours(1)}; }

struct PruneWorld : SnapshotWorld {
  FakeClock clock{from_ms(1767225600000)};
  PruneRequest request;
  PruneHooks hooks;

  explicit PruneWorld(int last = 1) {
    store.set_clock(&clock);
    request.policy = only_last(last);
    request.orphan_age = hours(24);
    image.resize(64 * 6, generation, random);
  }
  // An hour's work on the pages, then a snapshot of them.
  Manifest later(SnapshotType type, const Manifest* from = nullptr) {
    clock.advance(hours(1));
    for (int i = 0; i < 5; i++) image.change(random.below(image.pages.size()), generation, random);
    contents[generation] = image.whole();
    Manifest m = take(type, from);
    made.push_back(m);
    return m;
  }
  PrunePlan plan() {
    request.now = clock.now();
    return must(plan_prune(store, lineage.terminal, lineage.database, request));
  }
  Result<void> try_prune() {
    request.now = clock.now();
    TILLSYNC_LET(auto decided, plan_prune(store, lineage.terminal, lineage.database, request));
    return run_prune(store, decided, random, hooks);
  }
  void check_restores(const Manifest& m) {
    INFO("snapshot " << m.uuid.str());
    CHECK(must(restore(m.uuid)) == contents.at(m.generation));
  }
  bool is_there(const Manifest& m) { return store.content(keys::manifest(prefix_of(m.lineage), m.uuid)).has_value(); }
  size_t count(std::string_view suffix) {
    auto all = store.keys();
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](auto& k) { return k.ends_with(suffix); }));
  }
  // Every pack in the store is one that a manifest in it refers to.
  void check_nothing_left_over() {
    std::set<std::string> wanted;
    for (auto& m : must(list_manifests(store, lineage)))
      for (auto& pack : m.packs) wanted.insert(pack.key);
    for (auto& key : store.keys()) {
      if (key.ends_with(".pack")) CHECK_MESSAGE(wanted.contains(key), key);
      if (key.ends_with(".verified"))
        CHECK_MESSAGE(store.content(key.substr(0, key.size() - 8) + "manifest").has_value(), key);
    }
  }
  std::map<uint32_t, Bytes> contents;  // by generation
  std::vector<Manifest> made;
};

// FULLs that share runs, chains on each, marks.
void fill(PruneWorld& world) {
  for (int week = 0; week < 4; week++) {
    Manifest full = world.later(SnapshotType::full);
    Manifest before = full;
    for (int i = 0; i < 3; i++) before = world.later(SnapshotType::incremental, &before);
    world.later(SnapshotType::differential, &full);
  }
  for (size_t i = 0; i < world.made.size(); i += 2) {
    const Manifest& m = world.made[i];
    must(put_verified(world.store, m, VerifiedMark{m.uuid, m.checksum, m.created_at, "read-back", 1}, world.random));
  }
}

}  // namespace

TEST_SUITE_BEGIN("prune");

TEST_CASE("prune: a pack stays as long as one kept snapshot refers to a block in it, and goes with the last") {
  PruneWorld world;
  Manifest first = world.later(SnapshotType::full);
  Manifest second = world.later(SnapshotType::full);
  // Most of the second is in the pack of the first.
  REQUIRE(second.packs.size() == 2);
  must(world.try_prune());
  CHECK_FALSE(world.is_there(first));
  CHECK(world.store.content(first.packs[0].key).has_value());
  world.check_restores(second);
  for (size_t i = 0; i < world.image.pages.size(); i++) world.image.change(i, world.generation, world.random);
  Manifest third = world.later(SnapshotType::full);
  must(world.try_prune());
  CHECK(world.count(".manifest") == 1);
  CHECK_FALSE(world.store.content(first.packs[0].key).has_value());
  world.check_restores(third);
  world.check_nothing_left_over();
}

TEST_CASE("prune: with chains, marks and shared packs, what is kept restores and nothing is left over") {
  PruneWorld world(2);
  fill(world);
  const PrunePlan plan = world.plan();
  CHECK(plan.problems.empty());
  // The last two: a DIFFERENTIAL, and an INCREMENTAL with the two before it; the FULL under both.
  REQUIRE(plan.lineages.size() == 1);
  CHECK(plan.lineages[0].keep.size() == 5);
  for (auto& object : plan.lineages[0].manifests) CHECK_FALSE(object.reason.empty());
  must(world.try_prune());
  CHECK(world.count(".manifest") == 5);
  for (size_t i = 15; i < 20; i++) world.check_restores(world.made[i]);
  world.check_nothing_left_over();
  // Again: nothing to do, so nothing is written or removed.
  const auto before = world.store.keys();
  must(world.try_prune());
  CHECK(world.store.keys() == before);
}

TEST_CASE(
    "prune: cut off at any call to the store, in effect or only in its answer, the next one comes to the same end") {
  std::vector<std::string> expected;
  uint64_t calls = 0;
  {
    PruneWorld world(2);
    fill(world);
    const uint64_t before = world.store.calls();
    must(world.try_prune());
    calls = world.store.calls() - before;
    world.clock.advance(hours(48));
    must(world.try_prune());
    expected = world.store.keys();
  }
  REQUIRE(calls > 40);
  SeededRandom random(SeededRandom::seed_of_this_run());
  for (bool after_effect : {false, true}) {
    const Sampled calls_tried(random, 4);
    for (uint64_t n = 1 + calls_tried.first(); n <= calls; n += calls_tried.step()) {
      INFO("call " << n << ", only the answer lost: " << after_effect);
      PruneWorld world(2);
      fill(world);
      world.store.fail_at(n, ErrorKind::transient, after_effect);
      // A list whose answer is lost is no failure that this store can make.
      const bool finished = world.try_prune().has_value();
      if (!after_effect) REQUIRE_FALSE(finished);
      // In between, every snapshot that can be found can be restored.
      for (auto& m : world.made)
        if (world.is_there(m)) REQUIRE(must(world.restore(m.uuid)) == world.contents.at(m.generation));
      world.clock.advance(hours(48));
      must(world.try_prune());
      REQUIRE(world.store.keys() == expected);
    }
  }
}

TEST_CASE("prune: packs whose manifest is still to come stay while they are young, and while the agent knows of them") {
  PruneWorld world;
  world.later(SnapshotType::full);
  world.clock.advance(hours(1));
  for (size_t i = 0; i < world.image.pages.size(); i++) world.image.change(i, world.generation, world.random);
  world.contents[world.generation] = world.image.whole();
  auto built = must(world.build(SnapshotType::full));
  REQUIRE(built.packs.size() == 1);
  Bytes bytes = must(read_file(world.files, built.packs[0].path, 1 << 30));
  BytesSource source(bytes);
  must(world.store.put(built.packs[0].ref.key, source));
  SUBCASE("young") {
    world.clock.advance(hours(23));
    CHECK(world.plan().young_packs == 1);
    must(world.try_prune());
  }
  SUBCASE("old, but a backup under way has it") {
    world.clock.advance(hours(500));
    world.request.pinned_packs = {built.packs[0].ref.key};
    must(world.try_prune());
  }
  SUBCASE("a store that does not say when") {
    world.store.set_clock(nullptr);
    world.store.erase(built.packs[0].ref.key);
    BytesSource again(bytes);
    must(world.store.put(built.packs[0].ref.key, again));
    world.clock.advance(hours(500));
    must(world.try_prune());
  }
  REQUIRE(world.store.content(built.packs[0].ref.key).has_value());
  world.upload(BuiltSnapshot{built.manifest, built.manifest_bytes, built.manifest_key, {}});
  world.check_restores(built.manifest);
  // One that never got its manifest goes when it is old.
  world.generation++;
  world.clock.advance(hours(1));
  world.image.change(3, world.generation, world.random);
  world.deduplicate = false;
  auto lost = must(world.build(SnapshotType::full));
  Bytes orphan = must(read_file(world.files, lost.packs[0].path, 1 << 30));
  world.store.set_clock(&world.clock);
  BytesSource left(orphan);
  must(world.store.put(lost.packs[0].ref.key, left));
  world.request.pinned_packs = {};
  world.clock.advance(hours(24));
  must(world.try_prune());
  CHECK_FALSE(world.store.content(lost.packs[0].ref.key).has_value());
  world.check_restores(built.manifest);
}

TEST_CASE("prune: a manifest that comes between the plan and its execution keeps the packs it refers to") {
  PruneWorld world;
  Manifest first = world.later(SnapshotType::full);
  for (size_t i = 0; i < world.image.pages.size(); i++) world.image.change(i, world.generation, world.random);
  world.later(SnapshotType::full);
  const PrunePlan plan = world.plan();
  REQUIRE(plan.lineages[0].packs.size() == 1);
  REQUIRE(plan.lineages[0].packs[0].key == first.packs[0].key);
  // A backup elsewhere goes back to the content of the first, and refers to its pack.
  world.image.pages.clear();
  const Bytes& old = world.contents.at(first.generation);
  for (size_t at = 0; at < old.size(); at += 512)
    world.image.pages.emplace_back(old.begin() + static_cast<ptrdiff_t>(at),
                                   old.begin() + static_cast<ptrdiff_t>(at) + 512);
  world.image.changed_in.assign(world.image.pages.size(), world.generation);
  world.contents[world.generation] = world.image.whole();
  Manifest third = world.take(SnapshotType::full);
  must(run_prune(world.store, plan, world.random, {}));
  CHECK(world.store.content(first.packs[0].key).has_value());
  world.check_restores(third);
  // One that can't be read: no pack goes.
  const PrunePlan next = world.plan();
  world.store.set(keys::manifest(prefix_of(world.lineage), uuid_v7(world.clock.now(), Bytes(10, 1))), Bytes(300, 7));
  size_t packs = world.count(".pack");
  CHECK(kind_of(run_prune(world.store, next, world.random, {})) == ErrorKind::conflict);
  CHECK(world.count(".pack") == packs);
}

TEST_CASE("prune: a manifest that can't be read, or a missing link, and nothing goes") {
  PruneWorld world;
  fill(world);
  const std::string victim = keys::manifest(prefix_of(world.lineage), world.made[6].uuid);
  SUBCASE("damaged") { world.store.flip(victim, 200); }
  SUBCASE("missing") { world.store.erase(victim); }
  const auto before = world.store.keys();
  const PrunePlan plan = world.plan();
  REQUIRE(plan.problems.size() == 1);
  CHECK(contains(plan.problems[0], world.made[6].uuid.str()));
  must(run_prune(world.store, plan, world.random, {}));
  CHECK(world.store.keys() == before);
}

TEST_CASE("prune: where the store does not let us delete it is said before anything is written") {
  PruneWorld world;
  fill(world);
  world.store.set_may_delete(false);
  bool told = false;
  world.hooks.before_removal = [&](const PrunePlan&) -> Result<void> {
    told = true;
    return {};
  };
  const auto before = world.store.keys();
  CHECK(kind_of(world.try_prune()) == ErrorKind::denied);
  CHECK(world.store.keys() == before);
  CHECK_FALSE(told);
}

TEST_CASE("prune: what the agent knows of blocks is made right before the first object goes, or nothing goes") {
  PruneWorld world;
  fill(world);
  const auto before = world.store.keys();
  std::set<std::string> packs;
  world.hooks.before_removal = [&](const PrunePlan& plan) -> Result<void> {
    CHECK(world.store.keys() == before);
    for (auto& object : plan.lineages[0].packs) packs.insert(object.key);
    return {};
  };
  SUBCASE("right") {
    must(world.try_prune());
    CHECK_FALSE(packs.empty());
    for (auto& key : before)
      if (key.ends_with(".pack")) CHECK(packs.contains(key) == !world.store.content(key).has_value());
  }
  SUBCASE("not possible") {
    world.hooks.before_removal = [](const PrunePlan&) -> Result<void> {
      return Error{ErrorKind::no_space, 0, "the disk is full"};
    };
    CHECK(kind_of(world.try_prune()) == ErrorKind::no_space);
    CHECK(world.store.keys() == before);
  }
  SUBCASE("interrupted after some") {
    world.hooks.progress = [](uint64_t done, uint64_t) { return done < 3; };
    CHECK(kind_of(world.try_prune()) == ErrorKind::cancelled);
    CHECK(world.store.keys().size() == before.size() - 3);
  }
}

TEST_CASE("prune: a snapshot that a backup under way goes on from stays, with its chain") {
  PruneWorld world;
  Manifest full = world.later(SnapshotType::full);
  Manifest part = world.later(SnapshotType::incremental, &full);
  world.later(SnapshotType::full);
  world.request.pinned_snapshots = {part.uuid};
  must(world.try_prune());
  world.check_restores(part);
  world.request.pinned_snapshots = {};
  must(world.try_prune());
  CHECK_FALSE(world.is_there(full));
}

TEST_CASE("prune: several epochs share the windows, what does not belong to a database is left alone") {
  PruneWorld world(2);
  fill(world);
  world.lineage.epoch = 4;
  world.stored.clear();
  Manifest newer = world.later(SnapshotType::full);
  const std::string stranger = prefix_of(world.lineage) + "packs/readme.txt";
  world.store.set(stranger, Bytes(3, 1));
  Lineage other = world.lineage;
  other.database = "other";
  const std::string others = keys::pack(prefix_of(other), sha256(as_bytes("x")));
  world.store.set(others, Bytes(3, 1));
  const PrunePlan plan = world.plan();
  REQUIRE(plan.lineages.size() == 2);
  CHECK(plan.lineages[0].lineage.epoch == 3);
  CHECK(plan.lineages[0].keep.size() == 2);  // the last of it, and its FULL
  must(world.try_prune());
  world.check_restores(newer);
  world.lineage.epoch = 3;
  world.check_restores(world.made[19]);
  CHECK_FALSE(world.is_there(world.made[18]));
  CHECK(world.store.content(stranger).has_value());
  CHECK(world.store.content(others).has_value());
  // With one more in the new epoch, the old one is gone whole.
  world.lineage.epoch = 4;
  world.later(SnapshotType::full);
  must(world.try_prune());
  for (auto& key : world.store.keys()) CHECK_FALSE(key.starts_with(prefix_of({world.lineage.terminal, "till", 3})));
}

TEST_CASE("prune: the document says what goes and why, and that it did not go yet") {
  PruneWorld world;
  fill(world);
  const Json document = to_json(world.plan(), false);
  CHECK(document["removed"] == false);
  CHECK(document["keep"].size() == 2);
  CHECK(document["keep"][1]["reasons"][0] == "last 1");
  uint64_t bytes = 0, objects = 0;
  std::set<std::string> kinds;
  for (auto& entry : document["remove"]) {
    bytes += entry["bytes"].get<uint64_t>();
    objects += entry["count"].get<uint64_t>();
    kinds.insert(entry["kind"].get<std::string>());
    CHECK_FALSE(entry["reason"].get<std::string>().empty());
  }
  CHECK(document["bytes"] == bytes);
  CHECK(document["objects"] == objects);
  CHECK(kinds == std::set<std::string>{"snapshot", "verified", "pack"});
}

TEST_CASE("prune: of random chains nothing that is needed goes, and everything else does") {
  const uint64_t seed = SeededRandom::seed_of_this_run();
  INFO("seed " << seed);
  SeededRandom random(seed);
  for (int round = 0; round < 25; round++) {
    INFO("round " << round);
    PruneWorld world(1 + static_cast<int>(random.below(4)));
    for (uint64_t i = random.below(99); i > 0; i--) world.random.next();  // another content each round
    world.request.policy.hourly = static_cast<int>(random.below(5));
    world.request.policy.daily = static_cast<int>(random.below(3));
    std::set<std::string> young;
    for (int step = 0, steps = 5 + static_cast<int>(random.below(25)); step < steps; step++) {
      world.clock.advance(std::chrono::minutes(random.below(300)));
      std::vector<const Manifest*> here, fulls;
      for (auto& m : world.made) {
        if (m.lineage != world.lineage || m.is_page_level()) continue;
        here.push_back(&m);
        if (m.type == SnapshotType::full) fulls.push_back(&m);
      }
      const uint64_t what = random.below(10);
      if (what == 0 && !here.empty()) {
        world.lineage.epoch++;
        world.stored.clear();
      } else if (what == 1) {
        must(world.try_prune());
        std::erase_if(world.made, [&](auto& m) { return !world.is_there(m); });
        // What was removed is not referred to again: the agent forgets it.
        std::erase_if(world.stored, [&](auto& b) { return !world.store.content(b.second.pack_key); });
      } else if (what < 4 || here.empty()) {
        world.later(SnapshotType::full);
      } else if (what < 5) {
        const Manifest from = *fulls.back();
        world.later(SnapshotType::differential, &from);
      } else {
        const Manifest from = *here.back();
        world.later(SnapshotType::incremental, &from);
      }
    }
    // A backup that is between its packs and its manifest.
    world.clock.advance(std::chrono::minutes(30));
    for (int i = 0; i < 64; i++) world.image.change(random.below(world.image.pages.size()), world.generation, random);
    auto built = must(world.build(SnapshotType::full));
    for (auto& pack : built.packs) {
      Bytes bytes = must(read_file(world.files, pack.path, 1 << 30));
      BytesSource source(bytes);
      must(world.store.put(pack.ref.key, source));
    }
    world.contents[world.generation] = world.image.whole();
    for (auto& pack : built.manifest.packs) world.request.pinned_packs.insert(pack.key);
    must(world.try_prune());

    // Who is kept, told apart from the planner: newest first, the last ones, then the first of each hour and day.
    std::vector<const Manifest*> newest_first;
    for (auto& m : world.made) newest_first.push_back(&m);
    std::reverse(newest_first.begin(), newest_first.end());
    std::set<Uuid> needed;
    std::set<int64_t> in_hour, in_day;
    for (size_t i = 0; i < newest_first.size(); i++) {
      const int64_t ms = to_ms(newest_first[i]->created_at);
      bool wanted = i < static_cast<size_t>(world.request.policy.last);
      if (in_hour.size() < static_cast<size_t>(world.request.policy.hourly) && in_hour.insert(ms / 3'600'000).second)
        wanted = true;
      if (in_day.size() < static_cast<size_t>(world.request.policy.daily) && in_day.insert(ms / 86'400'000).second)
        wanted = true;
      if (wanted) needed.insert(newest_first[i]->uuid);
    }
    for (auto* m : newest_first)
      if (m->type == SnapshotType::full && m->lineage == newest_first[0]->lineage) {
        needed.insert(m->uuid);
        break;
      }
    for (auto* m : newest_first)
      if (needed.contains(m->uuid) && m->predecessor()) needed.insert(*m->predecessor());
    const Lineage current = world.lineage;
    for (auto* m : newest_first) {
      INFO("snapshot " << m->uuid.str());
      REQUIRE(world.is_there(*m) == needed.contains(m->uuid));
      world.lineage = m->lineage;
      if (needed.contains(m->uuid)) REQUIRE(must(world.restore(m->uuid)) == world.contents.at(m->generation));
    }
    world.lineage = current;
    BytesSource source(built.manifest_bytes);
    must(world.store.put(built.manifest_key, source));
    world.check_restores(built.manifest);
    // Everything else is swept, once it is old.
    world.request.pinned_packs = {};
    world.clock.advance(hours(48));
    must(world.try_prune());
    std::set<std::string> wanted;
    for (auto& lineage : must(list_epochs(world.store, world.lineage.terminal, world.lineage.database)))
      for (auto& m : must(list_manifests(world.store, lineage)))
        for (auto& pack : m.packs) wanted.insert(pack.key);
    for (auto& key : world.store.keys())
      if (key.ends_with(".pack")) CHECK_MESSAGE(wanted.contains(key), key);
  }
}

TEST_SUITE_END();
