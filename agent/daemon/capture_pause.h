// A pause that a person asked for: the databases' files are let go of, for an installer, a repair or a copy by hand.
//
// Purpose: pause() answers when nothing of the application's is open any more. It is kept in state.db, because an
// installer may restart the machine, and ends by itself where it was given a length. What was sold meanwhile is
// captured afterwards; what was captured goes on into the store. Clocks: a length is counted by the steady clock within
// one run, and by the wall clock across a restart, never longer than it was asked for. Errors: those of state.db; a
// pause that can't be recorded is none. Threads: any.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "agent/daemon/followed_database.h"

namespace tillsync {

struct Pause {
  Timestamp since;
  std::optional<Milliseconds> length;  // none: until resume()
  std::optional<Timestamp> until() const { return length ? std::optional(since + *length) : std::nullopt; }
};

class CapturePause {
 public:
  // resumed: called after capture was told to go on. All must outlive it.
  CapturePause(StateDb& state, Clock& clock, std::vector<FollowedDatabase*> databases, std::function<void()> resumed)
      : state_(state), clock_(clock), databases_(std::move(databases)), resumed_(std::move(resumed)) {}
  // Goes on with the pause of the run before. Before capture starts.
  Result<void> restore();
  // A running one begins anew. released: called once, when every database has been let go of.
  Result<Pause> pause(std::optional<Milliseconds> length, std::function<void()> released);
  // Without one: nothing happens.
  Result<void> resume();
  // Ends one whose time is over. Called now and then.
  Result<void> look();
  std::optional<Pause> current() const;

 private:
  void hold(const Pause& pause, const std::function<void()>& released);
  StateDb& state_;
  Clock& clock_;
  const std::vector<FollowedDatabase*> databases_;
  const std::function<void()> resumed_;
  std::mutex change_mutex_;   // one change at a time, with its record
  mutable std::mutex mutex_;  // of what follows
  std::optional<Pause> pause_;
  std::optional<std::chrono::steady_clock::time_point> ends_;
};

}  // namespace tillsync
