// What goes to the store: lanes, hours, outages of any length, and restarts in the middle of an upload.
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <thread>

#include "agent/daemon/log_shipper.h"
#include "crypto/hash.h"
#include "state/migrations.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/memory_object_store.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "workflow/engine.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

// Takes objects in parts, as S3 does, and notes what came when.
class PartsStore : public MemoryObjectStore {
 public:
  static constexpr uint64_t kPart = 100;
  ObjectStoreProperties properties() const override {
    auto p = MemoryObjectStore::properties();
    p.resumable = true;
    p.part_size_bytes = kPart;
    return p;
  }
  Result<void> put(const std::string& key, ObjectSource& source,
                   const std::function<bool(uint64_t)>& progress) override {
    TILLSYNC_TRY(MemoryObjectStore::put(key, source, progress));
    order.push_back(key);
    return {};
  }
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal& journal,
                             const std::function<bool(uint64_t)>& progress) override {
    TILLSYNC_LET(auto known, journal.load(key));
    if (!known) {
      known = Upload{.key = key, .id = "id of " + key, .token = "t", .object_size = source.size(), .part_size = kPart};
      TILLSYNC_TRY(journal.begin(*known));
    }
    uint64_t sent = known->parts.size() * kPart;
    for (uint32_t number = static_cast<uint32_t>(known->parts.size()) + 1; sent < source.size(); number++) {
      if (progress && !progress(sent)) return Error{ErrorKind::cancelled, 0, "stopped"};
      if (parts_left == 0) return Error{ErrorKind::offline, 0, "the link is down"};
      parts_left--;
      parts_received++;
      if (on_part) on_part();
      const uint64_t size = std::min(kPart, source.size() - sent);
      Bytes part(size);
      TILLSYNC_TRY(source.read(sent, part));
      TILLSYNC_TRY(journal.part_done(key, known->id, {number, size, {}, "e"}));
      sent += size;
    }
    TILLSYNC_TRY(put(key, source, progress));
    return journal.forget(key);
  }
  Result<void> abandon(const std::string& key, UploadJournal& journal) override {
    if (!may_abandon) return Error{ErrorKind::denied, 403, "not allowed"};
    abandoned.push_back(key);
    return journal.forget(key);
  }

  uint64_t parts_left = UINT64_MAX, parts_received = 0;
  bool may_abandon = true;
  std::function<void()> on_part;
  std::vector<std::string> order, abandoned;
};

// Takes two uploads at once. What comes when is decided by the test: each upload, once its last part is on its way,
// waits for what at_end says.
class TwoAtOnceStore : public MemoryObjectStore {
 public:
  ObjectStoreProperties properties() const override {
    auto p = MemoryObjectStore::properties();
    p.resumable = true;
    p.part_size_bytes = 100;
    p.uploads_at_once = 2;
    return p;
  }
  Result<void> put_resumable(const std::string& key, ObjectSource& source, UploadJournal&,
                             const std::function<bool(uint64_t)>& progress) override {
    {
      std::lock_guard lock(mutex);
      begun.push_back(key);
      most_at_once = std::max(most_at_once, ++under_way);
      changed.notify_all();
    }
    const auto ended = [&]() -> Result<void> {
      const uint64_t before_last_part = source.size() - std::min<uint64_t>(source.size(), 150);
      for (const uint64_t sent : {before_last_part, source.size()})
        if (!progress(sent)) return Error{ErrorKind::cancelled, 0, "stopped"};
      TILLSYNC_TRY(at_end ? at_end(key, progress) : Result<void>());
      return put(key, source, nullptr);
    }();
    std::lock_guard lock(mutex);
    under_way--;
    return ended;
  }
  // Fails the test where it never happens.
  void wait_until(const std::function<bool()>& happened) {
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, 60s, happened));
  }
  bool has_begun(const std::string& key) { return std::count(begun.begin(), begun.end(), key) != 0; }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> begun;
  int under_way = 0, most_at_once = 0;
  std::function<Result<void>(const std::string& key, const std::function<bool(uint64_t)>& progress)> at_end;
};

struct TransfersWorld {
  MemoryFileSystem files;
  FaultyFileSystem spool_files{files};  // through which what is sent is read
  FakeClock clock;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  SeededRandom random{seed};
  FileVfs vfs{files, clock, random};
  PartsStore store;
  ObjectStore* used_store = &store;
  Config config = default_config();
  std::unique_ptr<StateDb> state;
  std::unique_ptr<WorkflowEngine> engine;
  std::unique_ptr<Transfers> transfers;
  std::unique_ptr<LogShipper> shipper;
  std::vector<Transfer> wanted;  // by the one step
  std::function<void()> while_waiting = [] { FAIL("it waits"); };

  TransfersWorld() {
    config.terminal.state_dir = "/state";
    files.add_directory("/state/spool");
    start();
    must(state->lease()->execute("INSERT INTO databases(id, name, path, created_at) VALUES(1, 'till', 'p', 0)"));
  }
  void start() {
    state = must(StateDb::open("/state/state.db", vfs.name(), clock));
    Services services;
    services.config = &config;
    services.files = &spool_files;
    services.clock = &clock;
    services.random = &random;
    services.vfs = &vfs;
    services.state = state.get();
    services.store = used_store;
    services.while_waiting = [this] { while_waiting(); };
    transfers = std::make_unique<Transfers>(services);
    shipper = std::make_unique<LogShipper>(services, std::vector<FollowedDatabase*>(), *transfers);
    engine = std::make_unique<WorkflowEngine>(*state, clock, random);
    engine->define(WorkflowType::backup,
                   {{"UPLOAD", SessionPhase::completing,
                     [this](StepContext& context) -> Result<Json> {
                       TILLSYNC_LET(const uint64_t sent, transfers->send(context, wanted));
                       context.on_commit([owner = context.workflow().str()](Connection& db) {
                         return forget_transfers_of(db, owner);
                       });
                       return Json(sent);
                     }}},
                   [this](const WorkflowRecord& ended) { transfers->drop(ended.uuid); });
  }
  void use(ObjectStore& other) {
    used_store = &other;
    shipper.reset();
    transfers.reset();
    engine.reset();
    state.reset();
    start();
  }
  // As a power cut: what is not durable is gone.
  void restart() {
    shipper.reset();
    transfers.reset();
    engine.reset();
    files.cut_power();
    state.reset();
    files.crash();
    start();
  }
  Transfer spool(Lane lane, const std::string& key, size_t size) {
    const std::string path = "/state/spool/" + key;
    auto pending = must(PendingFile::create(files, path, 0));
    must(pending.append(Bytes(size, static_cast<uint8_t>(key.size()))));
    must(pending.commit_new());
    return {.lane = lane, .database_id = 1, .key = key, .path = path, .size = size};
  }
  void queue_segment(const std::string& key) {
    const Transfer segment = spool(Lane::log, key, 30);
    must(queue_transfer(*state->lease(), segment, clock.now()));
  }
  Uuid begin() {
    WorkflowRequest request;
    request.type = WorkflowType::backup;
    return must(engine->create(request));
  }
  int64_t count(const std::string& sql) { return must(state->lease()->query_integer("SELECT count(*) FROM " + sql)); }
};

}  // namespace

TEST_SUITE_BEGIN("agent");

TEST_CASE("transfers: packs go before assets, what is sent is counted, and the queue is empty in the end") {
  TransfersWorld world;
  world.wanted = {world.spool(Lane::assets, "asset", 50), world.spool(Lane::packs, "pack-1", 250),
                  world.spool(Lane::packs, "pack-2", 20)};
  const auto outcome = must(world.engine->run(world.begin()));
  CHECK(outcome.state == RunOutcome::State::done);
  CHECK(outcome.result == 320);
  CHECK(world.store.order == std::vector<std::string>{"pack-1", "pack-2", "asset"});
  const TransferStatus status = world.transfers->status();
  CHECK(status.sent_bytes == 320);
  CHECK(status.queued == 0);
  CHECK(status.active == 0);
  CHECK(status.rate_bytes_per_second == doctest::Approx(32));
  CHECK(status.reachable);
  CHECK(world.count("transfer_queue") == 0);
  CHECK(world.count("uploads") == 0);
  world.clock.advance(11s);
  CHECK(world.transfers->status().rate_bytes_per_second == 0);
}

TEST_CASE("transfers: where the store takes two, the next begins while the one before ends, and no third") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  world.wanted.push_back(world.spool(Lane::assets, "asset", 50));
  bool is_alone = true;
  store.at_end = [&](const std::string& key, auto&) -> Result<void> {
    if (key == "pack-1") store.wait_until([&] { return store.has_begun("pack-2"); });
    if (key == "pack-2") store.wait_until([&] { return store.has_begun("pack-3"); });
    std::lock_guard lock(store.mutex);
    is_alone = is_alone && store.under_way == 1;
    return {};
  };
  const auto outcome = must(world.engine->run(world.begin()));
  CHECK(outcome.state == RunOutcome::State::done);
  CHECK(outcome.result == 1100);
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2", "pack-3", "asset"});
  CHECK(store.most_at_once == 2);
  CHECK_FALSE(is_alone);
  CHECK(world.transfers->status().sent_bytes == 1100);
  CHECK(world.transfers->status().active == 0);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_CASE("transfers: an outage of one of two holds up the third, and the other ends first") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  bool has_failed = false;
  int waits = 0;
  store.at_end = [&](const std::string& key, auto&) -> Result<void> {
    if (key == "pack-1" && !std::exchange(has_failed, true)) {
      store.wait_until([&] { return store.has_begun("pack-2"); });
      return Error{ErrorKind::offline, 0, "the link is down"};
    }
    if (key == "pack-2") {
      // Until the failure is known: what begins after it would begin now.
      while (world.count("transfer_queue WHERE retry_count > 0") == 0) std::this_thread::yield();
      std::lock_guard lock(store.mutex);
      CHECK_FALSE(store.has_begun("pack-3"));
    }
    return {};
  };
  world.while_waiting = [&] {
    waits++;
    CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2"});
    CHECK(store.under_way == 0);
    world.clock.advance(10s);
  };
  CHECK(must(world.engine->run(world.begin())).state == RunOutcome::State::done);
  CHECK(waits > 0);
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2", "pack-1", "pack-3"});
  CHECK(world.transfers->status().errors == 1);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_CASE("transfers: what ends the step stops both of two") {
  TransfersWorld world;
  TwoAtOnceStore store;
  world.use(store);
  for (const char* pack : {"pack-1", "pack-2", "pack-3"}) world.wanted.push_back(world.spool(Lane::packs, pack, 350));
  const Uuid uuid = world.begin();
  std::atomic<int> stopped = 0;
  const auto until_stopped = [&](const std::function<bool(uint64_t)>& progress) {
    while (progress(350)) std::this_thread::yield();
    stopped++;
    return Error{ErrorKind::cancelled, 0, "stopped"};
  };
  SUBCASE("a cancellation") {
    store.at_end = [&](const std::string& key, const auto& progress) -> Result<void> {
      if (key == "pack-2") (void)world.engine->cancel(uuid).has_value();
      return until_stopped(progress);
    };
    CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::cancelled);
    CHECK(stopped == 2);
  }
  SUBCASE("a failure that does not heal") {
    store.at_end = [&](const std::string& key, const auto& progress) -> Result<void> {
      if (key == "pack-2") return until_stopped(progress);
      store.wait_until([&] { return store.has_begun("pack-2"); });
      return Error{ErrorKind::denied, 403, "not allowed"};
    };
    const auto outcome = must(world.engine->run(uuid));
    CHECK(outcome.state == RunOutcome::State::failed);
    CHECK(outcome.error->kind == ErrorKind::denied);
    CHECK(stopped == 1);
  }
  CHECK(store.begun == std::vector<std::string>{"pack-1", "pack-2"});
  CHECK(world.transfers->status().active == 0);
  CHECK(world.count("transfer_queue") == 0);
}

TEST_CASE("transfers: after a power cut an upload goes on where it was, and no part goes up twice") {
  TransfersWorld world;
  world.wanted = {world.spool(Lane::packs, "pack", 950)};
  world.store.parts_left = 4;
  int waits = 0;
  world.while_waiting = [&] {
    if (++waits == 3) throw std::runtime_error("the power goes");
    world.clock.advance(1s);
  };
  const Uuid uuid = world.begin();
  must(world.state->make_durable());
  CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::waiting);  // a fault of the step
  CHECK(world.transfers->status().queued_bytes == 950);
  world.restart();
  CHECK(must(StateUploadJournal(*world.state).sent("pack")) == 400);
  world.store.parts_left = UINT64_MAX;
  world.clock.advance(10min);
  REQUIRE(must(world.engine->resume_unfinished()).size() == 1);
  CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::done);
  CHECK(world.store.parts_received == 10);
  CHECK(world.store.order == std::vector<std::string>{"pack"});
  CHECK(world.transfers->status().sent_bytes == 550);
}

TEST_CASE("transfers: an outage of a week ends with everything in the store, in order, and is no failure") {
  TransfersWorld world;
  CAPTURE(world.seed);
  world.wanted = {world.spool(Lane::packs, "pack-1", 350), world.spool(Lane::packs, "pack-2", 20),
                  world.spool(Lane::assets, "asset", 50)};
  world.store.set_offline(true);
  world.store.parts_left = 2;
  const Timestamp began = world.clock.now();
  int hours = 0;
  std::vector<std::string> segments;
  std::string seen;
  const Uuid uuid = world.begin();
  world.while_waiting = [&] {
    const auto passed = world.clock.now() - began;
    // The shop goes on selling, and the shipper trying.
    if (passed >= std::chrono::hours(hours)) {
      segments.push_back("segment-" + std::to_string(1000 + hours++));
      world.queue_segment(segments.back());
      if (passed < std::chrono::days(7)) CHECK_FALSE(world.shipper->round().has_value());
      const auto record = must(world.engine->describe(uuid));
      CHECK(record.status == WorkflowStatus::in_progress);
      CHECK(record.retry_count == 0);
      if (record.error) seen = *record.error;
    }
    if (passed >= std::chrono::days(7)) {
      world.store.set_offline(false);
      world.store.parts_left = UINT64_MAX;
      must(world.shipper->round());
    }
    world.clock.advance(5s);
  };
  const auto outcome = must(world.engine->run(uuid));
  CHECK(outcome.state == RunOutcome::State::done);
  CHECK(contains(seen, "UPLOAD: "));
  CHECK_FALSE(must(world.engine->describe(uuid)).error);
  CHECK(segments.size() > 24 * 7);
  must(world.shipper->round());
  auto expected = segments;
  for (const char* last : {"pack-1", "pack-2", "asset"}) expected.emplace_back(last);
  CHECK(world.store.order == expected);
  CHECK(world.count("transfer_queue") == 0);
  // And promptly: what waits is woken by the first one that gets through.
  CHECK(world.clock.now() - began < std::chrono::days(7) + 1min);
}

TEST_CASE(
    "transfers: after an outage 1,000 terminals do not come back together, nor when all are told how long to wait") {
  constexpr int kTerminals = 1000;
  const uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  const auto busiest = [](const std::map<int64_t, int>& by_second) {
    int most = 0;
    for (auto& [second, tries] : by_second) most = std::max(most, tries);
    return most;
  };
  // As the log shipper waits: at most 30 s, so that 1,000 terminals try 67 times a second.
  std::map<int64_t, int> during, after;
  const int64_t outage = 7 * 24 * 3600 * int64_t{1000};
  for (int i = 0; i < kTerminals; i++) {
    SeededRandom random(seed + static_cast<uint64_t>(i));
    RetryPace pace({.base = 1000ms, .cap = 30000ms});
    int64_t now = 0;
    while (now < outage) {
      if (now > outage - 3'600'000) during[now / 1000]++;
      now += pace.failed({ErrorKind::offline, 0, ""}, random).count();
    }
    after[now / 1000]++;
  }
  CHECK(busiest(during) < 150);
  CHECK(busiest(after) < 150);
  // A server that is too busy tells all of them the same, at one moment.
  std::map<int64_t, int> asked;
  Milliseconds earliest = 1h;
  for (int i = 0; i < kTerminals; i++) {
    SeededRandom random(seed + static_cast<uint64_t>(i));
    Error busy{ErrorKind::throttled, 503, ""};
    busy.retry_after = 60s;
    const Milliseconds wait = RetryPace().failed(busy, random);
    earliest = std::min(earliest, wait);
    asked[wait.count() / 1000]++;
  }
  CHECK(earliest >= 60s);
  CHECK(busiest(asked) < 100);
}

TEST_CASE("transfers: a store that asks for patience is not asked before, whatever else gets through") {
  TransfersWorld world;
  world.wanted = {world.spool(Lane::packs, "pack", 20)};
  Error busy{ErrorKind::throttled, 503, "slow down"};
  busy.retry_after = 90s;
  const Timestamp began = world.clock.now();
  bool asked = false;
  world.engine->define(WorkflowType::replay,
                       {{"ASK", SessionPhase::processing, [&](StepContext& context) -> Result<Json> {
                           return world.transfers->wait_out_outages(context, [&]() -> Result<Json> {
                             if (!std::exchange(asked, true)) return busy;
                             return Json(1);
                           });
                         }}});
  world.while_waiting = [&] {
    world.transfers->report({});
    world.clock.advance(1s);
  };
  WorkflowRequest request;
  request.type = WorkflowType::replay;
  CHECK(must(world.engine->run(must(world.engine->create(request)))).state == RunOutcome::State::done);
  CHECK(world.clock.now() - began >= 90s);
  CHECK(world.clock.now() - began < 140s);
}

TEST_CASE("transfers: what does not heal by itself is the step's, and what a cancelled backup queued goes") {
  TransfersWorld world;
  world.wanted = {world.spool(Lane::packs, "pack", 350)};
  world.store.fail_next(ErrorKind::denied);
  auto outcome = must(world.engine->run(world.begin()));
  CHECK(outcome.state == RunOutcome::State::failed);
  CHECK(outcome.error->kind == ErrorKind::denied);
  CHECK(world.count("transfer_queue") == 0);
  CHECK_FALSE(world.transfers->status().reachable);

  world.wanted = {world.spool(Lane::packs, "another", 350)};
  world.store.parts_left = 2;
  const Uuid uuid = world.begin();
  world.while_waiting = [&] {
    (void)world.engine->cancel(uuid).has_value();
    world.clock.advance(1s);
  };
  CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::cancelled);
  CHECK(world.count("transfer_queue") == 0);
  // The parts that are there are given up when the store answers again.
  CHECK(world.count("uploads") == 2);
  must(world.shipper->round());
  CHECK(world.store.abandoned == std::vector<std::string>{"another", "pack"});
  CHECK(world.count("uploads") == 0);
}

TEST_CASE("transfers: a failure is counted once, and one of the till's own disk is the step's, not an outage") {
  TransfersWorld world;
  world.store.set_offline(true);
  world.queue_segment("segment");
  CHECK_FALSE(world.shipper->round().has_value());
  CHECK(world.transfers->status().errors == 1);
  CHECK_FALSE(world.transfers->status().reachable);
  world.store.set_offline(false);
  must(world.shipper->round());
  CHECK(world.transfers->status().reachable);

  world.wanted = {world.spool(Lane::packs, "pack", 350)};
  world.spool_files.fail_only_below("/state/spool");
  world.spool_files.fail_at(3, ErrorKind::transient, true);  // opened, its size known: the first read
  const Uuid uuid = world.begin();
  const auto outcome = must(world.engine->run(uuid));
  CHECK(outcome.state == RunOutcome::State::waiting);
  CHECK(contains(outcome.error->context, "/state/spool/pack"));
  CHECK(must(world.engine->describe(uuid)).retry_count == 1);
  CHECK(world.transfers->status().errors == 1);
  world.spool_files.reset();
  world.clock.advance(1min);
  CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::done);
}

TEST_CASE("transfers: an upload that may not be given up is left to the bucket's rule, and holds up nothing") {
  TransfersWorld world;
  world.store.may_abandon = false;
  must(StateUploadJournal(*world.state)
           .begin({.key = "pack", .id = "id", .token = "t", .object_size = 9, .part_size = 5, .began_at = {}}));
  world.queue_segment("segment");
  must(world.shipper->round());
  CHECK(world.count("uploads") == 0);
  CHECK(world.transfers->status().reachable);
  CHECK(world.store.order == std::vector<std::string>{"segment"});
}

TEST_CASE("transfers: outside upload hours packs wait, also in their middle, and the log does not") {
  TransfersWorld world;
  const auto offset = system_utc_offset(world.clock.now());
  // The local time of day, now.
  const auto minute = [&] {
    const auto local = world.clock.now() + offset;
    return std::chrono::duration_cast<std::chrono::minutes>(local - std::chrono::floor<std::chrono::days>(local));
  };
  const auto in = [&](std::chrono::minutes later) { return (minute() + later) % (24h); };
  world.transfers->set_upload_hours({{in(120min), in(180min)}});
  world.wanted = {world.spool(Lane::packs, "pack", 350)};
  const Timestamp began = world.clock.now();
  bool waited = false;
  world.while_waiting = [&] {
    waited = true;
    CHECK(world.transfers->status().waits_for_hours);
    if (world.store.order.empty()) {
      world.queue_segment("segment");
      must(world.shipper->round());
      CHECK(world.store.order == std::vector<std::string>{"segment"});
    }
    world.clock.advance(1min);
  };
  SUBCASE("they begin when their hour comes") {
    CHECK(must(world.engine->run(world.begin())).state == RunOutcome::State::done);
    CHECK(world.clock.now() - began >= 119min);
    CHECK(world.clock.now() - began <= 121min);
    CHECK_FALSE(world.transfers->status().waits_for_hours);
  }
  SUBCASE("or at once when the hours are changed") {
    auto before = world.while_waiting;
    world.while_waiting = [&world, before] {
      before();
      world.transfers->set_upload_hours({});
    };
    CHECK(must(world.engine->run(world.begin())).state == RunOutcome::State::done);
    CHECK(world.clock.now() - began <= 1min);
  }
  SUBCASE("what is under way stops at the end of its hours and goes on the next day") {
    world.transfers->set_upload_hours({{minute(), in(1min)}});
    // Each part takes a minute: the second is not begun.
    world.store.parts_left = UINT64_MAX;
    world.while_waiting = [&] { world.clock.advance(1min); };
    WorkflowRequest request;
    request.type = WorkflowType::backup;
    const Uuid uuid = must(world.engine->create(request));
    world.store.on_part = [&] { world.clock.advance(1min); };
    CHECK(must(world.engine->run(uuid)).state == RunOutcome::State::done);
    CHECK(world.store.parts_received == 4);
    CHECK(world.clock.now() - began > 71h);
    waited = true;
  }
  CHECK(waited);
}

TEST_CASE("transfers: the journal in state.db outlives a power cut, and knows each upload by its id") {
  TransfersWorld world;
  const UploadPart first{1, 100, sha256(as_bytes(std::string("a"))), "\"e1\""}, second{2, 50, {}, "e2"};
  const Upload upload{.key = "a/pack",
                      .id = "id",
                      .token = "token",
                      .object_size = 150,
                      .part_size = 100,
                      .began_at = world.clock.now()};
  {
    StateUploadJournal journal(*world.state);
    CHECK_FALSE(must(journal.load("a/pack")));
    must(journal.begin(upload));
    must(journal.part_done("a/pack", "id", first));
    must(journal.part_done("a/pack", "another", second));
    must(journal.part_done("a/other", "id", second));
  }
  world.restart();
  StateUploadJournal journal(*world.state);
  Upload expected = upload;
  expected.parts = {first};
  CHECK(must(journal.load("a/pack")) == expected);
  CHECK(must(journal.sent("a/pack")) == 100);
  must(journal.part_done("a/pack", "id", second));
  must(journal.part_done("a/pack", "id", first));
  expected.parts = {first, second};
  CHECK(must(journal.load("a/pack")) == expected);
  CHECK(must(journal.list("a/")).size() == 1);
  CHECK(must(journal.list("b/")).empty());
  CHECK(must(journal.unwanted()) == std::vector<std::string>{"a/pack"});
  // Begun anew: nothing of before counts.
  must(journal.begin(upload));
  CHECK(must(journal.load("a/pack")) == upload);
  must(journal.forget("a/pack"));
  CHECK(must(journal.list("")).empty());
  CHECK(must(journal.sent("a/pack")) == 0);
}

TEST_CASE("transfers: state.db of before has its queue afterwards") {
  TransfersWorld world;
  const auto migrations = state_migrations();
  const std::string path = "/state/old.db";
  {
    auto old = must(Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, world.vfs.name()));
    must(migrate(old, migrations.first(6), world.clock));
    must(
        old.execute("INSERT INTO transfer_queue(lane, database_id, object_key, spool_path, size, created_at) "
                    "VALUES(0, 1, 'k', 'p', 7, 5)"));
  }
  auto state = must(StateDb::open(path, world.vfs.name(), world.clock));
  const auto next = must(next_transfer(*state->lease(), ""));
  REQUIRE(next);
  CHECK(next->key == "k");
  CHECK(next->size == 7);
}

TEST_SUITE_END();
