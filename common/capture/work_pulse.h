// Between the thread that captures and those who watch it: it shows that it goes on, and it is told to end early.
//
// Purpose: a stop of the agent must not wait until millions of rows are compared or logged, and a thread that hangs
// must not look like one that works. Whoever loops over pages or rows beats; what was not committed is done another
// time. Errors: cancelled. Threads: beat() and Quiet by the one thread that works; the rest from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace tillsync {

class WorkPulse {
 public:
  void beat() { beats_.store(beats_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  uint64_t beats() const { return beats_.load(std::memory_order_relaxed); }

  void stop() { stopped_ = true; }
  void go_on() { stopped_ = false; }
  bool is_stopped() const { return stopped_; }

  // What can't beat while it lasts: a wait for an event, a commit of gigabytes.
  class Quiet {
   public:
    Quiet(WorkPulse& pulse, std::chrono::milliseconds at_most) : pulse_(pulse), before_(pulse.quiet_ms_) {
      pulse_.quiet_ms_ = at_most.count();
      pulse_.beat();
    }
    ~Quiet() {
      pulse_.quiet_ms_ = before_;
      pulse_.beat();
    }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

   private:
    WorkPulse& pulse_;
    const int64_t before_;
  };
  // How much longer than usual the next beat may take.
  std::chrono::milliseconds quiet() const { return std::chrono::milliseconds(quiet_ms_.load()); }

 private:
  std::atomic<uint64_t> beats_ = 0;
  std::atomic<int64_t> quiet_ms_ = 0;
  std::atomic<bool> stopped_ = false;
};

// Beats. pulse may be nullptr: nobody watches.
inline Result<void> unless_stopped(WorkPulse* pulse, const char* while_what) {
  if (!pulse) return {};
  pulse->beat();
  if (!pulse->is_stopped()) return {};
  return Error{ErrorKind::cancelled, 0, std::string("stopped while ") + while_what};
}

}  // namespace tillsync
