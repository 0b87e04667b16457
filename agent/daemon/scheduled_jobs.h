// What [schedule] makes the agent do: snapshots, restore drills and verifications of each database.
//
// Purpose: one snapshot of a database at a time, the larger kind first; no INCREMENTAL of a database in which nothing
// happened since the last one, unless file assets are backed up with it. One drill and one verification at a time over
// all databases. A verification counts as done when it ended, so one that a restart cut short is made again; one that
// could not be made (the store is away) is tried again after kAgain.
// Threads: poll() one at a time, on a thread that may wait for state.db; verifications run on a thread of its own.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <mutex>

#include "agent/daemon/backup_verifier.h"
#include "schedule/scheduler.h"

namespace tillsync {

class ScheduledJobs {
 public:
  static constexpr std::chrono::minutes kAgain{10};
  struct Starts {
    std::function<Result<void>(FollowedDatabase&, const std::string& type)> backup;
    std::function<Result<void>(FollowedDatabase&)> drill;
    std::function<void()> verification_ended;  // poll() has something to say; from the verification's thread
  };
  ScheduledJobs(const Services& services, std::vector<FollowedDatabase*> databases, Starts starts);
  Result<void> define();
  Result<Milliseconds> poll() { return scheduler_.poll(); }
  void stop();

 private:
  Result<Scheduler::Begun> backup(FollowedDatabase& database, const std::string& type);
  Result<Scheduler::Begun> drill(FollowedDatabase& database);
  Result<Scheduler::Begun> verify(FollowedDatabase& database);
  Result<bool> exists(const char* sql, std::optional<int64_t> database = std::nullopt);
  Services services_;
  std::vector<FollowedDatabase*> databases_;
  Starts starts_;
  Scheduler scheduler_;
  BackupVerifier verifier_;
  boost::asio::thread_pool background_{1};
  std::mutex mutex_;  // of what follows
  FollowedDatabase* verifying_ = nullptr;
  FollowedDatabase* verified_ = nullptr;  // ended, and not yet said to the scheduler
  std::optional<std::chrono::steady_clock::time_point> not_before_;
};

}  // namespace tillsync
