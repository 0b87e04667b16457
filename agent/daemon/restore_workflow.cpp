#include "agent/daemon/restore_workflow.h"

#include "actionlog/segment.h"
#include "agent/daemon/store_plans.h"
#include "agent/daemon/wait_for.h"
#include "restore/migrations.h"
#include "restore/moment.h"
#include "restore/outcome_json.h"

namespace tillsync {

namespace {
constexpr std::chrono::seconds kCompleteLogPatience{10};
}  // namespace

void RestoreWorkflow::define(WorkflowEngine& engine) {
  engine_ = &engine;
  auto step = [this](const char* type, SessionPhase phase, Result<Json> (RestoreWorkflow::*run)(StepContext&)) {
    return StepDefinition{type, phase, [this, run](StepContext& context) { return (this->*run)(context); }};
  };
  engine.define(WorkflowType::restore,
                {
                    step("VALIDATE_SNAPSHOT", SessionPhase::initializing, &RestoreWorkflow::validate),
                    step("CHECK_SCHEMA_COMPATIBILITY", SessionPhase::initializing, &RestoreWorkflow::check_schema),
                    step("FETCH_PACKS", SessionPhase::capturing, &RestoreWorkflow::check_packs),
                    step("RESTORE_DATABASE", SessionPhase::processing, &RestoreWorkflow::fill),
                    step("REPLAY_ACTION_LOG", SessionPhase::processing, &RestoreWorkflow::replay),
                    step("MIGRATE_SCHEMA", SessionPhase::processing, &RestoreWorkflow::migrate),
                    step("FINAL_VALIDATION", SessionPhase::completing, &RestoreWorkflow::prove),
                    step("CLEAR_EXISTING_DATA", SessionPhase::completing, &RestoreWorkflow::put_aside),
                    step("ACTIVATE", SessionPhase::completing, &RestoreWorkflow::activate),
                    step("RESTORE_FILE_ASSETS", SessionPhase::completing, &RestoreWorkflow::restore_assets),
                },
                [this](const WorkflowRecord& workflow) { clean_up(workflow); });
  engine.define(WorkflowType::replay,
                {{"READ_LOG", SessionPhase::initializing,
                  [this](StepContext& context) -> Result<Json> {
                    TILLSYNC_LET(auto job, job_of_parent(context));
                    uint64_t bytes = 0;
                    for (auto& segment : job->plan.segments) bytes += segment.size;
                    return Json{{"segments", job->plan.segments.size()},
                                {"bytes", bytes},
                                {"from_transaction", job->plan.chain.target().transaction},
                                {"to_transaction", job->plan.transaction}};
                  }},
                 {"APPLY_ACTIONS", SessionPhase::processing, [this](StepContext& context) -> Result<Json> {
                    TILLSYNC_LET(auto job, job_of_parent(context));
                    TILLSYNC_TRY(ensure_replayed(context, *job));
                    return Json{{"segments", job->plan.segments.size()},
                                {"actions", job->staging->outcome().actions_replayed},
                                {"transaction", job->staging->outcome().transaction},
                                {"failures", job->staging->outcome().failures.size()}};
                  }}});
  engine.define(WorkflowType::migration,
                {{"READ_MIGRATIONS", SessionPhase::initializing,
                  [this](StepContext& context) -> Result<Json> {
                    TILLSYNC_LET(auto database, database_of(context.data()));
                    TILLSYNC_LET(auto migrations,
                                 SchemaMigrations::read(*services_.files, database->config().migrations));
                    Json steps = Json::array();
                    for (auto& one : migrations.steps())
                      steps.push_back({{"version", one.version}, {"name", one.name}, {"checksum", one.checksum.hex()}});
                    return Json{{"migrations", std::move(steps)}};
                  }},
                 {"APPLY_MIGRATIONS", SessionPhase::processing, [this](StepContext& context) -> Result<Json> {
                    TILLSYNC_LET(auto job, job_of_parent(context));
                    TILLSYNC_TRY(ensure_migrated(context, *job));
                    return Json{{"applied", job->applied_migrations}};
                  }}});
}

Result<FollowedDatabase*> RestoreWorkflow::database_of(const Json& data) const {
  std::string name = data.at("database");
  for (auto* database : databases_)
    if (database->config().name == name) return database;
  return Error{ErrorKind::usage, 0, "there is no database '" + name + "' in the configuration"};
}

Result<std::string> RestoreWorkflow::complete_log(StepContext& context, FollowedDatabase& database) {
  auto answer = std::make_shared<std::promise<std::optional<Error>>>();
  auto future = answer->get_future();
  database.request_capture([answer, id = database.id(), shipper = &shipper_](Result<Sequence> captured) {
    if (!captured) return answer->set_value(captured.error());
    shipper->when_durable(id, *captured, [answer] { answer->set_value(std::nullopt); });
  });
  auto error = wait_for(services_, context, std::move(future), kCompleteLogPatience);
  if (context.cancelled()) return context.cancelled_error();
  const std::string missing = "what was committed last may be missing: ";
  if (!error) return missing + "it could not be captured and sent in time";
  return *error ? missing + (*error)->context : std::string();
}

Result<Json> RestoreWorkflow::validate(StepContext& context) {
  if (is_undo(context)) return validate_safety_copy(context);
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(RestoreMoment moment, parse_moment(context.data()));
  std::string note;
  const Timestamp asked_at = services_.clock->now();
  if (!moment.snapshot) {
    TILLSYNC_LET(note, complete_log(context, *database));
  }
  TILLSYNC_LET(auto job, plan(context, moment));
  if (!note.empty()) job->plan.note += (job->plan.note.empty() ? "" : "; ") + note;
  context.set_snapshot(job->plan.chain.target().uuid);
  Json result{{"snapshot_uuid", job->plan.chain.target().uuid.str()},
              {"transaction", job->plan.transaction},
              {"sequence", job->plan.sequence},
              {"by_snapshot", moment.snapshot.has_value()},
              {"newest", job->plan.newest},
              {"note", job->plan.note}};
  if (job->plan.newest && note.empty()) result["log_complete_at"] = to_ms(asked_at);
  return result;
}

// What it goes by is pinned when the lock ends.
Result<std::shared_ptr<RestoreWorkflow::Job>> RestoreWorkflow::plan(StepContext& context, const RestoreMoment& moment) {
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_TRY(services_.files->make_directories(services_.staging_folder()));
  auto job = std::make_shared<Job>();
  job->database = database->config().name;
  StorePlans::Lock plans;
  if (services_.plans) {
    TILLSYNC_LET(plans, services_.plans->for_restore([&] { return context.cancelled(); }));
  }
  TILLSYNC_LET(job->plan, plan_restore(*services_.store, database->lineage(), moment));
  const std::string path = staging_path(context.workflow());
  std::lock_guard lock(mutex_);
  if (auto given = given_.find(context.workflow()); given != given_.end()) {
    job->given = std::make_unique<WithGivenFile>(*services_.files, path, given->second);
    job->given_vfs = std::make_unique<FileVfs>(*job->given, *services_.clock, *services_.random);
    job->staging = std::make_unique<Staging>(*services_.store, *job->given, job->given_vfs->name(), path);
  } else {
    job->staging = std::make_unique<Staging>(*services_.store, *services_.files, services_.vfs->name(), path);
  }
  return jobs_[context.workflow()] = job;
}

std::set<Uuid> RestoreWorkflow::pinned(const std::string& database) {
  std::set<Uuid> snapshots;
  {
    std::lock_guard lock(mutex_);
    for (auto& [workflow, job] : jobs_)
      if (job->database == database) snapshots.insert(job->plan.chain.target().uuid);
  }
  auto db = services_.state->lease();
  auto named = db->prepare(
      "SELECT DISTINCT json_extract(s.data, '$.snapshot_uuid') FROM workflow_steps s JOIN workflows w ON "
      "w.id=s.workflow_id WHERE w.type='RESTORE' AND w.status IN ('PENDING', 'IN_PROGRESS') AND s.status='COMPLETED' "
      "AND json_extract(w.data, '$.database')=?");
  if (!named) return snapshots;
  named->bind(1, database);
  while (named->step().value_or(false)) {
    auto uuid = Uuid::parse(named->text(0));
    if (uuid) snapshots.insert(*uuid);
  }
  return snapshots;
}

// After a restart of the agent: the same moment again, by the transaction that was found for it.
Result<std::shared_ptr<RestoreWorkflow::Job>> RestoreWorkflow::job_of(StepContext& context) {
  {
    std::lock_guard lock(mutex_);
    auto known = jobs_.find(context.workflow());
    if (known != jobs_.end()) return known->second;
  }
  const Json& found = context.result("VALIDATE_SNAPSHOT");
  RestoreMoment moment;
  if (found.at("by_snapshot").get<bool>()) {
    TILLSYNC_LET(moment.snapshot, Uuid::parse(found.at("snapshot_uuid").get<std::string>()));
  } else {
    moment.transaction = found.at("transaction").get<TransactionNo>();
    TILLSYNC_LET(moment.start, Uuid::parse(found.at("snapshot_uuid").get<std::string>()));
  }
  TILLSYNC_LET(auto job, plan(context, moment));
  TILLSYNC_LET(auto taken, job->staging->take_up(job->plan));
  if (taken) {
    job->filled = true;
    job->replayed = taken->as != StagedAs::filled;
    job->migrated = taken->as == StagedAs::changed;
    if (job->migrated) job->applied_migrations = taken->notes;
  }
  job->plan.newest = found.value("newest", false);
  job->plan.note = found.at("note");
  return job;
}

Result<void> RestoreWorkflow::ensure_filled(StepContext& context, Job& job) {
  if (job.filled) return {};
  // A drill is thrown away: it is not worth the syncs. A file that was given is gone with us: nobody can take it up.
  const bool to_keep = !is_drill(context) && !job.given;
  const auto show = [&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled() && !(job.cancelled && job.cancelled());
  };
  TILLSYNC_TRY(job.staging->fill(job.plan, show, to_keep));
  if (to_keep) TILLSYNC_TRY(job.staging->keep(job.plan));
  job.filled = true;
  return {};
}

Result<void> RestoreWorkflow::ensure_replayed(StepContext& context, Job& job) {
  if (job.replayed) return {};
  TILLSYNC_TRY(ensure_filled(context, job));
  job.filled = false;  // whatever happens now, the file may no longer be the snapshot
  const bool keep_going = context.data().value("keep_going", false);
  TILLSYNC_TRY(job.staging->replay(job.plan, keep_going, [&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled() && !(job.cancelled && job.cancelled());
  }));
  job.filled = job.replayed = true;
  return {};
}

Result<Json> RestoreWorkflow::fill(StepContext& context) {
  if (is_undo(context)) return context.skip("undo");
  TILLSYNC_LET(auto job, job_of(context));
  TILLSYNC_TRY(ensure_filled(context, *job));
  return Json::object();
}

// A workflow of its own, run by this step: its retries are the step's.
Result<Json> RestoreWorkflow::run_child(StepContext& context, WorkflowType type, const std::string& name) {
  std::optional<Uuid> child;
  if (context.saved().contains("child")) {
    TILLSYNC_LET(child, Uuid::parse(context.saved().at("child").get<std::string>()));
  } else {
    WorkflowRequest request;
    request.type = type;
    request.name = name;
    request.max_retries = 0;
    request.data = {{"parent", context.workflow().str()},
                    {"database", context.data().at("database")},
                    {"keep_going", context.data().value("keep_going", false)}};
    TILLSYNC_LET(child, engine_->create(request));
    TILLSYNC_TRY(context.save({{"child", child->str()}}));
  }
  TILLSYNC_LET(auto job, job_of(context));
  job->cancelled = [&context] { return context.cancelled(); };
  auto outcome = engine_->run(*child);
  job->cancelled = nullptr;
  TILLSYNC_TRY(outcome);
  if (outcome->state == RunOutcome::State::done) {
    Json result = outcome->result;
    result["workflow"] = child->str();
    return result;
  }
  // Where the agent ends, it stays as it is and is gone on with; where this one was cancelled, it has ended with it.
  if (outcome->state == RunOutcome::State::interrupted || context.cancelled()) return context.cancelled_error();
  TILLSYNC_TRY(context.save(Json::object()));
  return outcome->error.value_or(Error{ErrorKind::internal, 0, "workflow " + child->str() + " did not end"});
}

Result<std::shared_ptr<RestoreWorkflow::Job>> RestoreWorkflow::job_of_parent(const StepContext& context) {
  TILLSYNC_LET(Uuid parent, Uuid::parse(context.data().at("parent").get<std::string>()));
  std::lock_guard lock(mutex_);
  auto known = jobs_.find(parent);
  if (known == jobs_.end())
    return Error{ErrorKind::conflict, 0, "it is a part of restore " + parent.str() + " and does not run by itself"};
  return known->second;
}

Result<Json> RestoreWorkflow::replay(StepContext& context) {
  if (is_undo(context)) return context.skip("undo");
  TILLSYNC_LET(auto job, job_of(context));
  if (job->plan.segments.empty()) {
    TILLSYNC_TRY(ensure_replayed(context, *job));
    return context.skip("the snapshot is the moment");
  }
  TILLSYNC_LET(Json result, run_child(context, WorkflowType::replay, "replay of the log for a restore"));
  context.log_replay(result);
  return result;
}

Result<Json> RestoreWorkflow::prove(StepContext& context) {
  if (is_undo(context)) return prove_safety_copy(context);
  TILLSYNC_LET(auto job, job_of(context));
  job->migrate_to = migrate_to(context);
  TILLSYNC_TRY(ensure_migrated(context, *job));
  const bool all = !context.data().value("no_integrity_check", false);
  TILLSYNC_LET(RestoreOutcome outcome, job->staging->prove(
                                           [&](uint64_t items, uint64_t bytes, uint64_t total) {
                                             context.progress(items, bytes, total);
                                             return !context.cancelled();
                                           },
                                           all ? SqliteCheck::run : SqliteCheck::leave_out));
  if (!is_drill(context)) TILLSYNC_TRY(job->staging->seal());
  Json document = outcome_json(outcome, job->plan.note);
  document["snapshot_uuid"] = job->plan.chain.target().uuid.str();
  document["state"] = state_digest(job->staging->expected()).hex();
  if (job->given) document["into_given"] = true;
  context.on_commit([this, workflow = context.workflow()](Connection&) -> Result<void> {
    std::lock_guard lock(mutex_);
    jobs_.erase(workflow);
    given_.erase(workflow);
    return {};
  });
  return document;
}

}  // namespace tillsync
