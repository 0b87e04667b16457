// What a step sees of its workflow while it runs.
//
// Threads: used by the thread that runs the step; progress() and cancelled() from any thread the step starts.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "workflow/progress.h"
#include "workflow/records.h"

namespace tillsync {

class WorkflowEngine;

// Shared between a running step and those who want it to end.
struct StopFlags {
  std::atomic<bool> cancelled{false};           // this workflow, by a person
  const std::atomic<bool>* stopping = nullptr;  // the whole engine: the agent ends
};

class StepContext {
 public:
  const Uuid& workflow() const { return record_.uuid; }
  const Json& data() const { return record_.data; }
  Timestamp created_at() const { return record_.created_at; }  // of the workflow
  // Result of an earlier step; null when there is no such step or it was skipped.
  const Json& result(std::string_view step_type) const;
  // What save() kept in an earlier attempt of this step; an empty object the first time.
  const Json& saved() const { return saved_; }
  // Keeps data of an unfinished step in state.db, so that the next attempt goes on there.
  Result<void> save(Json data);
  uint32_t attempt() const { return attempt_; }  // from 1

  // What the workflow was made for has happened, and only the record of it is missing: from here on it becomes neither
  // FAILED nor CANCELLED, whatever kind of error comes; the step is tried again until it completes. Kept over a
  // restart.
  Result<void> no_way_back();
  // It has not happened, or was undone.
  Result<void> way_back();

  // Also kept in state.db, every kProgressKept: who asks after a restart sees how far it was.
  void progress(uint64_t items, uint64_t bytes, uint64_t bytes_total);
  static constexpr std::chrono::seconds kProgressKept{2};
  // Why the step does not get on, and until when it waits at least; nullopt: it gets on again. As the error of the
  // workflow it is seen by who asks, also after a restart; no retry is counted.
  Result<void> held_up(const std::optional<Error>& why, Timestamp until = {});
  // Look often; when true, return an error of kind cancelled.
  bool cancelled() const;
  Error cancelled_error() const { return Error{ErrorKind::cancelled, 0, "cancelled"}; }

  // Runs inside the commit that makes this step COMPLETED: rows that must appear with it, or not at all.
  void on_commit(std::function<Result<void>(Connection&)> work) { on_commit_.push_back(std::move(work)); }
  // The step has nothing to do: it becomes SKIPPED, for this reason.
  Json skip(std::string reason);

  // The session row, if the workflow has one; written with the step's commit.
  void set_snapshot(const Uuid& snapshot) { snapshot_ = snapshot.str(); }
  void log_migration(Json entry) { migration_log_.push_back(std::move(entry)); }
  void log_replay(Json entry) { replay_log_.push_back(std::move(entry)); }

 private:
  friend class WorkflowEngine;
  StepContext(const WorkflowRecord& record, const StepRecord& step, StateDb& state, Clock& clock, ProgressBoard& board,
              StopFlags& flags);
  const WorkflowRecord& record_;
  const StepRecord& step_;
  StateDb& state_;
  Clock& clock_;
  ProgressBoard& board_;
  StopFlags& flags_;
  Json saved_;
  uint32_t attempt_;
  bool skipped_ = false, no_way_back_ = false;
  std::mutex progress_mutex_;
  std::chrono::steady_clock::time_point kept_at_;
  std::vector<std::function<Result<void>(Connection&)>> on_commit_;
  std::optional<std::string> snapshot_;
  std::vector<Json> migration_log_, replay_log_;
};

}  // namespace tillsync
