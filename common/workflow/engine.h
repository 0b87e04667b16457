// The workflow engine: a list of steps that goes on where it stopped.
//
// Purpose: BACKUP, RESTORE, MIGRATION and REPLAY survive reboots. Every step is safe to repeat; its result and its
// COMPLETED status are one commit of state.db, so a step runs again until it is recorded and never after.
// Retries: a step that fails is tried again after an exponential wait with full jitter (ports/backoff.h). Retries are
// counted since the last step that completed, up to max_retries; then the workflow is FAILED. Kinds that cannot heal by
// themselves (corrupt, usage, denied, schema) fail at once. After StepContext::no_way_back() neither counts.
// Parts: a workflow with `parent` in its data is run by a step of that one, and is CANCELLED with its end at the
// latest. Waiting: run() never sleeps. It answers `waiting` with the moment to call it again. Threads: all calls from
// any thread; one workflow is run by one thread at a time (conflict otherwise).
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "ports/backoff.h"
#include "workflow/context.h"

namespace tillsync {

// Status of the session row while a step runs (requirements, State Tracking).
enum class SessionPhase { initializing, capturing, processing, completing };

struct StepDefinition {
  std::string type;  // unique in its workflow: "FETCH_PACKS"
  SessionPhase phase = SessionPhase::processing;
  std::function<Result<Json>(StepContext&)> run;
};

struct BackupSession {
  int64_t database_id = 0;
};
struct RestoreSession {
  std::optional<int64_t> database_id;
  std::optional<Uuid> snapshot;
  std::string target;
  Sequence target_sequence = 0;
};

struct WorkflowRequest {
  WorkflowType type = WorkflowType::backup;
  std::string name;
  Json data = Json::object();
  uint32_t max_retries = 5;
  std::optional<BackupSession> backup;
  std::optional<RestoreSession> restore;
};

struct RunOutcome {
  enum class State {
    done,
    waiting,  // call run() again at not_before
    failed,
    cancelled,
    interrupted,  // stop() was called: it goes on after the next start
  };
  State state = State::done;
  Timestamp not_before;        // of waiting
  std::optional<Error> error;  // of waiting and failed
  Json result;                 // of done: the result of the last step that was not skipped
};

struct UnfinishedWorkflow {
  Uuid uuid;
  WorkflowType type = WorkflowType::backup;
  Timestamp not_before;
};

class WorkflowEngine {
 public:
  // All must outlive the engine.
  WorkflowEngine(StateDb& state, Clock& clock, Random& random);

  // The steps of a type, once, before anything runs. cleanup: called when one has failed or was cancelled, after that
  // was committed: what its steps left lying is of no use to anyone.
  using Cleanup = std::function<void(const WorkflowRecord&)>;
  void define(WorkflowType type, std::vector<StepDefinition> steps, Cleanup cleanup = {});

  // Persists the workflow and its steps as PENDING. usage: the type was not defined.
  Result<Uuid> create(const WorkflowRequest& request);
  // Runs until the workflow ends, waits, or is stopped. An error is one of the engine itself (state.db): the workflow
  // is as before and may be run again. A finished workflow answers how it finished.
  Result<RunOutcome> run(const Uuid& uuid);
  // PENDING and IN_PROGRESS, oldest first; those whose retries are used up become FAILED. Without those that a step of
  // another one runs (`parent` in their data).
  Result<std::vector<UnfinishedWorkflow>> resume_unfinished();
  // A running step is asked to end; otherwise it is CANCELLED at once. conflict: it has ended already, or has no way
  // back.
  Result<void> cancel(const Uuid& uuid);
  // Lets a waiting workflow run now.
  Result<void> retry_now(const Uuid& uuid);
  // Asks every running step to end, without cancelling: for the end of the agent.
  void stop() { stopping_ = true; }

  Result<std::vector<WorkflowRecord>> list(size_t limit = 100);
  Result<WorkflowRecord> describe(const Uuid& uuid);
  std::optional<Progress> progress(const Uuid& uuid) const { return board_.get(uuid); }
  std::optional<Progress> progress() const { return board_.any(); }  // of the one that has run longest

 private:
  class Running;
  const StepDefinition* find(WorkflowType type, const std::string& step) const;
  Result<RunOutcome> run_steps(WorkflowRecord& workflow, StopFlags& flags);
  Result<void> start(WorkflowRecord& workflow, StepRecord& step, SessionPhase phase, size_t number);
  Result<void> complete(WorkflowRecord& workflow, StepRecord& step, StepContext& context, Json result);
  Result<RunOutcome> failed(WorkflowRecord& workflow, StepRecord& step, Error error, bool no_way_back);
  Result<RunOutcome> end(WorkflowRecord& workflow, WorkflowStatus status, std::optional<Error> error,
                         const StepRecord* failed_step);
  Result<void> end_parts_of(Connection& db, const Uuid& workflow);
  Result<void> update_sessions(Connection& db, const Uuid& workflow, std::string_view status, double progress,
                               const std::string& step, const std::optional<std::string>& error);

  StateDb& state_;
  Clock& clock_;
  Random& random_;
  const Backoff backoff_;
  ProgressBoard board_;
  std::map<WorkflowType, std::vector<StepDefinition>> definitions_;
  std::map<WorkflowType, Cleanup> cleanups_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // of running_
  std::map<Uuid, std::shared_ptr<StopFlags>> running_;
};

}  // namespace tillsync
