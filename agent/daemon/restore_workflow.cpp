#include "agent/daemon/restore_workflow.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/daemon/wait_for.h"
#include "restore/moment.h"
#include "restore/outcome_json.h"

namespace tillsync {

namespace {
constexpr std::chrono::seconds kCompleteLogPatience{10};
}

std::vector<StepDefinition> RestoreWorkflow::steps() {
  auto step = [this](const char* type, SessionPhase phase, Result<Json> (RestoreWorkflow::*run)(StepContext&)) {
    return StepDefinition{type, phase, [this, run](StepContext& context) { return (this->*run)(context); }};
  };
  return {
      step("VALIDATE_SNAPSHOT", SessionPhase::initializing, &RestoreWorkflow::validate),
      step("CHECK_SCHEMA_COMPATIBILITY", SessionPhase::initializing, &RestoreWorkflow::check_schema),
      step("FETCH_PACKS", SessionPhase::capturing, &RestoreWorkflow::check_packs),
      step("RESTORE_DATABASE", SessionPhase::processing, &RestoreWorkflow::fill),
      step("REPLAY_ACTION_LOG", SessionPhase::processing, &RestoreWorkflow::replay),
      step("FINAL_VALIDATION", SessionPhase::completing, &RestoreWorkflow::prove),
  };
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
  auto error = wait_for(context, std::move(future), kCompleteLogPatience);
  if (context.cancelled()) return context.cancelled_error();
  const std::string missing = "what was committed last may be missing: ";
  if (!error) return missing + "it could not be captured and sent in time";
  return *error ? missing + (*error)->context : std::string();
}

Result<WorkflowRequest> RestoreWorkflow::request(const Json& params) {
  WorkflowRequest request;
  request.type = WorkflowType::restore;
  request.data = params;
  if (!request.data.contains("database")) {
    if (databases_.size() != 1)
      return Error{ErrorKind::usage, 0, "several databases are followed: say which with --database"};
    request.data["database"] = databases_.front()->config().name;
  }
  TILLSYNC_LET(auto database, database_of(request.data));
  TILLSYNC_TRY(parse_moment(params));
  request.name = "restore of " + database->config().name;
  RestoreSession session;
  session.database_id = database->id();
  session.target = "file";
  request.restore = session;
  return request;
}

Result<Json> RestoreWorkflow::validate(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(RestoreMoment moment, parse_moment(context.data()));
  std::string note;
  if (!moment.snapshot) {
    TILLSYNC_LET(note, complete_log(context, *database));
  }
  auto job = std::make_shared<Job>();
  TILLSYNC_LET(job->plan, plan_restore(*services_.store, database->lineage(), moment));
  if (!note.empty()) job->plan.note += (job->plan.note.empty() ? "" : "; ") + note;
  context.set_snapshot(job->plan.chain.target().uuid);
  Json result{{"snapshot_uuid", job->plan.chain.target().uuid.str()},
              {"transaction", job->plan.transaction},
              {"sequence", job->plan.sequence},
              {"by_snapshot", moment.snapshot.has_value()},
              {"newest", job->plan.newest},
              {"note", job->plan.note}};
  TILLSYNC_TRY(services_.files->make_directories(services_.staging_folder()));
  job->staging = std::make_unique<Staging>(*services_.store, *services_.files, services_.vfs->name(),
                                           staging_path(context.workflow()));
  std::lock_guard lock(mutex_);
  jobs_[context.workflow()] = job;
  return result;
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
  }
  TILLSYNC_LET(auto database, database_of(context.data()));
  auto job = std::make_shared<Job>();
  TILLSYNC_LET(job->plan, plan_restore(*services_.store, database->lineage(), moment));
  job->plan.newest = found.value("newest", false);
  job->plan.note = found.at("note");
  TILLSYNC_TRY(services_.files->make_directories(services_.staging_folder()));
  job->staging = std::make_unique<Staging>(*services_.store, *services_.files, services_.vfs->name(),
                                           staging_path(context.workflow()));
  std::lock_guard lock(mutex_);
  return jobs_[context.workflow()] = job;
}

Result<Json> RestoreWorkflow::check_schema(StepContext& context) {
  TILLSYNC_LET(auto job, job_of(context));
  const Manifest& target = job->plan.chain.target();
  return Json{
      {"schema_version", target.schema_version}, {"app_version", target.app_version}, {"tables", target.tables.size()}};
}

Result<Json> RestoreWorkflow::check_packs(StepContext& context) {
  TILLSYNC_LET(auto job, job_of(context));
  uint64_t packs = 0, bytes = 0;
  for (auto& link : job->plan.chain.links) {
    for (auto& pack : link.packs) {
      TILLSYNC_LET(auto info, services_.store->head(pack.key));
      if (pack.size && info.size != pack.size)
        return Error{
            ErrorKind::corrupt, 0,
            pack.key + ": has " + std::to_string(info.size) + " bytes instead of " + std::to_string(pack.size)};
      packs++;
      bytes += info.size;
    }
  }
  // The staged copy, and the replay's growth: said before anything is written.
  const Manifest& target = job->plan.chain.target();
  uint64_t needed = uint64_t{target.page_size} * target.page_count + (uint64_t{16} << 20);
  TILLSYNC_LET(uint64_t free, services_.files->free_space(services_.staging_folder()));
  if (free < needed)
    return Error{ErrorKind::no_space, 0,
                 services_.staging_folder() + ": the restore needs " + std::to_string(needed) + " bytes, " +
                     std::to_string(free) + " are free"};
  return Json{{"packs", packs}, {"bytes", bytes}};
}

Result<void> RestoreWorkflow::ensure_filled(StepContext& context, Job& job) {
  if (job.filled) return {};
  TILLSYNC_TRY(job.staging->fill(job.plan, [&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled();
  }));
  job.filled = true;
  return {};
}

Result<void> RestoreWorkflow::ensure_replayed(StepContext& context, Job& job) {
  if (job.replayed) return {};
  TILLSYNC_TRY(ensure_filled(context, job));
  job.filled = false;  // whatever happens now, the file is no longer the snapshot
  bool keep_going = context.data().value("keep_going", false);
  TILLSYNC_TRY(job.staging->replay(job.plan, keep_going, [&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled();
  }));
  job.replayed = true;
  return {};
}

Result<Json> RestoreWorkflow::fill(StepContext& context) {
  TILLSYNC_LET(auto job, job_of(context));
  TILLSYNC_TRY(ensure_filled(context, *job));
  return Json::object();
}

Result<Json> RestoreWorkflow::replay(StepContext& context) {
  TILLSYNC_LET(auto job, job_of(context));
  TILLSYNC_TRY(ensure_replayed(context, *job));
  Json result{{"segments", job->plan.segments.size()}};
  context.log_replay(result);
  return result;
}

Result<Json> RestoreWorkflow::prove(StepContext& context) {
  TILLSYNC_LET(auto job, job_of(context));
  TILLSYNC_TRY(ensure_replayed(context, *job));
  TILLSYNC_LET(RestoreOutcome outcome, job->staging->prove([&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled();
  }));
  TILLSYNC_TRY(job->staging->seal());
  Json document = outcome_json(outcome, job->plan.note);
  document["snapshot_uuid"] = job->plan.chain.target().uuid.str();
  std::lock_guard lock(mutex_);
  jobs_.erase(context.workflow());
  return document;
}

Result<Json> RestoreWorkflow::deliver(WorkflowEngine& engine, const Uuid& workflow, int fd) {
  auto start = services_.clock->steady_now();
  TILLSYNC_LET(WorkflowRecord record, engine.describe(workflow));
  if (record.type != WorkflowType::restore)
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " is no restore"};
  if (record.status != WorkflowStatus::completed)
    return Error{ErrorKind::conflict, 0,
                 "the restore is not proven yet, or has failed: " +
                     record.error.value_or(std::string(to_string(record.status)))};
  Json document = record.steps.back().data;
  auto opened = services_.files->open(staging_path(workflow), OpenMode::read);
  if (!opened)
    return Error{ErrorKind::not_found, 0, "the restored database was delivered already; ask for the restore again"};
  auto& file = *opened;
  Bytes chunk(1 << 20);
  for (uint64_t offset = 0;;) {
    TILLSYNC_LET(size_t got, file->read(offset, chunk));
    for (size_t done = 0; done < got;) {
      ssize_t n = ::pwrite(fd, chunk.data() + done, got - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return Error{errno == ENOSPC ? ErrorKind::no_space : ErrorKind::internal, errno,
                     std::string("write the restored database: ") + std::strerror(errno)};
      done += static_cast<size_t>(n);
    }
    offset += got;
    if (got < chunk.size()) break;
  }
  if (::fsync(fd) != 0 && errno != EINVAL)
    return Error{ErrorKind::internal, errno, std::string("sync the restored database: ") + std::strerror(errno)};
  file.reset();
  TILLSYNC_TRY(services_.files->remove(staging_path(workflow)));
  auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(services_.clock->steady_now() - start);
  document["elapsed_ms"] =
      std::max<int64_t>(0, to_ms(record.completed_at.value_or(record.updated_at)) - to_ms(record.created_at)) +
      spent.count();
  return document;
}

}  // namespace tillsync
