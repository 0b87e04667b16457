// RESTORE, the steps that touch the live database: migration of what was staged, safety copy, activation, undo.
#include <unistd.h>

#include <algorithm>
#include <future>
#include <thread>

#include "actionlog/log_writer.h"
#include "actionlog/segment.h"
#include "agent/daemon/asset_backup.h"
#include "agent/daemon/restore_workflow.h"
#include "agent/daemon/wait_for.h"
#include "agent/logging/log.h"
#include "restore/activation.h"
#include "restore/assets.h"
#include "restore/migrations.h"
#include "restore/outcome_json.h"
#include "snapshot/epochs.h"

namespace tillsync {

namespace {

constexpr std::chrono::seconds kCapturePatience{30};
// An agent that ends does not wait for a capture thread that has ended.
constexpr std::chrono::seconds kEndPatience{2};

Result<std::vector<TableDigest>> decode_stored(ByteView body) {
  ByteReader reader(body);
  return decode_digests(reader);
}

struct SafetyCopy {
  std::string path;
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  std::optional<std::vector<TableDigest>> tables;  // nullopt: a damaged database
};

Result<SafetyCopy> read_safety_copy(StateDb& state, const FollowedDatabase& database) {
  auto db = state.lease();
  TILLSYNC_LET(auto query,
               db->prepare("SELECT path, sequence, transaction_no, digests FROM safety_copies WHERE database_id=?"));
  query.bind(1, database.id());
  TILLSYNC_LET(bool row, query.step());
  if (!row)
    return Error{
        ErrorKind::not_found, 0,
        "nothing can be undone: database '" + database.config().name + "' was not restored in place by this agent"};
  SafetyCopy copy{query.text(0), query.unsigned_integer(1), query.unsigned_integer(2), {}};
  if (!query.is_null(3)) {
    TILLSYNC_LET(copy.tables, decode_stored(query.blob(3)));
  }
  return copy;
}

}  // namespace

std::optional<int64_t> RestoreWorkflow::migrate_to(const StepContext& context) {
  const Json& checked = context.result("CHECK_SCHEMA_COMPATIBILITY");
  if (!checked.is_object() || !checked.contains("migrate_to")) return std::nullopt;
  return checked.at("migrate_to").get<int64_t>();
}

Result<int64_t> RestoreWorkflow::live_schema_version(FollowedDatabase& database) const {
  TILLSYNC_LET(const auto in_use, database.use_files());
  TILLSYNC_LET(auto app, AppDatabase::open(database.config().path, AppDatabase::Use::read));
  return app.connection().query_integer(database.config().schema_version);
}

Result<void> RestoreWorkflow::ensure_migrated(StepContext& context, Job& job) {
  if (job.migrated) return {};
  TILLSYNC_TRY(ensure_replayed(context, job));
  if (!job.migrate_to) {
    job.migrated = true;
    return {};
  }
  // What was restored is proven before it is changed.
  TILLSYNC_TRY(job.staging->prove([&](uint64_t items, uint64_t bytes, uint64_t total) {
    context.progress(items, bytes, total);
    return !context.cancelled() && !(job.cancelled && job.cancelled());
  }));
  job.filled = job.replayed = false;  // whatever happens now, the file may no longer be the moment
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(auto migrations, SchemaMigrations::read(*services_.files, database->config().migrations));
  TILLSYNC_TRY(job.staging->change(
      job.plan,
      [&](Connection& db) -> Result<void> {
        TILLSYNC_LET(auto applied,
                     migrations.apply(db, *job.migrate_to, SchemaVersionQuery{database->config().schema_version},
                                      *services_.clock));
        job.applied_migrations = Json::array();
        for (auto& one : applied) job.applied_migrations.push_back(to_json(one));
        return {};
      },
      job.applied_migrations));
  job.filled = job.replayed = job.migrated = true;
  return {};
}

Result<Json> RestoreWorkflow::migrate(StepContext& context) {
  if (is_undo(context)) return context.skip("undo");
  if (!in_place(context)) return context.skip("a file is given as the moment was");
  if (!migrate_to(context)) return context.skip("the schema's version is the application's");
  TILLSYNC_LET(auto job, job_of(context));
  job->migrate_to = migrate_to(context);
  TILLSYNC_LET(Json result, run_child(context, WorkflowType::migration, "migration of a restored database"));
  for (auto& one : result.value("applied", Json::array())) context.log_migration(one);
  return result;
}

Result<Json> RestoreWorkflow::validate_safety_copy(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(SafetyCopy copy, read_safety_copy(*services_.state, *database));
  TILLSYNC_LET(auto info, services_.files->stat(copy.path));
  return Json{
      {"path", copy.path}, {"sequence", copy.sequence}, {"transaction", copy.transaction}, {"bytes", info.size}};
}

Result<Json> RestoreWorkflow::prove_safety_copy(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(SafetyCopy copy, read_safety_copy(*services_.state, *database));
  RestoreOutcome outcome;
  outcome.sequence = copy.sequence;
  outcome.transaction = copy.transaction;
  TILLSYNC_LET(auto info, services_.files->stat(copy.path));
  outcome.bytes = info.size;
  Json document;
  if (copy.tables) {
    TILLSYNC_LET(auto counted, count_tables(*services_.files, copy.path));
    std::sort(counted.begin(), counted.end());
    if (counted != *copy.tables)
      return Error{ErrorKind::corrupt, 0, copy.path + ": the safety copy does not hold what was put aside"};
    for (auto& table : counted) outcome.tables.push_back({table.name, table.rows, true});
    outcome.proven = true;
    document = outcome_json(outcome, "");
    document["state"] = state_digest(counted).hex();
  } else {
    outcome.page_level = true;
    document = outcome_json(outcome, "the database was damaged before it was restored, and is so again");
    document["state"] = Digest{}.hex();
  }
  return document;
}

Result<Json> RestoreWorkflow::put_aside(StepContext& context) {
  if (!in_place(context)) return context.skip("restored to a file");
  TILLSYNC_LET(auto database, database_of(context.data()));
  const std::string staged = is_undo(context) ? context.result("VALIDATE_SNAPSHOT").at("path").get<std::string>()
                                              : staging_path(context.workflow());
  const std::string safety = safety_path(context.workflow());
  TILLSYNC_TRY(services_.files->make_directories(services_.safety_folder()));
  TILLSYNC_LET(const auto in_use, database->use_files());
  TILLSYNC_LET(auto live, AppDatabase::open(database->config().path, AppDatabase::Use::read));
  auto copied = [&]() -> Result<void> {
    TILLSYNC_TRY(live.begin_read());
    TILLSYNC_TRY(check_replaceable(*services_.files, staged, live));
    return copy_live(live, *services_.files, safety, [&](uint64_t done, uint64_t all) {
      context.progress(0, done, all);
      return !context.cancelled();
    });
  }();
  live.end_read();
  // Of a damaged database every page is copied while it is replaced.
  if (!copied && copied.error().kind != ErrorKind::corrupt) return std::move(copied).error();
  Json result{{"staged", staged}, {"safety", safety}};
  if (auto previous = read_safety_copy(*services_.state, *database)) result["previous"] = previous->path;
  return result;
}

Result<RestoreWorkflow::FoundInLog> RestoreWorkflow::captured(StepContext& context, FollowedDatabase& database,
                                                              const Uuid& workflow) {
  auto answer = std::make_shared<std::promise<std::optional<Error>>>();
  auto future = answer->get_future();
  database.request_capture(
      [answer](Result<Sequence> done) { answer->set_value(done ? std::nullopt : std::optional(done.error())); });
  TILLSYNC_LET(auto error, wait_for(services_, context, std::move(future), kCapturePatience));
  // A database that can't be read is one that may be restored.
  if (error && error->kind != ErrorKind::corrupt) return std::move(*error);
  FoundInLog found;
  found.all_captured = !error;
  TILLSYNC_LET(found.activation, captured_activation(*services_.state->lease(), database.id(), workflow));
  return found;
}

// Whether the commit of this activation is in the log, or may be in the live database.
bool RestoreWorkflow::may_be_committed(const FollowedDatabase& database, const Uuid& workflow) {
  auto state = services_.state->lease();
  auto pending = read_pending_activation(*state, database.id());
  auto logged = captured_activation(*state, database.id(), workflow);
  return !pending || !logged || *logged || (*pending && (*pending)->workflow == workflow);
}

Result<CapturedActivation> RestoreWorkflow::replace(StepContext& context, FollowedDatabase& database,
                                                    const Replacement& what) {
  // The agent may have ended after the commit.
  const bool begun = may_be_committed(database, what.workflow);
  if (begun) TILLSYNC_TRY(context.no_way_back());
  // Seen already: the database need not be looked at again.
  TILLSYNC_LET(auto logged, captured_activation(*services_.state->lease(), database.id(), what.workflow));
  if (logged) return *logged;
  TILLSYNC_LET(auto found, captured(context, database, what.workflow));
  if (found.activation) return *found.activation;
  if (begun && found.all_captured) {
    TILLSYNC_TRY(clear_pending_activation(*services_.state->lease(), database.id()));
    TILLSYNC_TRY(context.way_back());
  }
  ActivationRequest request;
  request.workflow = what.workflow;
  request.restored_sequence = what.restored_sequence;
  request.state = what.state;
  request.description = what.description;
  TILLSYNC_LET(request.schema_cookie_min, schema_cookie_of(*services_.files, what.staged));
  // Nothing here refers to this step: the capture thread may outlast it.
  auto stop = std::make_shared<std::atomic<bool>>(false);
  auto done_bytes = std::make_shared<std::atomic<uint64_t>>(0), all_bytes = std::make_shared<std::atomic<uint64_t>>(0);
  request.cancelled = [stop] { return stop->load(); };
  request.write = [=, files = ContentFiles{services_.files, what.staged, what.safety}](
                      Connection& live, uint32_t cookie) -> Result<void> {
    auto replaced = replace_content(live, files, cookie, [&](uint64_t done, uint64_t all) {
      *done_bytes = done;
      *all_bytes = all;
      return !stop->load();
    });
    if (!replaced) return std::move(replaced).error();
    return {};
  };
  auto answer = std::make_shared<std::promise<std::optional<Error>>>();
  auto future = answer->get_future();
  database.request_activation(std::move(request), [answer](Result<void> outcome) {
    answer->set_value(outcome ? std::nullopt : std::optional(outcome.error()));
  });
  std::optional<std::chrono::steady_clock::time_point> stopped;
  while (!answered(services_, future)) {
    context.progress(0, *done_bytes, *all_bytes);
    if (context.cancelled() && !stopped) {
      *stop = true;
      stopped = services_.clock->steady_now();
    }
    if (stopped && services_.clock->steady_now() - *stopped > kEndPatience) return context.cancelled_error();
  }
  std::optional<Error> failed;
  try {
    failed = future.get();
  } catch (const std::future_error&) {  // capture ended with the request in its hands
    failed = context.cancelled_error();
  }
  if (failed) {
    if (may_be_committed(database, what.workflow)) TILLSYNC_TRY(context.no_way_back());
    return std::move(*failed);
  }
  TILLSYNC_TRY(context.no_way_back());
  TILLSYNC_LET(found, captured(context, database, what.workflow));
  if (found.activation) return *found.activation;
  return Error{ErrorKind::transient, 0, "the restored content is in the database, and not in the log yet"};
}

Result<Json> RestoreWorkflow::activate(StepContext& context) {
  if (!in_place(context)) return context.skip("restored to a file");
  TILLSYNC_LET(auto database, database_of(context.data()));
  const Json& aside = context.result("CLEAR_EXISTING_DATA");
  Json document = context.result("FINAL_VALIDATION");
  Replacement what;
  what.workflow = context.workflow();
  what.staged = aside.at("staged");
  what.safety = aside.at("safety");
  what.restored_sequence = document.at("sequence").get<Sequence>();
  TILLSYNC_LET(what.state, Digest::parse(document.at("state").get<std::string>()));
  document.erase("state");
  Json description{{"workflow", context.workflow().str()},
                   {"sequence", document.at("sequence")},
                   {"transaction", document.at("transaction")},
                   {"undo", is_undo(context)}};
  if (document.contains("snapshot_uuid")) description["snapshot_uuid"] = document["snapshot_uuid"];
  what.description = description.dump();
  auto replaced = replace(context, *database, what);
  if (!replaced)
    return std::move(replaced).error().with(
        may_be_committed(*database, what.workflow)
            ? "the database holds the restored content, or may; that is seen as soon as it can be read"
            : "nothing was replaced");
  const CapturedActivation& done = *replaced;
  if (done.proven == false) {
    // What is in the live database now is not what was proven: back to what was there.
    Replacement back;
    // The same name in every attempt.
    back.workflow = uuid_v8(sha256(as_bytes("put back " + context.workflow().str())).view());
    back.staged = what.safety;
    back.safety = what.safety + ".refused";
    back.restored_sequence = done.sequence - 1;
    back.description = Json{{"workflow", context.workflow().str()}, {"put_back", true}}.dump();
    auto undone = replace(context, *database, back);
    if (!undone) {
      TILLSYNC_TRY(context.no_way_back());
      return std::move(undone).error().with(
          "the live database holds other rows than were proven, and what was there before could not be put back yet");
    }
    TILLSYNC_TRY(context.way_back());
    (void)services_.files->remove(back.safety).has_value();
    return Error{
        ErrorKind::corrupt, 0,
        "after the commit the live database held other rows than were proven; what was there before has been put "
        "back"};
  }
  std::optional<Bytes> digests;
  if (auto counted = count_tables(*services_.files, what.safety)) {
    std::sort(counted->begin(), counted->end());
    digests = encode_digests(*counted);
  }
  context.on_commit([id = database->id(), workflow = context.workflow().str(), path = what.safety, done, digests,
                     now = to_ms(services_.clock->now())](Connection& db) -> Result<void> {
    TILLSYNC_LET(auto put,
                 db.prepare("INSERT OR REPLACE INTO safety_copies(database_id, workflow_uuid, path, sequence, "
                            "transaction_no, digests, created_at) VALUES(?,?,?,?,?,?,?)"));
    put.bind(1, id).bind(2, workflow).bind(3, path).bind(4, done.sequence - 1).bind(5, done.transaction - 1);
    digests ? put.bind(6, ByteView(*digests)) : put.bind_null(6);
    return put.bind(7, now).run();
  });
  document["in_place"] = true;
  document["elapsed_ms"] = std::max<int64_t>(0, to_ms(services_.clock->now()) - to_ms(context.created_at()));
  document["restore_sequence"] = done.sequence;
  document["restore_transaction"] = done.transaction;
  log::info("{}: restored in place to transaction {}; it is transaction {} of the log. What was there before: {}",
            database->config().name, document["transaction"].dump(), done.transaction, what.safety);
  return document;
}

Result<Json> RestoreWorkflow::restore_assets(StepContext& context) {
  if (is_drill(context)) return finish_drill(context);
  if (!in_place(context)) return context.skip("restored to a file");
  // Whoever reads it must not think that nothing was changed.
  return after_activation(context).with("the database was restored; what follows it was not done");
}

Result<Json> RestoreWorkflow::after_activation(StepContext& context) {
  // What was staged, and the copy before the last, are of no use any more; the record of the new one is durable first.
  TILLSYNC_TRY(services_.state->make_durable());
  const Json& aside = context.result("CLEAR_EXISTING_DATA");
  for (const char* what : {"staged", "previous"}) {
    if (!aside.contains(what)) continue;
    // The next start sweeps what stays.
    auto removed = remove_staged(*services_.files, aside.at(what));
    if (!removed) log::warn("{}", removed.error().context);
  }
  Json document = context.result("ACTIVATE");
  if (is_undo(context)) {
    document["note"] = "file assets are not undone: restore them with tillsync restore --to FILE --assets DIR";
    if (services_.config->assets.empty()) document.erase("note");
    return document;
  }
  TILLSYNC_LET(Uuid snapshot, Uuid::parse(document.at("snapshot_uuid").get<std::string>()));
  TILLSYNC_LET(auto database, database_of(context.data()));
  TILLSYNC_LET(Manifest manifest, find_manifest(*services_.store, database->lineage(), snapshot));
  TILLSYNC_LET(auto assets, assets_of(manifest));
  document["assets"] = Json::array();
  for (auto& asset : assets) {
    // Where it is now is for the configuration to say; one that is not configured any more is left alone.
    auto& configured = services_.config->assets;
    auto place = std::find_if(configured.begin(), configured.end(), [&](auto& one) { return one.name == asset.name; });
    if (place == configured.end() || !asset.tree) continue;
    if (context.cancelled()) return context.cancelled_error();
    AssetRestoreOptions options;
    options.owners = ::geteuid() == 0;
    options.keep_others = true;
    options.off_limits = off_limits_of(services_);
    options.progress = [&](uint64_t files, uint64_t bytes, uint64_t all) {
      context.progress(files, bytes, all);
      return !context.cancelled();
    };
    TILLSYNC_LET(AssetRestored restored,
                 restore_asset(*services_.store, *services_.folders, *services_.files, *services_.random,
                               services_.terminal, asset, place->path, std::move(options)));
    document["assets"].push_back({{"name", asset.name},
                                  {"path", place->path},
                                  {"files", restored.files},
                                  {"folders", restored.folders},
                                  {"links", restored.links},
                                  {"bytes", restored.bytes},
                                  {"notes", restored.notes}});
  }
  if (document["assets"].empty()) document.erase("assets");
  return document;
}

// What a restore that failed or was cancelled leaves lying. A safety copy that was recorded is of use.
void RestoreWorkflow::clean_up(const WorkflowRecord& workflow) {
  {
    std::lock_guard lock(mutex_);
    jobs_.erase(workflow.uuid);
    given_.erase(workflow.uuid);
  }
  (void)remove_staged(*services_.files, staging_path(workflow.uuid)).has_value();
  if (workflow.data.value("drill", false) && workflow.status == WorkflowStatus::failed) drill_failed(workflow);
  const std::string safety = safety_path(workflow.uuid);
  bool kept = false;
  {
    auto db = services_.state->lease();
    auto query = db->prepare("SELECT 1 FROM safety_copies WHERE path=?");
    if (query) {
      query->bind(1, safety);
      kept = query->step().value_or(true);
    }
  }
  if (!kept) (void)services_.files->remove(safety).has_value();
}

}  // namespace tillsync
