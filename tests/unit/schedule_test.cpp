#include <doctest/doctest.h>

#include "schedule/scheduler.h"
#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

Timestamp utc(const char* text) { return must(parse_rfc3339(text)); }

// Germany in 2026: +01:00, and +02:00 from 29 March 01:00 UTC to 25 October 01:00 UTC.
std::chrono::seconds berlin(Timestamp t) {
  return t >= utc("2026-03-29T01:00:00Z") && t < utc("2026-10-25T01:00:00Z") ? 2h : 1h;
}

ScheduleRule daily(std::chrono::minutes time) { return {ScheduleRule::Kind::at, Milliseconds(0), std::nullopt, time}; }
ScheduleRule weekly(std::chrono::weekday day, std::chrono::minutes time) {
  return {ScheduleRule::Kind::at, Milliseconds(0), day, time};
}
ScheduleRule every(Milliseconds period) { return {ScheduleRule::Kind::every, period, std::nullopt, 0min}; }

struct Scheduling {
  MemoryFileSystem files;
  FakeClock clock{utc("2026-06-03T10:00:00Z")};  // a Wednesday
  SeededRandom random{1};
  FileVfs vfs{files, clock, random};
  std::unique_ptr<StateDb> state;
  std::unique_ptr<Scheduler> scheduler;
  std::vector<std::string> begun;
  bool busy = false;
  ScheduleRule rule = daily(3h);
  Milliseconds shift{0};

  Scheduling() {
    files.add_directory("/state");
    restart();
  }
  void restart() {
    scheduler.reset();
    state.reset();
    state = must(StateDb::open("/state/state.db", vfs.name(), clock));
    scheduler = std::make_unique<Scheduler>(*state, clock, berlin, shift);
    must(scheduler->add({"full pos", rule, [this]() -> Result<Scheduler::Begun> {
                           if (busy) return Scheduler::Begun::not_now;
                           begun.push_back(to_rfc3339(clock.now()));
                           return Scheduler::Begun::yes;
                         }}));
  }
  // As the agent does it, with a wait as long as the answer.
  void run_for(std::chrono::microseconds time) {
    const auto end = clock.steady_now() + time;
    while (clock.steady_now() < end) {
      const Milliseconds wait = must(scheduler->poll());
      CHECK(wait > 0ms);
      CHECK(wait <= Scheduler::kPollInterval);
      clock.advance(wait);
    }
  }
};

}  // namespace

TEST_SUITE_BEGIN("schedule");

TEST_CASE("recurrence: times of day and week are those of the wall clock") {
  Recurrence full(weekly(std::chrono::Sunday, 3h), 0ms, berlin);
  CHECK(*full.next(utc("2026-06-03T10:00:00Z")) == utc("2026-06-07T01:00:00Z"));
  CHECK(*full.newest(utc("2026-06-03T10:00:00Z")) == utc("2026-05-31T01:00:00Z"));
  CHECK(*full.newest(utc("2026-05-31T01:00:00Z")) == utc("2026-05-31T01:00:00Z"));
  CHECK(*full.next(utc("2026-05-31T01:00:00Z")) == utc("2026-06-07T01:00:00Z"));
  Recurrence winter(daily(3h), 0ms, berlin);
  CHECK(*winter.next(utc("2026-01-10T02:00:00Z")) == utc("2026-01-11T02:00:00Z"));
  CHECK_FALSE(Recurrence(ScheduleRule{}, 0ms, berlin).next(utc("2026-01-10T02:00:00Z")).has_value());
  CHECK_FALSE(Recurrence(ScheduleRule{}, 0ms, berlin).newest(utc("2026-01-10T02:00:00Z")).has_value());
}

TEST_CASE("recurrence: a time that daylight saving leaves out is the first moment after the gap") {
  Recurrence rule(daily(2h + 30min), 0ms, berlin);
  CHECK(*rule.next(utc("2026-03-28T12:00:00Z")) == utc("2026-03-29T01:00:00Z"));
  CHECK(*rule.next(utc("2026-03-29T01:00:00Z")) == utc("2026-03-30T00:30:00Z"));
}

TEST_CASE("recurrence: a time that comes twice is the first of both") {
  Recurrence rule(daily(2h + 30min), 0ms, berlin);
  CHECK(*rule.next(utc("2026-10-24T12:00:00Z")) == utc("2026-10-25T00:30:00Z"));
  CHECK(*rule.next(utc("2026-10-25T00:30:00Z")) == utc("2026-10-26T01:30:00Z"));
}

TEST_CASE("recurrence: through a year every day has exactly one run, whatever the time of day and the shift") {
  for (auto time : {0min, 59min, 120min, 121min, 150min, 179min, 180min, 23h + 59min}) {
    for (Milliseconds shift : {0ms, 599'999ms, Milliseconds(30h)}) {
      Recurrence rule(daily(time), shift, berlin);
      Timestamp at = utc("2026-01-01T00:00:00Z");
      std::chrono::sys_days last{};
      int runs = 0;
      while ((at = *rule.next(at)) < utc("2027-01-01T00:00:00Z") + shift) {
        const auto day = std::chrono::floor<std::chrono::days>(at - shift + berlin(at - shift));
        INFO(to_rfc3339(at));
        if (runs) CHECK(day == last + std::chrono::days(1));
        CHECK(*rule.newest(at) == at);
        CHECK(*rule.newest(at - 1ms) < at);
        last = day;
        runs++;
      }
      CHECK(runs >= 364);
      CHECK(runs <= 367);
    }
  }
}

TEST_CASE("recurrence: a period counts from 1970, shifted by the terminal's place in it") {
  Recurrence rule(every(15min), 4min, berlin);
  CHECK(*rule.newest(utc("2026-06-03T10:18:59Z")) == utc("2026-06-03T10:04:00Z"));
  CHECK(*rule.next(utc("2026-06-03T10:18:59Z")) == utc("2026-06-03T10:19:00Z"));
  CHECK(*rule.newest(utc("2026-06-03T10:19:00Z")) == utc("2026-06-03T10:19:00Z"));
  // A shift longer than the period is its rest.
  CHECK(*Recurrence(every(15min), 19min, berlin).newest(utc("2026-06-03T10:18:59Z")) == utc("2026-06-03T10:04:00Z"));
}

TEST_CASE("recurrence: the machine's own zone has one offset at a time, within a day") {
  for (int day = 0; day < 366; day++) {
    const auto offset = system_utc_offset(utc("2026-01-01T00:00:00Z") + std::chrono::days(day));
    CHECK(offset > -24h);
    CHECK(offset < 24h);
    CHECK(offset % 60s == 0s);
  }
}

TEST_CASE("schedule: a new job is not made up for, and then runs once a day") {
  Scheduling world;
  CHECK(must(world.scheduler->poll()) == Scheduler::kPollInterval);
  CHECK(world.begun.empty());
  world.run_for(72h);
  REQUIRE(world.begun.size() == 3);
  CHECK(world.begun[0] == "2026-06-04T01:00:00.000Z");
  CHECK(world.begun[1] == "2026-06-05T01:00:00.000Z");
}

TEST_CASE("schedule: after ten days switched off one run is made up, not ten") {
  Scheduling world;
  world.run_for(24h);
  CHECK(world.begun.size() == 1);
  world.clock.advance(240h);
  world.restart();
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 2);
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 2);
}

TEST_CASE("schedule: what was missed begins only after the terminal's shift, what is due now at once") {
  Scheduling world;
  world.shift = 5min;
  world.restart();
  world.clock.advance(48h);
  world.restart();
  must(world.scheduler->poll());
  CHECK(world.begun.empty());
  world.clock.advance(299s);
  must(world.scheduler->poll());
  CHECK(world.begun.empty());
  world.clock.advance(1s);
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 1);
  // 03:05 of the next day is in its minute, shortly after a restart.
  world.clock.jump_to(utc("2026-06-06T01:05:10Z"));
  world.restart();
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 2);
}

TEST_CASE("schedule: a busy job stays due and begins once") {
  Scheduling world;
  world.busy = true;
  world.run_for(24h);
  CHECK(world.begun.empty());
  world.busy = false;
  world.run_for(10min);
  CHECK(world.begun.size() == 1);
}

TEST_CASE("schedule: a restart right after a run does not repeat it") {
  Scheduling world;
  world.run_for(15h + 1s);
  CHECK(world.begun.size() == 1);
  world.restart();
  world.run_for(1h);
  CHECK(world.begun.size() == 1);
}

TEST_CASE("schedule: a clock set back by an hour repeats nothing") {
  Scheduling world;
  world.run_for(15h + 10min);
  CHECK(world.begun.size() == 1);
  world.clock.jump_to(world.clock.now() - 1h);
  world.run_for(3h);
  CHECK(world.begun.size() == 1);
}

TEST_CASE("schedule: a clock that was ten years ahead does not silence the job") {
  Scheduling world;
  world.clock.jump_to(utc("2036-06-03T10:00:00Z"));
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 1);
  world.clock.jump_to(utc("2026-06-03T10:00:00Z"));
  world.run_for(24h);
  CHECK(world.begun.size() == 2);
}

TEST_CASE("schedule: a changed rule counts from the change") {
  Scheduling world;
  world.run_for(24h);
  CHECK(world.begun.size() == 1);
  // Nine o'clock has passed today, when nobody had asked for it.
  world.rule = daily(9h);
  world.restart();
  must(world.scheduler->poll());
  CHECK(world.begun.size() == 1);
  world.run_for(24h);
  CHECK(world.begun.size() == 2);
}

TEST_CASE("schedule: a job that fails is said, tried again, and does not keep others") {
  Scheduling world;
  int tries = 0;
  must(world.scheduler->add({"verify pos", daily(3h), [&]() -> Result<Scheduler::Begun> {
                               if (++tries == 1) return Error{ErrorKind::offline, 0, "no store"};
                               return Scheduler::Begun::yes;
                             }}));
  must(world.scheduler->add({"drill pos", daily(3h), [&]() -> Result<Scheduler::Begun> {
                               tries += 10;
                               return Scheduler::Begun::yes;
                             }}));
  world.clock.jump_to(utc("2026-06-04T01:00:00Z"));
  auto polled = world.scheduler->poll();
  REQUIRE_FALSE(polled.has_value());
  CHECK(polled.error().context == "verify pos: no store");
  CHECK(tries == 11);
  must(world.scheduler->poll());
  must(world.scheduler->poll());
  CHECK(tries == 12);
  CHECK(world.begun.size() == 1);
}

TEST_CASE("schedule: terminals spread over the jitter, each always in its place") {
  SeededRandom random(7);
  FakeClock clock;
  int first_half = 0;
  for (int i = 0; i < 1000; i++) {
    const Uuid terminal = make_uuid_v7(clock, random);
    const Milliseconds shift = terminal_shift(terminal, 10min);
    CHECK(shift >= 0ms);
    CHECK(shift < 10min);
    CHECK(shift == terminal_shift(terminal, 10min));
    if (shift < 5min) first_half++;
  }
  CHECK(first_half > 400);
  CHECK(first_half < 600);
  CHECK(terminal_shift(make_uuid_v7(clock, random), 0ms) == 0ms);
}

TEST_SUITE_END();
