// RESTORE, before anything is fetched: what may be asked for, and whether schema, packs and room allow it.
#include "agent/daemon/restore_workflow.h"
#include "restore/migrations.h"
#include "restore/moment.h"

namespace tillsync {

namespace {
constexpr uint64_t kPagesPerAction = 4;  // that a replay changes: of the table, and of its indexes
}  // namespace

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
                       std::to_string(*there) + " are free: make room, or restore to another disk"};
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
                       " bytes beside the database, " + std::to_string(free_there) +
                       " are free: make room there, or restore to a file on another disk"};
  }
  // Who needs a restore may have the last of the disk; a drill may not.
  if (is_drill(context)) needed += services_.config->limits.min_free;
  TILLSYNC_LET(uint64_t free, services_.files->free_space(services_.staging_folder()));
  if (free < needed)
    return Error{ErrorKind::no_space, 0,
                 services_.staging_folder() + ": the restore needs " + std::to_string(needed) + " bytes, " +
                     std::to_string(free) + " are free: make room there"};
  return Json{{"packs", packs}, {"bytes", bytes}};
}

}  // namespace tillsync
