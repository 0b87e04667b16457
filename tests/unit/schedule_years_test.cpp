// Years of a shop's life, in the time zones of this world as the machine knows them: each run once, whatever the clocks
// do.
#include <doctest/doctest.h>

#include <cstdlib>
#include <set>

#include "schedule/scheduler.h"
#include "sqlite/file_vfs.h"
#include "support/fake_clock.h"
#include "support/memory_file_system.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;

namespace {

constexpr auto kStep = 15min;  // every change of these zones falls on one

struct Zone {
  const char* name;
  bool changes;  // daylight saving, in these years
};
// Whole hours, half an hour, at midnight, two hours at once, in Ramadan, on the southern side, none.
constexpr Zone kZones[] = {{"Europe/Berlin", true},      {"America/New_York", true}, {"Australia/Lord_Howe", true},
                           {"Africa/Cairo", true},       {"Antarctica/Troll", true}, {"Africa/Casablanca", true},
                           {"America/Santiago", true},   {"Asia/Kathmandu", false},  {"Etc/UTC", false},
                           {"Pacific/Kiritimati", false}};

struct InZone {
  explicit InZone(const char* name) { ::setenv("TZ", name, 1); }
  ~InZone() { ::unsetenv("TZ"); }
};

// By looking at the wall clock every quarter of an hour: of each day of the calendar (on that weekday) the first moment
// at which it shows the time, or a later one.
std::vector<Timestamp> moments_by_looking(Timestamp from, Timestamp to, std::chrono::minutes time,
                                          std::optional<std::chrono::weekday> day) {
  std::vector<Timestamp> moments;
  std::set<std::chrono::sys_days> done;
  for (Timestamp t = from; t < to; t += kStep) {
    const auto wall = t + system_utc_offset(t);
    const auto date = std::chrono::floor<std::chrono::days>(wall);
    if (wall - date < time || (day && std::chrono::weekday(date) != *day)) continue;
    if (done.insert(date).second) moments.push_back(t);
  }
  // Of the first day only the rest was seen.
  if (!moments.empty()) moments.erase(moments.begin());
  return moments;
}

}  // namespace

TEST_SUITE_BEGIN("schedule");

TEST_CASE(
    "schedule: three years in ten time zones, with nights switched off, sleeps and clocks set: no run twice, none "
    "left out") {
  const uint64_t seed = SeededRandom::seed_of_this_run();
  INFO("seed ", seed);
  SeededRandom random{seed};
  const Timestamp from = must(parse_rfc3339("2024-01-01T00:00:00Z")), to = must(parse_rfc3339("2027-01-01T00:00:00Z"));
  for (const Zone& zone : kZones) {
    INFO("zone ", zone.name);
    const InZone here(zone.name);
    std::set<std::chrono::seconds> offsets;
    for (Timestamp t = from; t < to; t += 24h) offsets.insert(system_utc_offset(t));
    REQUIRE((offsets.size() > 1) == zone.changes);

    const auto time = kStep * static_cast<int>(random.below(96));
    std::optional<std::chrono::weekday> day;
    if (random.below(3) == 0) day = std::chrono::weekday(static_cast<unsigned>(random.below(7)));
    INFO("time of day ", time.count(), " min, ", day ? "weekly" : "daily");
    const auto moments = moments_by_looking(from, to, time, day);
    REQUIRE(moments.size() > (day ? 150u : 1000u));

    MemoryFileSystem files;
    files.add_directory("/state");
    FakeClock clock(from + 36h);
    FileVfs vfs(files, clock, random);
    std::unique_ptr<StateDb> state;
    std::unique_ptr<Scheduler> scheduler;
    std::vector<Timestamp> begun;
    auto start = [&] {
      scheduler.reset();
      state.reset();
      state = must(StateDb::open("/state/state.db", vfs.name(), clock));
      scheduler = std::make_unique<Scheduler>(*state, clock, system_utc_offset, Milliseconds(0));
      must(scheduler->add({"full pos", {ScheduleRule::Kind::at, Milliseconds(0), day, time}, [&] {
                             begun.push_back(clock.now());
                             return Result<Scheduler::Begun>(Scheduler::Begun::yes);
                           }}));
    };
    start();
    const Timestamp first = clock.now();
    // What has passed was begun, and the newest of it last: looked at whenever the machine has been on for a moment.
    auto newest_before = [&](Timestamp t) {
      auto after = std::upper_bound(moments.begin(), moments.end(), t);
      return after == moments.begin() ? std::optional<Timestamp>() : std::optional(*(after - 1));
    };
    size_t off = 0;
    while (clock.now() < to - 48h) {
      // On for some hours, as the agent polls: with a wait as long as the answer.
      const auto until = clock.now() + std::chrono::hours(1 + random.below(200));
      while (clock.now() < std::min(until, to - 48h)) {
        const Milliseconds wait = must(scheduler->poll());
        const auto newest = newest_before(clock.now());
        if (newest && *newest > first) {
          REQUIRE(!begun.empty());
          // Begun at or after it, and by nothing twice.
          REQUIRE(begun.back() >= *newest);
          if (begun.size() > 1) REQUIRE(newest_before(begun[begun.size() - 2]) < newest_before(begun.back()));
        }
        // A machine that sleeps polls late.
        clock.advance(std::max<Milliseconds>(wait, std::chrono::seconds(random.below(3 * 3600))));
      }
      // Switched off for a night or weeks; or asleep, with the process kept; or a clock that NTP sets back a little.
      switch (random.below(4)) {
        case 0:
          clock.advance(std::chrono::hours(random.below(24 * 20)));
          off++;
          start();
          break;
        case 1: clock.advance(std::chrono::hours(random.below(60))); break;
        case 2: clock.jump_to(clock.now() - Milliseconds(random.below(60'000))); break;
        default: start();
      }
    }
    CHECK(off > 0);
    for (size_t i = 1; i < begun.size(); i++) CHECK(newest_before(begun[i - 1]) < newest_before(begun[i]));
    CHECK(begun.size() > (day ? 60u : 400u));
  }
}

TEST_SUITE_END();
