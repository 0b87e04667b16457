// What goes to the store: lanes, hours, outages of any length, and restarts in the middle of an upload.
#include "agent/transfers_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

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
