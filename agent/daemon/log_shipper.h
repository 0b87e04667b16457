// Sends the log: seals what was captured into segments, spools them, and puts them into the store.
//
// Purpose: a captured transaction waits at most log_flush before its segment is sent. Order of one flush: segments are
// sealed and synced to the spool, recorded in state.db, state.db is made durable, and only then are they sent; a
// segment that is in the spool after a restart is sent as it is. Errors: kept for status; a store that can't be reached
// is tried again with back-off, for ever. Between segments, and within the hours of packs, those that lie before a
// snapshot are merged (actionlog/log_merger.h). Threads: its own; calls from any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "agent/daemon/disk_ladder.h"
#include "agent/daemon/followed_database.h"
#include "agent/daemon/transfers.h"
#include "ports/backoff.h"

namespace tillsync {

class LogShipper {
 public:
  LogShipper(const Services& services, std::vector<FollowedDatabase*> databases, Transfers& transfers);
  ~LogShipper();
  void start();
  void stop();
  // One round, by whoever runs it without start(): seals and sends what there is, and calls back those who waited for
  // it. Its error is in the transfers' status as well.
  Result<void> round();

  void captured();  // something new is in a log
  // Calls back once everything of that database up to the sequence is durable in the store.
  void when_durable(int64_t database_id, Sequence sequence, std::function<void()> callback);
  // Sends now, without waiting for log_flush; also ends a wait after an error.
  void hurry();
  // Segments can be merged that could not before.
  void snapshot_made();
  // What the local log gives up where the disk is short.
  void set_disk_rung(DiskRung rung);

 private:
  struct Waiter {
    int64_t database_id;
    Sequence sequence;
    std::function<void()> callback;
  };
  void run();
  Result<void> round(bool probe);
  Result<void> flush();
  Result<void> make_durable();
  Result<void> trim();
  Result<void> seal(FollowedDatabase& database);
  Result<void> merge();
  bool can_merge();
  Result<bool> merge_some(FollowedDatabase& database);
  Result<void> spool(FollowedDatabase& database, const std::string& key, ByteView object,
                     const std::function<Result<void>(Connection&)>& record);
  Result<void> send_queue();
  Result<void> send(const Transfer& transfer);
  Result<void> check_sent(const std::string& key);
  void answer_waiters();

  Services services_;
  std::vector<FollowedDatabase*> databases_;
  Transfers& transfers_;
  RetryPace pace_;  // thread_ only
  std::mutex mutex_;
  std::condition_variable signal_;
  bool stopping_ = false, urgent_ = false, probes_ = false;
  std::atomic<DiskRung> disk_rung_ = DiskRung::roomy;
  std::optional<std::chrono::steady_clock::time_point> due_;
  bool sealed_since_durable_ = true;  // thread_ only
  std::string merge_problem_;         // thread_ only; said once
  std::vector<std::string> sent_;     // thread_ only; files that are no longer needed, but for a power cut
  std::vector<Waiter> waiters_;
  std::thread thread_;
};

}  // namespace tillsync
