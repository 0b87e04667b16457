// The agent's prune: of the databases it follows, by its own [retention].
// Where it may not delete, or can't read, it says where their logs begin (log_begin.h), and others prune.
//
// Purpose: what backups under way count on is pinned, and what state.db knows of snapshots, blocks and segments is made
// right, and durable, before the first object goes. So no backup refers to a pack that is about to go: one that has
// decided already has pinned it, one that decides later does not find it in stored_blocks any more.
// File assets are looked at after the databases, and not while a backup that has captured some is under way.
// Errors: those of store and state.db; denied where the store does not let us delete; conflict while a backup is under
// way that says too little about itself. Threads: show() and problems() from any; prune() and prune_if_due() where no
// backup step runs meanwhile (WorkflowRunner::between_backups), one at a time; stop() from any.
#pragma once

#include <atomic>
#include <mutex>

#include "agent/daemon/services.h"
#include "prune/asset_prune.h"
#include "prune/prune_run.h"

namespace tillsync {

class Pruner {
 public:
  struct Database {
    int64_t id = 0;
    std::string name;
  };
  Pruner(const Services& services, std::vector<Database> databases)
      : services_(services), databases_(std::move(databases)) {}

  // The document of `prune --json`. database empty: all of them.
  Result<Json> show(const std::string& database);
  Result<Json> prune(const std::string& database, bool with_assets = true);
  // After a completed backup: at most once an hour, assets once a day.
  void prune_if_due();
  // What kept the last prune from removing something, for status.
  std::vector<std::string> problems();
  // Snapshots of a database that are in use beside those of its backups.
  void pin_also(std::function<std::set<Uuid>(const std::string& database)> pinned) { pinned_ = std::move(pinned); }
  // Lets a running prune end at its next safe point.
  void stop() { stopping_ = true; }

 private:
  Result<PrunePlan> plan(const Database& database);
  // Of all databases of the terminal together. going: snapshots that would go first.
  Result<Json> prune_assets(bool dry_run, std::set<Uuid> going, std::vector<std::string>& problems);
  Result<bool> assets_are_in_use();
  void move_log_begins();
  Result<void> add_pins(const Database& database, PruneRequest& request);
  Result<void> forget(const Database& database, const PrunePlan& plan);
  Result<Json> each(const std::string& wanted, const std::function<Result<Json>(const Database&)>& work);

  Services services_;
  std::vector<Database> databases_;
  std::function<std::set<Uuid>(const std::string& database)> pinned_;
  bool may_go_on() const;
  std::atomic<bool> stopping_ = false;
  std::optional<std::chrono::steady_clock::time_point> last_, last_assets_, last_begins_;
  std::mutex mutex_;  // of what follows
  SnapshotCache cache_;
  std::vector<std::string> problems_;
};

}  // namespace tillsync
