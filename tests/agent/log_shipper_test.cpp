// The log shipper and the power: what it needs to go on outlives what it knows.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

#include "agent/daemon/log_shipper.h"
#include "schedule/hour_range.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// A disk whose journal is faster than its data: a name that was removed is gone for good at once, while what was
// written and not synced is not there after a crash.
class EagerRemoval : public MemoryFileSystem {
 public:
  Result<void> remove(const std::string& path) override {
    TILLSYNC_TRY(MemoryFileSystem::remove(path));
    TILLSYNC_TRY(sync_directory(path.substr(0, path.rfind('/'))));
    if (cut_after_removal) cut_power();
    return {};
  }
  std::atomic<bool> cut_after_removal{false};
};

struct ShipperWorld {
  EagerRemoval files;
  FakeClock clock;
  SeededRandom random{1};
  FileVfs vfs{files, clock, random};
  MemoryObjectStore store;
  Config config;
  std::unique_ptr<StateDb> state;

  ShipperWorld() {
    config.terminal.state_dir = "/state";
    files.add_directory("/state/spool");
    switch_on();
    must(state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(1, 'till', 'p', 0)"));
  }
  void switch_on() { state = must(StateDb::open("/state/state.db", vfs.name(), clock)); }
  void cut_power() {
    files.cut_power();
    state.reset();
    files.crash();
    switch_on();
  }
  void queue(const std::string& key) {
    const std::string path = "/state/spool/" + key;
    auto pending = must(PendingFile::create(files, path, 0));
    must(pending.append(as_bytes(key)));
    must(pending.commit_new());
    auto db = state->lease();
    auto insert =
        must(db->prepare("INSERT INTO transfer_queue(lane, database_id, object_key, spool_path, size, created_at) "
                         "VALUES(0, 1, ?, ?, ?, 0)"));
    must(insert.bind(1, key).bind(2, path).bind(3, key.size()).run());
  }
  // With the power gone nobody can say.
  int64_t queued() { return state->lease()->query_integer("SELECT count(*) FROM transfer_queue").value_or(0); }
  // Until all that is queued was sent.
  void ship() {
    Services services{&config, &files, &clock, &random, nullptr, &vfs, state.get(), &store, nullptr, {}, Uuid{}, 1};
    Transfers transfers(services);
    LogShipper shipper(services, {}, transfers);
    shipper.start();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (queued() > 0 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    shipper.stop();
    if (files.cut_after_removal) return;
    INFO(must(state->lease()->query_text("SELECT coalesce(group_concat(error), '') FROM transfer_queue")));
    REQUIRE(queued() == 0);
  }
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("log shipper: after a power cut what is queued is in the spool") {
  for (const bool while_it_empties : {false, true}) {
    CAPTURE(while_it_empties);
    ShipperWorld world;
    world.queue("a");
    world.queue("b");
    must(world.state->make_durable());
    world.files.cut_after_removal = while_it_empties;
    world.ship();
    world.files.cut_after_removal = false;
    world.cut_power();
    world.ship();
    CHECK(world.store.keys().size() == 2);
    world.cut_power();
    world.queue("c");
    world.ship();
    CHECK(world.store.keys().size() == 3);
  }
}

TEST_CASE("log shipper: a round that has nothing to send does not say that the store is there") {
  ShipperWorld world;
  world.store.set_offline(true);
  Services services{&world.config, &world.files, &world.clock, &world.random, nullptr, &world.vfs, world.state.get(),
                    &world.store,  nullptr,      {},           Uuid{},        1};
  Transfers transfers(services);
  LogShipper shipper(services, {}, transfers);
  shipper.start();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!transfers.status().last_error && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  REQUIRE(transfers.status().last_error);
  // Whoever is called back is called in a round, and by the second call the first round has ended.
  for (int round = 0; round < 2; round++) {
    std::promise<void> called;
    shipper.when_durable(1, 0, [&] { called.set_value(); });
    called.get_future().wait();
  }
  CHECK(transfers.status().last_error);
  CHECK_FALSE(transfers.status().reachable);
  shipper.stop();
}

namespace {

// Sales that were captured, each sealed into a segment of its own by a round.
struct MergingWorld : ShipperWorld {
  Services services;
  std::unique_ptr<FollowedDatabase> database;
  std::unique_ptr<Transfers> transfers;
  std::unique_ptr<LogShipper> shipper;
  int sales = 0;

  MergingWorld() {
    config = default_config();
    config.terminal.state_dir = "/state";
    config.databases.push_back({});
    config.databases.back().name = "till";
    must(state->lease()->execute(
        "INSERT INTO schemas VALUES(1, 1, 0, x'00', x'0100', 0);"
        "INSERT INTO capture_sessions VALUES(1, 1, '00112233-4455-6677-8899-aabbccddeeff', 0);"
        "INSERT INTO tracked_tables(id, database_id, name, digest) VALUES(1, 1, 'sale', zeroblob(32))"));
    start();
  }
  void start() {
    services = Services{&config, &files, &clock, &random, nullptr, &vfs, state.get(), &store, nullptr, {}, Uuid{}, 1};
    database = must(FollowedDatabase::create(services, config.databases.back(), {}));
    REQUIRE(database->id() == 1);
    transfers = std::make_unique<Transfers>(services);
    shipper = std::make_unique<LogShipper>(services, std::vector<FollowedDatabase*>{database.get()}, *transfers);
  }
  void sell(int count) {
    for (int i = 0; i < count; i++) {
      const std::string n = std::to_string(++sales);
      must(state->lease()->execute(
          "INSERT INTO transactions(id, first_sequence, last_sequence, captured_at, session_id, flags, schema_id) "
          "VALUES((1<<48)+" +
          n + ", " + n + ", " + n + ", " + std::to_string(to_ms(clock.now())) +
          ", 1, 0, 1);"
          "INSERT INTO action_log(id, transaction_no, table_id, action, row_id, version, data) VALUES((1<<48)+" +
          n + ", " + n + ", 1, 1, " + n + ", 1, x'020105'); UPDATE databases SET sequence=" + n +
          ", transaction_no=" + n));
      must(shipper->round());
    }
  }
  void cover() {
    must(state->lease()->execute(
        "INSERT OR REPLACE INTO snapshots(uuid, database_id, epoch, name, snapshot_type, sequence, transaction_no, "
        "generation, captured_at, schema_version, app_version, is_complete, manifest_key, created_at, updated_at) "
        "VALUES('u', 1, 1, 'n', 'FULL', " +
        std::to_string(sales) + ", 0, 1, 0, 0, '', 1, 'k', 0, 0)"));
  }
  size_t merged() {
    size_t count = 0;
    for (auto& key : store.keys()) count += key.ends_with(".merged");
    return count;
  }
  int64_t segments() { return must(state->lease()->query_integer("SELECT count(*) FROM segments")); }
};

}  // namespace

TEST_CASE("log shipper: what lies before a snapshot is merged when there is room and it is the hour for it") {
  MergingWorld world;
  world.sell(6);
  CHECK(world.merged() == 0);
  CHECK(world.segments() == 6);
  world.cover();
  world.shipper->set_disk_rung(DiskRung::compact);
  must(world.shipper->round());
  CHECK(world.merged() == 0);
  world.shipper->set_disk_rung(DiskRung::roomy);
  const auto local = world.clock.now() + system_utc_offset(world.clock.now());
  const auto minute =
      std::chrono::duration_cast<std::chrono::minutes>(local - std::chrono::floor<std::chrono::days>(local));
  const auto later = [&](int hours) { return (minute + std::chrono::hours(hours)) % std::chrono::hours(24); };
  world.transfers->set_upload_hours({{later(2), later(4)}});
  must(world.shipper->round());
  CHECK(world.merged() == 0);
  world.transfers->set_upload_hours({{later(-2), later(4)}});
  must(world.shipper->round());
  CHECK(world.merged() == 1);
  // The first carries the schema.
  CHECK(world.segments() == 2);
  CHECK(must(world.state->lease()->query_integer("SELECT durable_sequence FROM databases")) == 6);
  // A store that lets nobody delete gets it as well; whoever prunes it removes the parts.
  world.store.set_may_delete(false);
  world.sell(2);
  world.cover();
  must(world.shipper->round());
  CHECK(world.merged() == 2);
}

TEST_CASE("log shipper: a snapshot that was made has what lies before it merged soon") {
  MergingWorld world;
  world.sell(4);
  world.shipper->start();
  // The first look of the thread is over when it has sent what was queued after it.
  world.queue("k");
  world.shipper->hurry();
  while (world.queued() > 0) std::this_thread::yield();
  world.cover();
  world.shipper->snapshot_made();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);  // it looks every 30
  while (world.merged() == 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  world.shipper->stop();
  CHECK(world.merged() == 1);
}

TEST_CASE("log shipper: a merged segment whose answer was lost, or whose file is lost, is in the store once") {
  MergingWorld world;
  world.sell(5);
  world.cover();
  SUBCASE("its answer") {
    // The look whether the store is there, and the put.
    world.store.fail_at(2, ErrorKind::offline, true);
    CHECK_FALSE(world.shipper->round());
    CHECK(world.segments() == 5);
  }
  SUBCASE("its file before it was sent") {
    world.store.fail_at(2, ErrorKind::offline);
    CHECK_FALSE(world.shipper->round());
    must(world.files.remove(must(world.state->lease()->query_text("SELECT spool_path FROM transfer_queue"))));
    must(world.shipper->round());
  }
  SUBCASE("its file after it was sent") {
    world.store.fail_at(2, ErrorKind::offline, true);
    CHECK_FALSE(world.shipper->round());
    must(world.files.remove(must(world.state->lease()->query_text("SELECT spool_path FROM transfer_queue"))));
  }
  must(world.shipper->round());
  CHECK(world.queued() == 0);
  CHECK(world.merged() == 1);
  CHECK(world.segments() == 2);
  CHECK(must(world.state->lease()->query_integer("SELECT count(*) FROM merges")) == 0);
  CHECK(must(world.state->lease()->query_integer("SELECT count(*) FROM merged_parts")) == 4);
}

TEST_CASE("log shipper: what hinders merging hinders nothing else") {
  MergingWorld world;
  world.sell(3);
  world.cover();
  must(world.state->lease()->execute("UPDATE segments SET content=x'01' WHERE content IS NOT NULL"));
  must(world.shipper->round());
  CHECK(world.merged() == 0);
  CHECK_FALSE(world.transfers->status().last_error);
  world.sell(1);
  CHECK(must(world.state->lease()->query_integer("SELECT durable_sequence FROM databases")) == 4);
}

TEST_SUITE_END();
