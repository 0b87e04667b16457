// What an agent does when it is ended at any call: each kind of work from its starting state, and what must hold
// afterwards whatever happened.
#pragma once

#include "crash_points/terminal.h"

namespace tillsync::test {

// Bytes written so far, by what they are for.
struct BytesWritten {
  uint64_t store = 0, spool = 0, staging = 0, safety = 0;
  static BytesWritten of(const Terminal& terminal);
  uint64_t all() const { return store + spool + staging + safety; }
};

class Story {
 public:
  virtual ~Story() = default;
  virtual std::string name() const = 0;
  // The starting state: the agent runs, and all is quiet.
  virtual void prepare(Terminal& terminal) = 0;
  // The work, once asked for.
  virtual Result<void> work(Terminal& terminal) = 0;
  // After a start: to the end, by what state.db has of it. Asked for again where state.db lost it with the power.
  virtual Result<void> go_on(Terminal& terminal) = 0;
  // After the work and ship(). reference: it is the run without a crash.
  virtual void look_at_end(Terminal& terminal, bool reference) = 0;
  // The application goes on selling while the agent is down; false where the work replaces what was sold.
  virtual bool sells_meanwhile() const { return true; }
  virtual bool replaces_live() const { return false; }
  // Whether anything a person would ask for again follows the replacement.
  virtual bool has_more_than_live() const { return true; }
  virtual bool prunes() const { return false; }

  // One piece of work has failed and another was done: what the first one left is there as well.
  bool done_anew = false;
  bool asked_anew = false;  // by go_on()
  // It failed after it had replaced the live content; what follows that, the assets, was asked for again.
  bool replaced_twice = false;
  Content before, after;  // of the live database, without a crash
};

std::vector<std::unique_ptr<Story>> all_stories();
std::unique_ptr<Story> story(const std::string& name);

// What must hold of any agent that is at rest: state.db, spool, store, log, snapshots, and the way back from them.
void audit(Terminal& terminal, Story& story);

}  // namespace tillsync::test
