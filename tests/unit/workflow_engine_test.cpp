#include <doctest/doctest.h>

#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/faulty_file_system.h"
#include "support/memory_file_system.h"
#include "support/results.h"
#include "workflow/engine.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using State = RunOutcome::State;

namespace {
struct Workflows {
  MemoryFileSystem memory;
  FaultyFileSystem files{memory};
  FakeClock clock;
  SeededRandom random{1};
  FileVfs vfs{files, clock, random};
  std::unique_ptr<StateDb> state;
  std::unique_ptr<WorkflowEngine> engine;
  std::vector<std::string> ran;
  std::function<Result<Json>(StepContext&)> second = [](StepContext&) -> Result<Json> { return Json{{"n", 2}}; };
  WorkflowRequest request{.type = WorkflowType::backup,
                          .name = "nightly",
                          .data = {{"database", "till"}},
                          .backup = BackupSession{1},
                          .restore = {}};

  Workflows() {
    memory.add_directory("/state");
    restart();
  }
  void restart() {
    files.reset();
    engine.reset();
    state.reset();
    state = must(StateDb::open("/state/state.db", vfs.name(), clock));
    engine = std::make_unique<WorkflowEngine>(*state, clock, random);
    auto step = [this](std::string type, SessionPhase phase, std::function<Result<Json>(StepContext&)> run) {
      return StepDefinition{type, phase, [this, type, run](StepContext& context) {
                              ran.push_back(type);
                              return run(context);
                            }};
    };
    engine->define(WorkflowType::backup,
                   {step("FIRST", SessionPhase::initializing,
                         [](StepContext&) -> Result<Json> {
                           return Json{{"n", 1}};
                         }),
                    step("SECOND", SessionPhase::capturing, [this](StepContext& context) { return second(context); }),
                    step("THIRD", SessionPhase::completing, [](StepContext& context) -> Result<Json> {
                      return Json{
                          {"sum", context.result("FIRST")["n"].get<int>() + context.result("SECOND")["n"].get<int>()},
                          {"database", context.data()["database"]}};
                    })});
  }
  std::string session(const char* column) {
    return must(state->lease()->query_text(std::string("SELECT ") + column + " FROM backup_sessions"));
  }
};
}  // namespace

TEST_SUITE("workflow") {
  TEST_CASE_FIXTURE(Workflows, "workflow: steps run in order and see the data and the results before them") {
    Uuid uuid = must(engine->create(request));
    CHECK(must(engine->describe(uuid)).status == WorkflowStatus::pending);
    auto outcome = must(engine->run(uuid));
    CHECK(outcome.state == State::done);
    CHECK(outcome.result["sum"] == 3);
    CHECK(outcome.result["database"] == "till");
    CHECK(ran == std::vector<std::string>{"FIRST", "SECOND", "THIRD"});
    CHECK(must(engine->run(uuid)).result["sum"] == 3);
    CHECK(ran.size() == 3);
    CHECK(must(engine->resume_unfinished()).empty());
    CHECK(session("status") == "COMPLETED");
    CHECK(session("progress") == "100.0");
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: after a restart it goes on at the first unfinished step") {
    Uuid uuid = must(engine->create(request));
    second = [this](StepContext& context) -> Result<Json> {
      must(context.save({{"offset", 7}}));
      engine->stop();
      CHECK(context.cancelled());
      return context.cancelled_error();
    };
    CHECK(must(engine->run(uuid)).state == State::interrupted);
    CHECK(session("status") == "CAPTURING");
    CHECK(session("current_step") == "SECOND");
    restart();
    ran.clear();
    auto unfinished = must(engine->resume_unfinished());
    REQUIRE(unfinished.size() == 1);
    CHECK(unfinished[0].uuid == uuid);
    second = [](StepContext& context) -> Result<Json> {
      CHECK(context.saved()["offset"] == 7);
      CHECK(context.attempt() == 2);
      return Json{{"n", 5}};
    };
    CHECK(must(engine->run(uuid)).result["sum"] == 6);
    CHECK(ran == std::vector<std::string>{"SECOND", "THIRD"});
  }

  TEST_CASE_FIXTURE(Workflows,
                    "workflow: a step that fails is tried again after a growing wait, and never by sleeping") {
    Uuid uuid = must(engine->create(request));
    int fails = 3;
    second = [&](StepContext&) -> Result<Json> {
      if (fails-- > 0) return Error{ErrorKind::offline, 0, "no network"};
      return Json{{"n", 2}};
    };
    for (int retry = 1; retry <= 3; retry++) {
      auto before = clock.now();
      auto outcome = must(engine->run(uuid));
      CHECK(outcome.state == State::waiting);
      CHECK(clock.now() == before);
      CHECK(outcome.not_before - before <= 1000ms * (1 << (retry - 1)));
      CHECK(contains(outcome.error->context, "SECOND: no network"));
      if (outcome.not_before > clock.now()) {
        CHECK(must(engine->run(uuid)).state == State::waiting);
        CHECK(ran.size() == static_cast<size_t>(retry) + 1);
        clock.advance(outcome.not_before - clock.now());
      }
    }
    auto record = must(engine->describe(uuid));
    CHECK(record.retry_count == 3);
    CHECK(record.steps[1].retry_count == 3);
    CHECK(must(engine->run(uuid)).state == State::done);
    record = must(engine->describe(uuid));
    CHECK(record.retry_count == 0);
    CHECK_FALSE(record.error.has_value());
    CHECK(record.steps[1].retry_count == 3);
  }

  TEST_CASE_FIXTURE(Workflows,
                    "workflow: when the retries are used up it is FAILED with the reason, also across restarts") {
    Uuid uuid = must(engine->create(request));
    second = [](StepContext&) -> Result<Json> { return Error{ErrorKind::no_space, 0, "the disk is full"}; };
    RunOutcome outcome;
    for (int i = 0; i < 6; i++) {
      restart();
      outcome = must(engine->run(uuid));
      clock.advance(5min);
      if (i < 5) CHECK(outcome.state == State::waiting);
    }
    CHECK(outcome.state == State::failed);
    CHECK(contains(outcome.error->context, "max retries exceeded (5): SECOND: the disk is full"));
    auto record = must(engine->describe(uuid));
    CHECK(record.status == WorkflowStatus::failed);
    CHECK(record.error_kind == ErrorKind::no_space);
    CHECK(record.steps[1].status == StepStatus::failed);
    CHECK(record.steps[2].status == StepStatus::pending);
    CHECK(must(engine->resume_unfinished()).empty());
    CHECK(must(engine->run(uuid)).state == State::failed);
    CHECK(session("status") == "FAILED");
    CHECK(contains(session("error"), "disk is full"));
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: an error that cannot heal by itself is not tried again") {
    for (ErrorKind kind : {ErrorKind::corrupt, ErrorKind::usage, ErrorKind::denied, ErrorKind::schema}) {
      Uuid uuid = must(engine->create(request));
      second = [&](StepContext&) -> Result<Json> { return Error{kind, 0, "no"}; };
      CHECK(must(engine->run(uuid)).state == State::failed);
      CHECK(must(engine->describe(uuid)).retry_count == 0);
    }
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: a step that throws is a failed step") {
    Uuid uuid = must(engine->create(request));
    second = [](StepContext&) -> Result<Json> { throw std::runtime_error("bad day"); };
    auto outcome = must(engine->run(uuid));
    CHECK(outcome.state == State::waiting);
    CHECK(contains(outcome.error->context, "bad day"));
    must(engine->retry_now(uuid));
    second = [](StepContext&) -> Result<Json> { return Json{{"n", 2}}; };
    CHECK(must(engine->run(uuid)).state == State::done);
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: cancel ends a waiting one at once and asks a running one to end") {
    Uuid waiting = must(engine->create(request));
    must(engine->cancel(waiting));
    CHECK(must(engine->run(waiting)).state == State::cancelled);
    CHECK(kind_of(engine->cancel(waiting)) == ErrorKind::conflict);
    CHECK(kind_of(engine->cancel(Uuid{})) == ErrorKind::not_found);
    Uuid running = must(engine->create(request));
    second = [&](StepContext& context) -> Result<Json> {
      CHECK_FALSE(context.cancelled());
      must(engine->cancel(running));
      CHECK(kind_of(engine->run(running)) == ErrorKind::conflict);
      CHECK(context.cancelled());
      return context.cancelled_error();
    };
    CHECK(must(engine->run(running)).state == State::cancelled);
    CHECK(must(engine->describe(running)).status == WorkflowStatus::cancelled);
    Uuid deaf = must(engine->create(request));
    second = [&](StepContext&) -> Result<Json> {
      must(engine->cancel(deaf));
      return Json{{"n", 2}};
    };
    ran.clear();
    CHECK(must(engine->run(deaf)).state == State::cancelled);
    CHECK(ran.size() == 2);
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: a part that its whole did without ends with it, after a restart as well") {
    Uuid part;
    auto make_part = [&](const Uuid& whole) {
      WorkflowRequest of_part{.type = WorkflowType::replay, .name = "part", .backup = {}, .restore = {}};
      of_part.data = {{"parent", whole.str()}};
      return must(engine->create(of_part));
    };
    auto define_replay = [&] {
      engine->define(WorkflowType::replay, {{"APPLY", SessionPhase::processing,
                                             [](StepContext&) -> Result<Json> { return Json::object(); }}});
    };
    define_replay();
    second = [&](StepContext& context) -> Result<Json> {
      part = make_part(context.workflow());
      return Json{{"n", 2}};
    };
    auto ended_with = [&](const Uuid& whole) {
      auto record = must(engine->describe(part));
      CHECK(record.status == WorkflowStatus::cancelled);
      CHECK(record.error == "workflow " + whole.str() + " ended without it");
    };
    Uuid whole = must(engine->create(request));
    CHECK(must(engine->run(whole)).state == State::done);
    ended_with(whole);

    SUBCASE("a whole that is cancelled while it waits") {
      whole = must(engine->create(request));
      part = make_part(whole);
      must(engine->cancel(whole));
      ended_with(whole);
    }
    SUBCASE("the agent ended in between") {
      part = make_part(whole);
      restart();
      define_replay();
      CHECK(must(engine->resume_unfinished()).empty());
      ended_with(whole);
    }
    SUBCASE("that of a workflow which goes on stays") {
      whole = must(engine->create(request));
      part = make_part(whole);
      CHECK(must(engine->resume_unfinished()).size() == 1);
      CHECK(must(engine->describe(part)).status == WorkflowStatus::pending);
    }
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: without a way back it goes on through any error, until it is done") {
    ErrorKind kind = ErrorKind::denied;
    int left = 12;
    second = [&](StepContext& context) -> Result<Json> {
      must(context.save({{"n", 2}}));
      if (left == 12) must(context.no_way_back());
      if (left-- > 0) return Error{kind, 0, "the disk is gone"};
      return Json{{"n", 2}};
    };
    Uuid uuid = must(engine->create(request));
    for (int i = 0; i < 6; i++) {
      CHECK(must(engine->run(uuid)).state == State::waiting);
      CHECK(must(engine->describe(uuid)).error == "SECOND: the disk is gone");
      clock.advance(1h);
    }
    auto refused = engine->cancel(uuid);
    REQUIRE(!refused);
    CHECK(refused.error().kind == ErrorKind::conflict);
    CHECK(refused.error().context.find("SECOND: the disk is gone") != std::string::npos);
    restart();
    CHECK(must(engine->resume_unfinished()).size() == 1);
    kind = ErrorKind::cancelled;
    for (int i = 0; i < 6; i++) {
      CHECK(must(engine->run(uuid)).state == State::waiting);
      clock.advance(1h);
    }
    CHECK(must(engine->run(uuid)).state == State::done);

    SUBCASE("with the way back found, it fails") {
      second = [&](StepContext& context) -> Result<Json> {
        must(context.no_way_back());
        must(context.way_back());
        return Error{ErrorKind::denied, 0, "the disk is gone"};
      };
      uuid = must(engine->create(request));
      CHECK(must(engine->run(uuid)).state == State::failed);
    }
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: a step can be skipped, and rows given to its commit appear with it") {
    Uuid uuid = must(engine->create(request));
    second = [](StepContext& context) -> Result<Json> {
      context.on_commit([](Connection& db) { return db.execute("INSERT INTO settings VALUES('row', 'there')"); });
      context.set_snapshot(Uuid{});
      Json skipped = context.skip("nothing changed");
      return Json{{"n", 0}, {"why", skipped["skipped"]}};
    };
    must(state->lease()->execute("DELETE FROM settings WHERE key='row'"));
    // THIRD adds the results of both: of a skipped step there is none.
    auto outcome = must(engine->run(uuid));
    CHECK(outcome.state == State::waiting);
    CHECK(must(engine->describe(uuid)).steps[1].status == StepStatus::skipped);
    CHECK(must(state->setting("row")) == "there");
    CHECK(session("snapshot_uuid") == Uuid{}.str());
  }

  TEST_CASE_FIXTURE(Workflows,
                    "workflow: result, status and rows of a step are one commit, whichever call fails or loses power") {
    second = [](StepContext& context) -> Result<Json> {
      context.on_commit([](Connection& db) {
        return db.execute(
            "INSERT INTO settings VALUES('n', '1') ON CONFLICT DO UPDATE SET value=CAST(value AS INTEGER)+1");
      });
      return Json{{"n", 2}};
    };
    for (bool power : {false, true}) {
      int completed = 0;
      for (uint64_t n = 1; n < 60; n++) {
        CAPTURE(power);
        CAPTURE(n);
        restart();
        must(state->set_setting("n", "0"));
        Uuid uuid = must(engine->create(request));
        must(state->make_durable());
        files.reset();
        if (power)
          files.at_call(n, [&] { memory.cut_power(); });
        else
          files.fail_at(n, ErrorKind::no_space, true);
        (void)engine->run(uuid).has_value();
        if (power) memory.cut_power(), memory.crash(random);
        restart();
        auto record = must(engine->describe(uuid));
        bool done = record.steps[1].status == StepStatus::completed;
        completed += done;
        CHECK(must(state->setting("n")) == (done ? "1" : "0"));
        CHECK(record.steps[1].data.contains("n") == done);
        if (done) CHECK(record.steps[0].status == StepStatus::completed);
      }
      CHECK(completed > 0);
    }
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: progress tells percent, rate and time left while a step runs") {
    Uuid uuid = must(engine->create(request));
    second = [&](StepContext& context) -> Result<Json> {
      for (uint64_t done = 0; done <= 500; done += 100) {
        context.progress(done / 100, done * 1000, 1'000'000);
        clock.advance(1s);
      }
      auto progress = engine->progress(uuid).value();
      CHECK(progress.step == "SECOND");
      CHECK(progress.type == "BACKUP");
      CHECK(progress.percent == doctest::Approx(50));
      CHECK(progress.rate_bytes_per_second == doctest::Approx(100'000));
      CHECK(progress.eta == 5000ms);
      CHECK(progress.items == 5);
      CHECK(engine->progress()->workflow == uuid);
      return Json{{"n", 2}};
    };
    must(engine->run(uuid));
    CHECK_FALSE(engine->progress(uuid).has_value());
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: the list shows every field by name") {
    Uuid uuid = must(engine->create(request));
    second = [](StepContext&) -> Result<Json> { return Error{ErrorKind::timeout, 0, "slow"}; };
    must(engine->run(uuid));
    Json all = to_json(must(engine->list())[0]);
    for (auto* field : {"id", "uuid", "name", "status", "type", "data", "created_at", "updated_at", "completed_at",
                        "error", "retry_count", "max_retries", "steps"})
      CHECK_MESSAGE(all.contains(field), field);
    CHECK(all["status"] == "IN_PROGRESS");
    CHECK(all["error_class"] == "TIMEOUT_ERROR");
    CHECK(all["created_at"] == "2026-01-01T00:00:00.000Z");
    Json step = all["steps"][1];
    for (auto* field : {"id", "uuid", "workflow_id", "step_type", "status", "data", "sequence", "started_at",
                        "completed_at", "error", "retry_count", "dependencies"})
      CHECK_MESSAGE(step.contains(field), field);
    CHECK(step["dependencies"][0] == all["steps"][0]["uuid"]);
    CHECK(kind_of(engine->create({.type = WorkflowType::replay, .name = {}, .backup = {}, .restore = {}})) ==
          ErrorKind::usage);
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: a step of another version is failed and said") {
    Uuid uuid = must(engine->create(request));
    must(state->lease()->execute("UPDATE workflow_steps SET step_type='OLD' WHERE sequence=2"));
    auto outcome = must(engine->run(uuid));
    CHECK(outcome.state == State::failed);
    CHECK(contains(outcome.error->context, "OLD"));
  }

  TEST_CASE_FIXTURE(Workflows, "workflow: how far it was is kept for after a restart, and gone when it is done") {
    second = [&](StepContext& context) -> Result<Json> {
      context.progress(1, 10, 100);
      clock.advance(StepContext::kProgressKept);
      context.progress(2, 40, 100);
      context.progress(3, 60, 100);  // too soon after the last one to be kept
      return Error{ErrorKind::offline, 0, "no link"};
    };
    Uuid uuid = must(engine->create(request));
    CHECK(must(engine->run(uuid)).state == State::waiting);
    restart();
    auto record = must(engine->describe(uuid));
    CHECK(record.progress["step"] == "SECOND");
    CHECK(record.progress["bytes"] == 40);
    CHECK(record.progress["items"] == 2);
    CHECK(record.progress["percent"].get<double>() == doctest::Approx(100.0 * 1.4 / 3));
    CHECK(to_json(record)["progress"] == record.progress);
    CHECK(std::stod(session("progress")) == doctest::Approx(100.0 * 1.4 / 3));
    second = [](StepContext&) -> Result<Json> { return Json{{"n", 2}}; };
    clock.advance(1h);
    CHECK(must(engine->run(uuid)).state == State::done);
    CHECK(must(engine->describe(uuid)).progress.is_null());
  }
}
