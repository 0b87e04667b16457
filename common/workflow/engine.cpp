#include "workflow/engine.h"

#include "base/checks.h"

namespace tillsync {

namespace {

std::string_view to_string(SessionPhase phase) {
  switch (phase) {
    case SessionPhase::initializing: return "INITIALIZING";
    case SessionPhase::capturing: return "CAPTURING";
    case SessionPhase::processing: return "PROCESSING";
    case SessionPhase::completing: return "COMPLETING";
  }
  return "PROCESSING";
}

// A step may call code that throws; what it throws is a failure of the step, not of the agent.
Result<Json> guarded(const StepDefinition& step, StepContext& context) {
  try {
    return step.run(context);
  } catch (const std::exception& e) {
    return Error{ErrorKind::internal, 0, std::string("unexpected: ") + e.what()};
  }
}

bool is_finished(const StepRecord& step) {
  return step.status == StepStatus::completed || step.status == StepStatus::skipped;
}

Result<void> append_log(Connection& db, const char* sql, const std::vector<Json>& entries,
                        const std::string& workflow) {
  for (auto& entry : entries) {
    TILLSYNC_LET(auto update, db.cached(sql));
    TILLSYNC_TRY(update->bind(1, dump(entry)).bind(2, workflow).run());
  }
  return {};
}

}  // namespace

// Marks a workflow as run by this thread; nobody else may.
class WorkflowEngine::Running {
 public:
  static Result<Running> enter(WorkflowEngine& engine, const Uuid& uuid) {
    std::lock_guard lock(engine.mutex_);
    auto [it, made] = engine.running_.try_emplace(uuid, nullptr);
    if (!made) return Error{ErrorKind::conflict, 0, "workflow " + uuid.str() + " is running already"};
    it->second = std::make_shared<StopFlags>();
    it->second->stopping = &engine.stopping_;
    return Running(engine, uuid, it->second);
  }
  Running(Running&& other) noexcept
      : engine_(std::exchange(other.engine_, nullptr)), uuid_(other.uuid_), flags_(std::move(other.flags_)) {}
  Running& operator=(Running&&) = delete;
  ~Running() {
    if (!engine_) return;
    engine_->board_.end(uuid_);
    std::lock_guard lock(engine_->mutex_);
    engine_->running_.erase(uuid_);
  }
  StopFlags& flags() { return *flags_; }

 private:
  Running(WorkflowEngine& engine, const Uuid& uuid, std::shared_ptr<StopFlags> flags)
      : engine_(&engine), uuid_(uuid), flags_(std::move(flags)) {}
  WorkflowEngine* engine_;
  Uuid uuid_;
  std::shared_ptr<StopFlags> flags_;
};

WorkflowEngine::WorkflowEngine(StateDb& state, Clock& clock, Random& random)
    : state_(state), clock_(clock), random_(random), board_(clock) {}

void WorkflowEngine::define(WorkflowType type, std::vector<StepDefinition> steps, Cleanup cleanup) {
  TILLSYNC_CHECK(!steps.empty());
  std::set<std::string> names;
  for (auto& step : steps) TILLSYNC_CHECK(step.run && names.insert(step.type).second);
  definitions_[type] = std::move(steps);
  cleanups_[type] = std::move(cleanup);
}

const StepDefinition* WorkflowEngine::find(WorkflowType type, const std::string& step) const {
  auto it = definitions_.find(type);
  if (it == definitions_.end()) return nullptr;
  for (auto& definition : it->second)
    if (definition.type == step) return &definition;
  return nullptr;
}

Result<Uuid> WorkflowEngine::create(const WorkflowRequest& request) {
  auto definition = definitions_.find(request.type);
  if (definition == definitions_.end())
    return Error{ErrorKind::usage, 0,
                 "workflows of type " + std::string(to_string(request.type)) + " are not available here"};
  Uuid uuid = make_uuid_v7(clock_, random_);
  int64_t now = to_ms(clock_.now());
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_LET(auto insert,
               db->cached("INSERT INTO workflows(uuid, name, status, type, data, created_at, updated_at, max_retries)"
                          " VALUES(?,?,'PENDING',?,?,?,?,?)"));
  TILLSYNC_TRY(insert->bind(1, uuid.str())
                   .bind(2, request.name)
                   .bind(3, to_string(request.type))
                   .bind(4, dump(request.data))
                   .bind(5, now)
                   .bind(6, now)
                   .bind(7, request.max_retries)
                   .run());
  int64_t id = sqlite3_last_insert_rowid(db->handle());
  Json dependencies = Json::array();
  for (size_t i = 0; i < definition->second.size(); i++) {
    Uuid step = make_uuid_v7(clock_, random_);
    TILLSYNC_LET(auto add,
                 db->cached("INSERT INTO workflow_steps(uuid, workflow_id, step_type, status, sequence, dependencies)"
                            " VALUES(?,?,?,'PENDING',?,?)"));
    TILLSYNC_TRY(add->bind(1, step.str())
                     .bind(2, id)
                     .bind(3, definition->second[i].type)
                     .bind(4, static_cast<uint64_t>(i + 1))
                     .bind(5, dump(dependencies))
                     .run());
    dependencies = {step.str()};
  }
  if (request.backup) {
    TILLSYNC_LET(auto add,
                 db->cached("INSERT INTO backup_sessions(session_uuid, workflow_uuid, database_id, status, start_time,"
                            " last_update_time) VALUES(?,?,?,'INITIALIZING',?,?)"));
    TILLSYNC_TRY(add->bind(1, make_uuid_v7(clock_, random_).str())
                     .bind(2, uuid.str())
                     .bind(3, request.backup->database_id)
                     .bind(4, now)
                     .bind(5, now)
                     .run());
  }
  if (request.restore) {
    auto& r = *request.restore;
    TILLSYNC_LET(
        auto add,
        db->cached("INSERT INTO restore_sessions(session_uuid, workflow_uuid, database_id, snapshot_uuid, status,"
                   " start_time, last_update_time, target, target_sequence) VALUES(?,?,?,?,'INITIALIZING',?,?,?,?)"));
    std::optional<std::string> snapshot;
    if (r.snapshot) snapshot = r.snapshot->str();
    TILLSYNC_TRY(add->bind(1, make_uuid_v7(clock_, random_).str())
                     .bind(2, uuid.str())
                     .bind(3, r.database_id)
                     .bind(4, snapshot)
                     .bind(5, now)
                     .bind(6, now)
                     .bind(7, r.target)
                     .bind(8, r.target_sequence)
                     .run());
  }
  TILLSYNC_TRY(transaction.commit());
  return uuid;
}

Result<RunOutcome> WorkflowEngine::run(const Uuid& uuid) {
  TILLSYNC_LET(auto running, Running::enter(*this, uuid));
  TILLSYNC_LET(auto workflow, describe(uuid));
  return run_steps(workflow, running.flags()).with("workflow " + uuid.str());
}

Result<RunOutcome> WorkflowEngine::run_steps(WorkflowRecord& workflow, StopFlags& flags) {
  RunOutcome outcome;
  if (workflow.error) outcome.error = Error{workflow.error_kind.value_or(ErrorKind::internal), 0, *workflow.error};
  if (workflow.status == WorkflowStatus::failed || workflow.status == WorkflowStatus::cancelled) {
    outcome.state =
        workflow.status == WorkflowStatus::failed ? RunOutcome::State::failed : RunOutcome::State::cancelled;
    return outcome;
  }
  if (workflow.not_before > clock_.now() && workflow.status != WorkflowStatus::completed) {
    outcome.state = RunOutcome::State::waiting;
    outcome.not_before = workflow.not_before;
    return outcome;
  }
  outcome.error.reset();
  for (size_t i = 0; i < workflow.steps.size(); i++) {
    StepRecord& step = workflow.steps[i];
    if (!is_finished(step)) {
      if (flags.cancelled) return end(workflow, WorkflowStatus::cancelled, std::nullopt, nullptr);
      if (stopping_) {
        outcome.state = RunOutcome::State::interrupted;
        return outcome;
      }
      const StepDefinition* definition = find(workflow.type, step.type);
      if (!definition)
        return end(workflow, WorkflowStatus::failed,
                   Error{ErrorKind::usage, 0,
                         "this tillsync does not know the step " + step.type + "; it was begun by another version"},
                   &step);
      TILLSYNC_TRY(start(workflow, step, definition->phase, i + 1));
      StepContext context(workflow, step, state_, clock_, board_, flags);
      Result<Json> result = guarded(*definition, context);
      if (result) {
        // A commit that fails is an error of state.db, not of the step: nothing of it is recorded, and it runs again.
        TILLSYNC_TRY(complete(workflow, step, context, std::move(*result)));
      } else if (result.error().kind == ErrorKind::cancelled && stopping_ && !flags.cancelled) {
        outcome.state = RunOutcome::State::interrupted;
        return outcome;
      } else {
        return failed(workflow, step, std::move(result).error(), context.no_way_back_);
      }
    }
    if (step.status == StepStatus::completed) outcome.result = step.data;
  }
  if (workflow.status != WorkflowStatus::completed)
    TILLSYNC_TRY(end(workflow, WorkflowStatus::completed, std::nullopt, nullptr));
  return outcome;
}

Result<void> WorkflowEngine::start(WorkflowRecord& workflow, StepRecord& step, SessionPhase phase, size_t number) {
  int64_t now = to_ms(clock_.now());
  // IN_PROGRESS already: the attempt before was interrupted. It counts for the step, so that it can be seen, and not
  // against max_retries: a till that is switched off every evening is no failure.
  if (step.status == StepStatus::in_progress) step.retry_count++;
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_LET(
      auto update,
      db->cached("UPDATE workflow_steps SET status='IN_PROGRESS', started_at=coalesce(started_at, ?), retry_count=?,"
                 " error=NULL WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, now).bind(2, step.retry_count).bind(3, step.id).run());
  TILLSYNC_LET(auto of, db->cached("UPDATE workflows SET status='IN_PROGRESS', updated_at=?, not_before=0 WHERE id=?"));
  TILLSYNC_TRY(of->bind(1, now).bind(2, workflow.id).run());
  double percent = 100.0 * static_cast<double>(number - 1) / static_cast<double>(workflow.steps.size());
  TILLSYNC_TRY(update_sessions(*db, workflow.uuid, to_string(phase), percent, step.type, std::nullopt));
  TILLSYNC_TRY(transaction.commit());
  step.status = StepStatus::in_progress;
  workflow.status = WorkflowStatus::in_progress;
  board_.begin_step(workflow.uuid, std::string(to_string(workflow.type)), step.type, number, workflow.steps.size());
  return {};
}

Result<void> WorkflowEngine::complete(WorkflowRecord& workflow, StepRecord& step, StepContext& context, Json result) {
  int64_t now = to_ms(clock_.now());
  StepStatus status = context.skipped_ ? StepStatus::skipped : StepStatus::completed;
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  for (auto& work : context.on_commit_) TILLSYNC_TRY(work(*db).with(step.type));
  TILLSYNC_LET(auto update,
               db->cached("UPDATE workflow_steps SET status=?, data=?, completed_at=?, error=NULL WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, to_string(status)).bind(2, dump(result)).bind(3, now).bind(4, step.id).run());
  TILLSYNC_LET(auto of,
               db->cached("UPDATE workflows SET updated_at=?, retry_count=0, error=NULL, error_kind=NULL WHERE id=?"));
  TILLSYNC_TRY(of->bind(1, now).bind(2, workflow.id).run());
  std::string uuid = workflow.uuid.str();
  if (context.snapshot_) {
    for (const char* sql : {"UPDATE backup_sessions SET snapshot_uuid=? WHERE workflow_uuid=?",
                            "UPDATE restore_sessions SET snapshot_uuid=? WHERE workflow_uuid=?"}) {
      TILLSYNC_LET(auto set, db->cached(sql));
      TILLSYNC_TRY(set->bind(1, *context.snapshot_).bind(2, uuid).run());
    }
  }
  TILLSYNC_TRY(append_log(
      *db,
      "UPDATE restore_sessions SET migration_log=json_insert(migration_log, '$[#]', json(?)) WHERE workflow_uuid=?",
      context.migration_log_, uuid));
  TILLSYNC_TRY(append_log(
      *db, "UPDATE restore_sessions SET replay_log=json_insert(replay_log, '$[#]', json(?)) WHERE workflow_uuid=?",
      context.replay_log_, uuid));
  TILLSYNC_TRY(transaction.commit());
  step.status = status;
  step.data = std::move(result);
  step.completed_at = from_ms(now);
  workflow.retry_count = 0;
  return {};
}

Result<RunOutcome> WorkflowEngine::failed(WorkflowRecord& workflow, StepRecord& step, Error error, bool no_way_back) {
  error.context.insert(0, step.type + ": ");
  if (!no_way_back) {
    if (error.kind == ErrorKind::cancelled) return end(workflow, WorkflowStatus::cancelled, std::nullopt, &step);
    if (!is_retriable(error.kind)) return end(workflow, WorkflowStatus::failed, std::move(error), &step);
    if (workflow.retry_count >= workflow.max_retries) {
      error.context.insert(0, "max retries exceeded (" + std::to_string(workflow.max_retries) + "): ");
      return end(workflow, WorkflowStatus::failed, std::move(error), &step);
    }
  }
  workflow.retry_count = std::min(workflow.retry_count + 1, std::max(workflow.max_retries, 1U));
  step.retry_count++;
  RunOutcome outcome;
  outcome.state = RunOutcome::State::waiting;
  outcome.not_before = clock_.now() + backoff_.wait(workflow.retry_count, random_);
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  // PENDING and not FAILED: it will be tried again. Its error and count stay to be seen.
  TILLSYNC_LET(auto update,
               db->cached("UPDATE workflow_steps SET status='PENDING', retry_count=?, error=? WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, step.retry_count).bind(2, error.context).bind(3, step.id).run());
  TILLSYNC_LET(
      auto of,
      db->cached("UPDATE workflows SET updated_at=?, retry_count=?, not_before=?, error=?, error_kind=? WHERE id=?"));
  TILLSYNC_TRY(of->bind(1, to_ms(clock_.now()))
                   .bind(2, workflow.retry_count)
                   .bind(3, to_ms(outcome.not_before))
                   .bind(4, error.context)
                   .bind(5, tillsync::to_string(error.kind))
                   .bind(6, workflow.id)
                   .run());
  TILLSYNC_TRY(transaction.commit());
  outcome.error = std::move(error);
  return outcome;
}

Result<RunOutcome> WorkflowEngine::end(WorkflowRecord& workflow, WorkflowStatus status, std::optional<Error> error,
                                       const StepRecord* failed_step) {
  int64_t now = to_ms(clock_.now());
  bool completed = status == WorkflowStatus::completed;
  std::optional<std::string> text, kind;
  if (error) {
    text = error->context;
    kind = std::string(tillsync::to_string(error->kind));
  } else if (status == WorkflowStatus::cancelled) {
    text = "cancelled";
    kind = "cancelled";
  }
  auto db = state_.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_LET(auto update, db->cached("UPDATE workflows SET status=?, updated_at=?, completed_at=?, not_before=0, "
                                       "error=?, error_kind=?, progress=iif(?1='COMPLETED', NULL, progress) "
                                       "WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, to_string(status))
                   .bind(2, now)
                   .bind(3, now)
                   .bind(4, text)
                   .bind(5, kind)
                   .bind(6, workflow.id)
                   .run());
  if (failed_step) {
    TILLSYNC_LET(auto step,
                 db->cached("UPDATE workflow_steps SET status='FAILED', completed_at=?, error=? WHERE id=?"));
    TILLSYNC_TRY(step->bind(1, now).bind(2, text).bind(3, failed_step->id).run());
  }
  double percent = -1;  // a failed one keeps how far it came
  if (completed) percent = 100;
  TILLSYNC_TRY(update_sessions(*db, workflow.uuid, completed ? "COMPLETED" : "FAILED", percent,
                               failed_step ? failed_step->type : "", text));
  TILLSYNC_TRY(transaction.commit());
  workflow.status = status;
  auto cleanup = cleanups_.find(workflow.type);
  if (!completed && cleanup != cleanups_.end() && cleanup->second) {
    if (auto stored = read_workflow(*db, workflow.uuid)) cleanup->second(*stored);
  }
  TILLSYNC_TRY(end_parts_of(*db, workflow.uuid));
  RunOutcome outcome;
  outcome.state = completed                             ? RunOutcome::State::done
                  : status == WorkflowStatus::cancelled ? RunOutcome::State::cancelled
                                                        : RunOutcome::State::failed;
  outcome.error = std::move(error);
  return outcome;
}

// A step that was begun again may have found another way, and never come back to the part it had made.
Result<void> WorkflowEngine::end_parts_of(Connection& db, const Uuid& workflow) {
  std::vector<Uuid> parts;
  {
    TILLSYNC_LET(auto query, db.prepare("SELECT uuid FROM workflows WHERE status IN ('PENDING', 'IN_PROGRESS') AND "
                                        "json_extract(data, '$.parent')=? ORDER BY id"));
    query.bind(1, workflow.str());
    while (true) {
      TILLSYNC_LET(bool row, query.step());
      if (!row) break;
      TILLSYNC_LET(Uuid uuid, Uuid::parse(query.text(0)));
      parts.push_back(uuid);
    }
  }
  for (auto& part : parts) {
    TILLSYNC_LET(auto record, read_workflow(db, part));
    TILLSYNC_TRY(end(record, WorkflowStatus::cancelled,
                     Error{ErrorKind::cancelled, 0, "workflow " + workflow.str() + " ended without it"}, nullptr));
  }
  return {};
}

Result<void> WorkflowEngine::update_sessions(Connection& db, const Uuid& workflow, std::string_view status,
                                             double progress, const std::string& step,
                                             const std::optional<std::string>& error) {
  for (const char* sql : {"UPDATE backup_sessions SET status=?1, progress=iif(?2<0, progress, ?2), "
                          "current_step=iif(?3='', current_step, ?3),"
                          " last_update_time=?4, error=?5 WHERE workflow_uuid=?6",
                          "UPDATE restore_sessions SET status=?1, progress=iif(?2<0, progress, ?2), "
                          "current_step=iif(?3='', current_step, ?3),"
                          " last_update_time=?4, error=?5 WHERE workflow_uuid=?6"}) {
    TILLSYNC_LET(auto update, db.cached(sql));
    TILLSYNC_TRY(update->bind(1, status)
                     .bind(2, progress)
                     .bind(3, step)
                     .bind(4, to_ms(clock_.now()))
                     .bind(5, error)
                     .bind(6, workflow.str())
                     .run());
  }
  return {};
}

Result<std::vector<UnfinishedWorkflow>> WorkflowEngine::resume_unfinished() {
  auto db = state_.lease();
  std::vector<Uuid> uuids;
  {
    TILLSYNC_LET(auto query,
                 db->prepare("SELECT uuid FROM workflows WHERE status IN ('PENDING', 'IN_PROGRESS') ORDER BY id"));
    while (true) {
      TILLSYNC_LET(bool row, query.step());
      if (!row) break;
      TILLSYNC_LET(Uuid uuid, Uuid::parse(query.text(0)));
      uuids.push_back(uuid);
    }
  }
  std::vector<UnfinishedWorkflow> out;
  for (auto& uuid : uuids) {
    TILLSYNC_LET(auto workflow, read_workflow(*db, uuid));
    if (workflow.data.contains("parent")) {
      // The agent may have ended between the end of the whole and that of this part.
      TILLSYNC_LET(Uuid whole, Uuid::parse(workflow.data.at("parent").get<std::string>()));
      TILLSYNC_LET(auto record, read_workflow(*db, whole));
      if (is_final(record.status)) TILLSYNC_TRY(end_parts_of(*db, whole));
      continue;
    }
    if (workflow.retry_count > workflow.max_retries) {
      TILLSYNC_TRY(end(workflow, WorkflowStatus::failed,
                       Error{ErrorKind::internal, 0, "max retries exceeded: " + workflow.error.value_or("")}, nullptr));
      continue;
    }
    out.push_back({uuid, workflow.type, workflow.not_before});
  }
  return out;
}

Result<void> WorkflowEngine::cancel(const Uuid& uuid) {
  std::shared_ptr<StopFlags> flags;
  {
    std::lock_guard lock(mutex_);
    auto it = running_.find(uuid);
    if (it != running_.end()) flags = it->second;
  }
  if (flags) {
    flags->cancelled = true;
    return {};
  }
  // Entered, so that it cannot start meanwhile.
  TILLSYNC_LET(auto running, Running::enter(*this, uuid));
  TILLSYNC_LET(auto workflow, describe(uuid));
  if (is_final(workflow.status))
    return Error{ErrorKind::conflict, 0,
                 "workflow " + uuid.str() + " has ended already: " + std::string(to_string(workflow.status))};
  if (std::any_of(workflow.steps.begin(), workflow.steps.end(), has_no_way_back))
    return Error{ErrorKind::conflict, 0,
                 "workflow " + uuid.str() + " has done what can't be cancelled any more, and ends by itself: " +
                     workflow.error.value_or("its record is missing")};
  TILLSYNC_TRY(end(workflow, WorkflowStatus::cancelled, std::nullopt, nullptr));
  return {};
}

Result<void> WorkflowEngine::retry_now(const Uuid& uuid) {
  TILLSYNC_LET(auto workflow, describe(uuid));
  if (is_final(workflow.status))
    return Error{ErrorKind::conflict, 0,
                 "workflow " + uuid.str() + " has ended already: " + std::string(to_string(workflow.status))};
  auto db = state_.lease();
  TILLSYNC_LET(auto update, db->cached("UPDATE workflows SET not_before=0 WHERE uuid=?"));
  return update->bind(1, uuid.str()).run();
}

Result<std::vector<WorkflowRecord>> WorkflowEngine::list(size_t limit) {
  auto db = state_.lease();
  return read_workflows(*db, limit);
}

Result<WorkflowRecord> WorkflowEngine::describe(const Uuid& uuid) {
  auto db = state_.lease();
  return read_workflow(*db, uuid);
}

}  // namespace tillsync
