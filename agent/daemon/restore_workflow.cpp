#include "agent/daemon/restore_workflow.h"

#include <spdlog/spdlog.h>
#include "actionlog/segment.h"
#include "agent/daemon/store_plans.h"
#include "agent/daemon/wait_for.h"
#include "restore/migrations.h"
#include "restore/moment.h"
#include "restore/outcome_json.h"

namespace tillsync {

namespace {
constexpr std::chrono::seconds kCompleteLogPatience{10};
constexpr uint64_t kPagesPerAction = 4;  // that a replay changes: of the table, and of its indexes

Result<void> copy(File& from, File& to) {
  Bytes chunk(1 << 20);
  for (uint64_t at = 0;;) {
    TILLSYNC_LET(const size_t got, from.read(at, chunk));
    TILLSYNC_TRY(to.write(at, ByteView(chunk).first(got)));
    to.begin_sync(at, got);
    at += got;
    if (got < chunk.size()) return to.truncate(at);
  }
}

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
  const bool undo = params.value("undo", false);
  if (services_.is_write_only() && !undo)
    return Error{ErrorKind::denied, 0,
                 "this terminal is write-only and can't read its own backups: restore with the recovery key, 'tillsync "
                 "restore --to FILE --store " +
                     services_.config->store.url + " --terminal " + services_.terminal.str() + " --key RECOVERY'"};
  if (undo && !params.value("in_place", false))
    return Error{ErrorKind::usage, 0, "undo: puts back what was there before a restore in place; say --in-place"};
  if (undo)
    for (const char* moment : {"snapshot", "at", "sequence", "transaction"})
      if (params.contains(moment))
        return Error{ErrorKind::usage, 0,
                     std::string("undo goes back to what was there before, and takes no ") + moment};
  if (params.value("in_place", false) && params.value("keep_going", false))
    return Error{ErrorKind::usage, 0, "what is not proven is not put into a live database: restore to a file instead"};
  if (params.value("in_place", false) && params.value("no_integrity_check", false))
    return Error{ErrorKind::usage, 0, "what is put into a live database is checked by SQLite, too"};
  const bool drill = params.value("drill", false);
  if (drill)
    for (const char* other : {"in_place", "keep_going", "no_integrity_check", "undo"})
      if (params.value(other, false))
        return Error{ErrorKind::usage, 0, std::string("a drill changes nothing and takes no ") + other};
  if (params.value("in_place", false)) TILLSYNC_TRY(check_none_in_place(database->config().name));
  request.name = (undo    ? "undo of a restore of "
                  : drill ? "restore drill of "
                          : "restore of ") +
                 database->config().name;
  RestoreSession session;
  session.database_id = database->id();
  session.target = params.value("in_place", false) ? "in place" : drill ? "drill" : "file";
  request.restore = session;
  return request;
}

// Each puts aside what was there and takes the copy before that away: two at a time would take each other's.
Result<void> RestoreWorkflow::check_none_in_place(const std::string& database) {
  auto db = services_.state->lease();
  TILLSYNC_LET(auto query, db->prepare("SELECT uuid FROM workflows WHERE type='RESTORE' AND status IN ('PENDING', "
                                       "'IN_PROGRESS') AND json_extract(data, '$.in_place') AND json_extract(data, "
                                       "'$.database')=?"));
  query.bind(1, database);
  TILLSYNC_LET(bool found, query.step());
  if (!found) return {};
  return Error{ErrorKind::conflict, 0,
               "a restore in place of database '" + database + "' is under way, workflow " + query.text(0) +
                   ": wait for its end, or tillsync cancel it"};
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

void RestoreWorkflow::give(const Uuid& workflow, std::shared_ptr<File> into) {
  std::lock_guard lock(mutex_);
  given_[workflow] = std::move(into);
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

Result<Json> RestoreWorkflow::check_schema(StepContext& context) {
  if (is_undo(context)) return context.skip("undo");
  TILLSYNC_LET(auto job, job_of(context));
  const Manifest& target = job->plan.chain.target();
  Json result{
      {"schema_version", target.schema_version}, {"app_version", target.app_version}, {"tables", target.tables.size()}};
  if (!in_place(context)) return result;
  TILLSYNC_LET(auto database, database_of(context.data()));
  if (target.is_page_level())
    return Error{
        ErrorKind::schema, 0,
        "snapshot " + target.uuid.str() +
            " holds the pages of a damaged database, which prove nothing: restore it to a file and look at it"};
  // Of a database that can't be read nobody can say what its application expects.
  auto live = live_schema_version(*database);
  if (!live) {
    // A disk that fails just now, or a lock, is another matter: without the answer no migration would run.
    if (is_of_disk_or_lock(live.error().code))
      return std::move(live).error().with("ask the live database for its schema version");
    return result;
  }
  result["live_schema_version"] = *live;
  if (target.schema_version > *live)
    return Error{ErrorKind::schema, 0,
                 "the restored moment has schema version " + std::to_string(target.schema_version) +
                     ", and the database now has " + std::to_string(*live) +
                     ": this application is older than the data. Install the newer application first, or restore to a "
                     "file"};
  if (target.schema_version == *live) return result;
  if (database->config().migrations.empty())
    return Error{ErrorKind::schema, 0,
                 "the restored moment has schema version " + std::to_string(target.schema_version) +
                     ", the application's database has " + std::to_string(*live) +
                     ": give the steps between them in `migrations` of database '" + database->config().name +
                     "', or restore to a file"};
  TILLSYNC_LET(auto migrations, SchemaMigrations::read(*services_.files, database->config().migrations));
  TILLSYNC_TRY(migrations.check(target.schema_version, *live));
  result["migrate_to"] = *live;
  return result;
}

Result<Json> RestoreWorkflow::check_packs(StepContext& context) {
  if (is_undo(context)) return context.skip("undo");
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
  // The staged copy, and the log that a replay writes beside it: said before anything is written.
  const Manifest& target = job->plan.chain.target();
  const uint64_t content = uint64_t{target.page_size} * target.page_count;
  uint64_t needed = (job->given ? 0 : content) + (uint64_t{16} << 20);
  if (job->given) {
    auto there = job->given->free_space(job->staging->path());
    if (there && *there < content)
      return Error{ErrorKind::no_space, 0,
                   "the restored database needs " + std::to_string(content) + " bytes where it is to be, " +
                       std::to_string(*there) + " are free"};
  }
  if (!job->plan.segments.empty()) {
    const uint64_t actions = job->plan.segments.back().last - job->plan.segments.front().first + 1;
    needed += std::min(content, actions * kPagesPerAction * target.page_size);
  }
  if (in_place(context)) {
    // The safety copy, and what the application's log or journal grows by.
    TILLSYNC_LET(auto database, database_of(context.data()));
    auto live = services_.files->stat(database->config().path);
    if (live) needed += live->size;
    const std::string beside = directory_of(database->config().path);
    TILLSYNC_LET(uint64_t free_there, services_.files->free_space(beside));
    if (free_there < content)
      return Error{ErrorKind::no_space, 0,
                   beside + ": the restore in place needs up to " + std::to_string(content) +
                       " bytes beside the database, " + std::to_string(free_there) + " are free"};
  }
  // Who needs a restore may have the last of the disk; a drill may not.
  if (is_drill(context)) needed += services_.config->limits.min_free;
  TILLSYNC_LET(uint64_t free, services_.files->free_space(services_.staging_folder()));
  if (free < needed)
    return Error{ErrorKind::no_space, 0,
                 services_.staging_folder() + ": the restore needs " + std::to_string(needed) + " bytes, " +
                     std::to_string(free) + " are free"};
  return Json{{"packs", packs}, {"bytes", bytes}};
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

Result<Json> RestoreWorkflow::deliver(WorkflowEngine& engine, const Uuid& workflow, File& into, bool into_given) {
  auto start = services_.clock->steady_now();
  TILLSYNC_LET(WorkflowRecord record, engine.describe(workflow));
  if (record.type != WorkflowType::restore)
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " is no restore"};
  if (record.status != WorkflowStatus::completed)
    return Error{ErrorKind::conflict, 0,
                 "the restore is not proven yet, or has failed: " +
                     record.error.value_or(std::string(to_string(record.status)))};
  if (record.data.value("drill", false))
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " was a drill; there is nothing to deliver"};
  if (record.data.value("in_place", false))
    return Error{ErrorKind::usage, 0, "workflow " + workflow.str() + " restored in place; there is nothing to deliver"};
  Json document = result_of(record);
  document.erase("state");
  const bool there = document.value("into_given", false);
  document.erase("into_given");
  if (there && !into_given)
    return Error{ErrorKind::conflict, 0, "the database was restored into the file that came with its restore"};
  if (!there) {
    auto staged = services_.files->open(staging_path(workflow), OpenMode::read);
    if (!staged && staged.error().kind == ErrorKind::not_found)
      return Error{ErrorKind::not_found, 0, "the restored database was delivered already; ask for the restore again"};
    if (!staged) return std::move(staged).error();
    TILLSYNC_TRY(copy(**staged, into));
    TILLSYNC_TRY(into.sync());
    staged->reset();
    TILLSYNC_TRY(remove_staged(*services_.files, staging_path(workflow)));
  }
  auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(services_.clock->steady_now() - start);
  document["elapsed_ms"] =
      std::max<int64_t>(0, to_ms(record.completed_at.value_or(record.updated_at)) - to_ms(record.created_at)) +
      spent.count();
  return document;
}

}  // namespace tillsync
