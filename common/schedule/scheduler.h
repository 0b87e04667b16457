// What is due, by rules, across restarts.
//
// Purpose: each job has a rule and remembers, in state.db, the newest of its moments that was begun. When a newer one
// has passed it is due, once, however many were missed while the machine slept or was off. What was missed (older than
// kLate) begins only after the terminal's shift, counted from the agent's start: shops that open at the same minute do
// not all upload at it.
// A job that is new, or has a new rule, counts from now: nothing is made up for a time in which nobody had asked for
// it. A clock that ran years ahead and was set back does not silence a job: a moment remembered that lies further ahead
// than kAhead is forgotten. A clock set back a little does not repeat a run. Errors: those of state.db; what a job
// answers is kept for failures() and tried again at the next poll. Threads: one at a time.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ports/clock.h"
#include "schedule/schedule_rule.h"
#include "state/state_db.h"

namespace tillsync {

class Scheduler {
 public:
  static constexpr std::chrono::minutes kLate{2};
  static constexpr std::chrono::hours kAhead{25};
  static constexpr std::chrono::seconds kPollInterval{30}, kBusyInterval{5};

  enum class Begun {
    yes,
    not_now,  // something is in the way; asked again after kBusyInterval
  };
  struct Job {
    std::string name;  // unique: "full pos"
    ScheduleRule rule;
    std::function<Result<Begun>()> begin;
  };

  // shift: of this terminal (terminal_shift()). All must outlive the scheduler.
  Scheduler(StateDb& state, Clock& clock, UtcOffset offset, Milliseconds shift);
  // Jobs are asked in the order in which they were added. One whose rule is off is not kept.
  Result<void> add(Job job);
  // Begins what is due. Call it again after the answer, at the latest kPollInterval from now: steady clocks stand still
  // while a machine sleeps.
  Result<Milliseconds> poll();

 private:
  struct Entry {
    Job job;
    Recurrence recurrence;
    Timestamp begun;
  };
  Result<void> remember(const Entry& entry);
  StateDb& state_;
  Clock& clock_;
  UtcOffset offset_;
  Milliseconds shift_;
  std::chrono::steady_clock::time_point started_;
  std::vector<Entry> jobs_;
};

// The terminal's place within the jitter: always the same for its id.
Milliseconds terminal_shift(const Uuid& terminal, Milliseconds jitter);

}  // namespace tillsync
