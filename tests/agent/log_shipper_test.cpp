// The log shipper and the power: what it needs to go on outlives what it knows.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

#include "agent/daemon/log_shipper.h"
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

TEST_SUITE_END();
