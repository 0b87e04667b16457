// The agent's prune: what backups under way count on stays, and state.db is right before the first object goes.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "actionlog/log_dictionary.h"
#include "agent/daemon/log_begin.h"
#include "agent/daemon/pruner.h"
#include "agent/daemon/store_plans.h"
#include "platform/linux/file_system_linux.h"
#include "restore/prune_fixture.h"
#include "support/fake_clock.h"
#include "support/snapshot_world.h"
#include "support/temporary_directory.h"
#include "workflow/engine.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;

// Looks at state.db whenever something is about to be removed.
struct WatchedStore : MemoryObjectStore {
  std::function<void(const std::string&)> on_remove;
  Result<void> remove(const std::string& key) override {
    if (on_remove) on_remove(key);
    return MemoryObjectStore::remove(key);
  }
};

struct PrunerWorld {
  SnapshotWorld snapshots;
  WatchedStore store;  // what the agent sees; filled from the world's
  FakeClock clock;
  TemporaryDirectory folder;
  LinuxFileSystem files;
  FileVfs vfs{files, clock, snapshots.random};
  Config config;
  std::unique_ptr<StateDb> state;
  Services services;
  std::unique_ptr<Pruner> pruner;
  std::unique_ptr<WorkflowEngine> engine;

  PrunerWorld() {
    config = default_config();
    config.retention = {1, 0, 0, 0, 0, hours(1)};
    state = must(StateDb::open(folder / "state.db", vfs.name(), clock));
    must(state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(1, 'till', 'p', 0)"));
    services = Services{&config,
                        &files,
                        &clock,
                        &snapshots.random,
                        nullptr,
                        &vfs,
                        state.get(),
                        &store,
                        nullptr,
                        {},
                        snapshots.lineage.terminal,
                        snapshots.lineage.epoch};
    pruner = std::make_unique<Pruner>(services, std::vector<Pruner::Database>{{1, "till"}});
    engine = std::make_unique<WorkflowEngine>(*state, clock, snapshots.random);
    store.set_clock(&clock);
    snapshots.image.resize(64 * 4, snapshots.generation, snapshots.random);
  }
  // Another content in every run, a FULL of it, as a completed backup leaves store and state.db.
  Manifest back_up(hours after = hours(1)) {
    clock.advance(after);
    for (size_t i = 0; i < snapshots.image.pages.size(); i += 8)
      snapshots.image.change(i, snapshots.generation, snapshots.random);
    Manifest m = snapshots.take(SnapshotType::full);
    for (auto& key : snapshots.store.keys())
      if (!store.content(key)) store.set(key, *snapshots.store.content(key));
    auto db = state->lease();
    auto row =
        must(db->prepare("INSERT INTO snapshots(uuid, database_id, epoch, name, snapshot_type, sequence, "
                         "transaction_no, generation, captured_at, schema_version, app_version, is_complete, "
                         "manifest_key, created_at, updated_at) VALUES(?,1,3,'','FULL',?,1,1,0,1,'',1,'',0,0)"));
    must(row.bind(1, m.uuid.str()).bind(2, m.sequence).run());
    for (auto& pack : snapshots.last_packs) {
      int64_t number = 0;
      for (auto& run : pack.runs) {
        auto block = must(db->prepare("INSERT INTO stored_blocks VALUES(1, ?, ?, ?)"));
        must(block.bind(1, run.view()).bind(2, pack.ref.key).bind(3, number++).run());
      }
    }
    return m;
  }
  int64_t blocks_in(const std::string& pack) {
    return must(state->lease()->query_integer("SELECT count(*) FROM stored_blocks WHERE pack_key='" + pack + "'"));
  }
  // A backup that has come so far and waits, as when the store is away.
  Uuid begin_backup(const Json& initialized, const Json& packed, std::optional<Uuid> snapshot = std::nullopt) {
    auto step = [](const char* name, Json result) {
      return StepDefinition{name, SessionPhase::processing,
                            [result = std::move(result)](StepContext&) -> Result<Json> { return result; }};
    };
    engine->define(WorkflowType::backup,
                   {step("INITIALIZE_BACKUP", initialized), step("CAPTURE_TABLE_DATA", packed),
                    StepDefinition{"UPLOAD", SessionPhase::completing, [](StepContext&) -> Result<Json> {
                                     return Error{ErrorKind::offline, 0, "the store is away"};
                                   }}});
    WorkflowRequest request;
    request.backup = BackupSession{1};
    request.name = "backup of till";
    if (snapshot) request.data["snapshot_uuid"] = snapshot->str();
    const Uuid uuid = must(engine->create(request));
    REQUIRE(must(engine->run(uuid)).state == RunOutcome::State::waiting);
    return uuid;
  }
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("pruner: stored_blocks and snapshots are right, and durable, before the first object goes") {
  PrunerWorld world;
  const Manifest first = world.back_up(), second = world.back_up(), third = world.back_up();
  REQUIRE(third.packs.size() == 1);
  REQUIRE(world.blocks_in(first.packs[0].key) > 0);
  const int64_t durable = world.state->durable_syncs();
  size_t removed = 0;
  world.store.on_remove = [&](const std::string& key) {
    removed++;
    INFO(key);
    CHECK(world.state->durable_syncs() > durable);
    CHECK(world.blocks_in(first.packs[0].key) == 0);
    CHECK(world.blocks_in(second.packs[0].key) == 0);
    CHECK(must(world.state->lease()->query_integer("SELECT count(*) FROM snapshots")) == 1);
  };
  Json shown = must(world.pruner->show(""));
  CHECK(shown["dry_run"] == true);
  CHECK(shown["databases"][0]["objects"] == 4);
  CHECK(removed == 0);
  CHECK(world.blocks_in(first.packs[0].key) > 0);
  Json done = must(world.pruner->prune("till"));
  CHECK(done["databases"][0]["objects"] == 4);
  CHECK(removed == 4);
  CHECK(world.blocks_in(third.packs[0].key) > 0);
  CHECK(world.store.keys().size() == 2);
  CHECK(kind_of(world.pruner->show("other")) == ErrorKind::usage);
}

TEST_CASE(
    "pruner: a backup that waits between its packs and its manifest keeps what it counts on, until it has ended") {
  PrunerWorld world;
  const Manifest first = world.back_up(), second = world.back_up(), third = world.back_up();
  const std::string packed = first.packs[0].key;
  const Uuid workflow =
      world.begin_backup({{"from", second.uuid.str()}, {"parent", third.uuid.str()}}, {{"refers", {packed}}});
  world.clock.advance(hours(1000));
  must(world.pruner->prune(""));
  CHECK(world.store.content(packed).has_value());
  CHECK(world.blocks_in(packed) > 0);
  CHECK(world.store.content(keys::manifest(prefix_of(second.lineage), second.uuid)).has_value());
  CHECK(world.store.content(second.packs[0].key).has_value());
  CHECK_FALSE(world.store.content(keys::manifest(prefix_of(first.lineage), first.uuid)).has_value());
  must(world.engine->cancel(workflow));
  must(world.pruner->prune(""));
  CHECK_FALSE(world.store.content(packed).has_value());
  CHECK(world.blocks_in(packed) == 0);
  CHECK(world.store.keys().size() == 2);
}

TEST_CASE("pruner: a snapshot whose backup still has to look at what it put stays, also when others overtook it") {
  PrunerWorld world;
  const Manifest looked_for = world.back_up();
  const Uuid workflow = world.begin_backup({{"type", "FULL"}}, {{"refers", Json::array()}}, looked_for.uuid);
  for (int i = 0; i < 3; i++) world.back_up();
  must(world.pruner->prune(""));
  const std::string key = keys::manifest(prefix_of(looked_for.lineage), looked_for.uuid);
  CHECK(world.store.content(key));
  must(world.engine->cancel(workflow));
  must(world.pruner->prune(""));
  CHECK_FALSE(world.store.content(key));
}

TEST_CASE("pruner: what a restore goes by stays until it has ended") {
  PrunerWorld world;
  const Manifest first = world.back_up(), second = world.back_up(), third = world.back_up();
  std::set<Uuid> in_use{first.uuid};
  world.pruner->pin_also([&](const std::string& database) {
    CHECK(database == "till");
    return in_use;
  });
  world.clock.advance(hours(1000));
  must(world.pruner->prune(""));
  CHECK(world.store.content(keys::manifest(prefix_of(first.lineage), first.uuid)).has_value());
  CHECK(world.store.content(first.packs[0].key).has_value());
  CHECK_FALSE(world.store.content(keys::manifest(prefix_of(second.lineage), second.uuid)).has_value());
  in_use.clear();
  must(world.pruner->prune(""));
  CHECK_FALSE(world.store.content(first.packs[0].key).has_value());
  CHECK(world.store.content(third.packs[0].key).has_value());
}

TEST_CASE("pruner: a restore that is about to choose its snapshot is not kept waiting, and chooses when nothing goes") {
  PrunerWorld world;
  StorePlans plans;
  world.services.plans = &plans;
  world.pruner = std::make_unique<Pruner>(world.services, std::vector<Pruner::Database>{{1, "till"}});
  world.back_up(), world.back_up(), world.back_up();
  std::thread restore;
  size_t removed = 0, removed_when_chosen = 0;
  world.store.on_remove = [&](const std::string&) {
    if (removed++ > 0) return;
    restore = std::thread([&] {
      StorePlans::Lock lock = must(plans.for_restore([] { return false; }));
      removed_when_chosen = removed;
    });
    while (plans.prune_may_go_on()) std::this_thread::yield();
  };
  CHECK(kind_of(world.pruner->prune("")) == ErrorKind::cancelled);
  restore.join();
  CHECK(removed_when_chosen == removed);
  // The next one ends what was begun; a pack without a manifest by its age.
  world.clock.advance(hours(48));
  must(world.pruner->prune(""));
  CHECK(world.store.keys().size() == 2);
}

TEST_CASE("pruner: while a backup is under way that does not say what it refers to, nothing goes") {
  PrunerWorld world;
  world.back_up();
  world.back_up();
  world.begin_backup({{"from", ""}, {"parent", ""}}, {{"packs", Json::array()}});
  const auto before = world.store.keys();
  CHECK(kind_of(world.pruner->prune("")) == ErrorKind::conflict);
  CHECK(world.store.keys() == before);
  REQUIRE(world.pruner->problems().size() == 1);
  CHECK(contains(world.pruner->problems()[0], "till"));
}

TEST_CASE("pruner: by itself at most once an hour, and only where the store lets us delete") {
  PrunerWorld world;
  const Manifest first = world.back_up();
  world.back_up();
  auto is_there = [&](const Manifest& m) {
    return world.store.content(keys::manifest(prefix_of(m.lineage), m.uuid)).has_value();
  };
  world.store.set_may_delete(false);
  world.pruner->prune_if_due();
  CHECK(is_there(first));
  CHECK(world.pruner->problems().empty());
  CHECK(kind_of(world.pruner->prune("")) == ErrorKind::denied);
  world.store.set_may_delete(true);
  world.pruner->prune_if_due();
  CHECK_FALSE(is_there(first));
  CHECK(world.pruner->problems().empty());
  const Manifest third = world.back_up();  // an hour later
  world.pruner->prune_if_due();
  CHECK(world.store.keys().size() == 2);
  const Manifest fourth = world.back_up(hours(0));
  world.pruner->prune_if_due();
  CHECK(is_there(third));
  CHECK(is_there(fourth));
  world.clock.advance(hours(1));
  world.pruner->prune_if_due();
  CHECK_FALSE(is_there(third));
  // Told to end, it removes nothing more.
  const auto before = world.store.keys();
  world.back_up();
  world.pruner->stop();
  CHECK(kind_of(world.pruner->prune("")) == ErrorKind::cancelled);
  CHECK(is_there(fourth));
  CHECK(world.store.keys().size() > before.size());
}

TEST_CASE("pruner: the log's records in state.db go with its segments, and the next segment follows the last one") {
  PrunedTill till(RetentionPolicy{});
  for (int hour = 0; hour < 12; hour++) {
    till.clock.advance(hours(1));
    till.sell_one();
    if (hour % 4 == 3) till.take(SnapshotType::full);
  }
  must(till.state->lease()->execute("UPDATE segments SET durable_at=1"));
  Config config = default_config();
  config.retention = {1, 0, 0, 0, 0, hours(2)};
  Services services{&config,     &till.files, &till.clock, &till.random,          nullptr, &till.vfs, till.state.get(),
                    &till.store, nullptr,     {},          till.lineage.terminal, 1};
  Pruner pruner(services, {{1, "pos"}});
  auto records = [&] { return must(till.state->lease()->query_integer("SELECT count(*) FROM segments")); };
  REQUIRE(records() == 12);
  const Json done = must(pruner.prune(""));
  CHECK(done["databases"][0]["problems"].empty());
  CHECK(till.keys_with(".seg").size() == 4);
  CHECK(records() == 4);
  till.clock.advance(hours(1));
  till.sell_one();
  till.check_log();
  till.check_moment(till.capturer->status().transaction);
}

namespace {

// Twelve hours of sales with a FULL every four, in a store that lets the terminal delete nothing.
struct KeptTill : PrunedTill {
  Config config = default_config();
  Services services;
  std::unique_ptr<Pruner> pruner;

  KeptTill() : PrunedTill(RetentionPolicy{1, 0, 0, 0, 0, hours(2)}) {
    config.retention = {1, 0, 0, 0, 0, hours(2)};
    request.orphan_age = hours(10000);
    for (int hour = 0; hour < 12; hour++) {
      clock.advance(hours(1));
      sell_one();
      if (hour % 4 == 3) known(take(SnapshotType::full));
    }
    clock.advance(hours(3));
    sell_one();
    known(take(SnapshotType::full));
    sell_one();
    services = Services{&config,     &files, &clock,  &random, nullptr,          &vfs,
                        state.get(), &store, nullptr, {},      lineage.terminal, 1};
    pruner = std::make_unique<Pruner>(services, std::vector<Pruner::Database>{{1, "pos"}});
    store.set_may_delete(false);
    request.can_sign = false;
  }
  // As state.db has it.
  void known(const Manifest& m) {
    auto db = state->lease();
    must(db->execute("UPDATE segments SET durable_at=1"));
    auto row =
        must(db->prepare("INSERT INTO snapshots(uuid, database_id, epoch, name, snapshot_type, sequence, "
                         "transaction_no, generation, captured_at, schema_version, app_version, is_complete, "
                         "manifest_key, created_at, updated_at) VALUES(?,1,1,'','FULL',?,1,1,?,1,'',1,'',0,0)"));
    must(row.bind(1, m.uuid.str()).bind(2, m.sequence).bind(3, to_ms(m.captured_at)).run());
  }
  PrunePlan prune_elsewhere() {
    store.set_may_delete(true);
    const PrunePlan decided = plan();
    must(run_prune(store, decided, random, {}));
    store.set_may_delete(false);
    return decided;
  }
};

}  // namespace

TEST_CASE("pruner: where it may not delete it says where the log begins, and others remove what lies before") {
  KeptTill till;
  const size_t segments = till.keys_with(".seg").size();
  SUBCASE("who can't sign leaves a log whose begin the terminal has not moved, and says so") {
    const PrunePlan decided = till.prune_elsewhere();
    REQUIRE(decided.notes.size() == 1);
    CHECK(contains(decided.notes[0], "the terminal has signed"));
    CHECK(decided.problems.empty());
    CHECK(till.keys_with(".seg").size() == segments);
    CHECK(till.keys_with(".anchor").empty());
    CHECK(till.keys_with(".manifest").size() < 4);
    till.check_log();
  }
  till.pruner->prune_if_due();
  REQUIRE(till.keys_with(".anchor").size() == 1);
  CHECK(till.keys_with(".seg").size() == segments);
  till.check_log();
  // The snapshot that the moment of two hours before the newest is replayed from is the third, of hour 12.
  const LogListing listing = must(list_log(till.store, till.lineage));
  CHECK(listing.leftovers.size() == 12);
  CHECK(listing.segments.size() == segments - 12);
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM segments")) == 2);
  const PrunePlan decided = till.prune_elsewhere();
  CHECK(decided.notes.empty());
  CHECK(till.keys_with(".seg").size() == segments - 12);
  till.check_log();
  const TransactionNo first = must(list_manifests(till.store, till.lineage)).front().transaction;
  for (auto& [transaction, content] : till.copies)
    if (transaction >= first) till.check_moment(transaction);
  // Again there is nothing to move; and the log goes on.
  till.clock.advance(hours(1));
  till.pruner->prune_if_due();
  CHECK(till.keys_with(".anchor").size() == 1);
  till.sell_one();
  till.check_log();
}

TEST_CASE("pruner: no log begins later under a restore, before there is a snapshot to begin with, or twice an hour") {
  KeptTill till;
  bool restores = true;
  till.pruner->pin_also(
      [&](const std::string&) { return restores ? std::set<Uuid>{till.full->uuid} : std::set<Uuid>{}; });
  till.pruner->prune_if_due();
  CHECK(till.keys_with(".anchor").empty());
  restores = false;
  till.pruner->prune_if_due();
  CHECK(till.keys_with(".anchor").empty());
  till.clock.advance(hours(1));
  must(till.state->lease()->execute("UPDATE snapshots SET damage='a page'"));
  till.pruner->prune_if_due();
  CHECK(till.keys_with(".anchor").empty());
  till.clock.advance(hours(1));
  must(till.state->lease()->execute("UPDATE snapshots SET damage=NULL"));
  // An answer that was lost: the same begin is put again.
  till.store.fail_at(1, ErrorKind::offline, true);
  till.pruner->prune_if_due();
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM segments")) == 14);
  till.clock.advance(hours(1));
  till.pruner->prune_if_due();
  CHECK(till.keys_with(".anchor").size() == 1);
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM segments")) == 2);
  till.check_log();
}

TEST_CASE("pruner: a log begins later only where what follows can be read from there") {
  KeptTill till;
  // As if they had been compressed with a dictionary that the first one carries.
  must(till.state->lease()->execute("UPDATE segments SET dictionary_sequence=1"));
  CHECK_FALSE(must(move_log_begin(till.services, 1, "pos")));
  CHECK(till.keys_with(".anchor").empty());
  must(keep_dictionary(*till.state->lease(), 1, 1, as_bytes("what they have in common")));
  REQUIRE(must(move_log_begin(till.services, 1, "pos")));
  REQUIRE(till.keys_with(".anchor").size() == 1);
  const auto anchor = must(list_log(till.store, till.lineage)).anchor;
  CHECK(anchor->dictionary_sequence == 1);
  CHECK(anchor->dictionary == to_bytes(as_bytes("what they have in common")));
}

TEST_CASE("pruner: the log of an epoch before ends where it is over") {
  KeptTill till;
  // As if the third FULL were the first one of a new epoch.
  auto db = till.state->lease();
  must(
      db->execute("UPDATE snapshots SET epoch=2 WHERE sequence>=(SELECT sequence FROM snapshots ORDER BY sequence "
                  "LIMIT 1 OFFSET 2)"));
  must(
      db->execute("UPDATE segments SET object_key=replace(object_key, '/pos/1/', '/pos/2/') WHERE id>=(SELECT id "
                  "FROM segments ORDER BY id LIMIT 1 OFFSET 8)"));
  { auto returned = std::move(db); }
  till.services.epoch = 2;
  const auto begin = must(move_log_begin(till.services, 1, "pos"));
  REQUIRE(begin);
  const auto anchors = till.keys_with(".anchor");
  REQUIRE(anchors.size() == 2);
  const auto first_of = [](const std::string& key) { return *keys::first_of_anchor(key); };
  CHECK(contains(anchors[0], "/pos/1/log/"));
  CHECK(first_of(anchors[0]) < first_of(anchors[1]));
  CHECK(first_of(anchors[1]) == *begin);
  // Nothing of the first epoch's log is left to read, and who prunes removes it.
  CHECK(must(list_log(till.store, till.lineage)).leftovers.size() >= 8);
}

TEST_SUITE_END();
