// The document of `tillsync status --json`.
#include <algorithm>
#include <array>

#include "agent/daemon/backup_verifier.h"
#include "agent/daemon/control_methods.h"
#include "agent/daemon/drill_record.h"
#include "agent/daemon/new_epoch.h"
#include "dbfile/page.h"
#include "version.h"

namespace tillsync {

namespace {
// A restore is asked for by a person, who was told; a day later it is history.
constexpr std::chrono::hours kFailedRestoreShown{24};
constexpr std::chrono::hours kEpochChangeShown{7 * 24};

Json time_or_null(const std::optional<Timestamp>& t) { return t ? Json(to_rfc3339(*t)) : Json(nullptr); }
// advice: nothing is lost or late by it, and whoever is at the till need not act.
constexpr std::array kAdvice = {"rollback_journal", "epoch", "not_sealed", "no_recovery_key", "paused", "metrics"};
// A bad link comes and goes.
constexpr std::chrono::minutes kOutageBorne{10};
constexpr std::chrono::hours kPauseBorne{24};

Json problem(const std::string& code, const std::string& what, const std::string& remedy) {
  const bool advice = std::find(kAdvice.begin(), kAdvice.end(), code) != kAdvice.end();
  return {{"code", code}, {"severity", advice ? "advice" : "problem"}, {"text", what}, {"remedy", remedy}};
}

std::string store_remedy(const Error& error) {
  const std::string_view cause = error.cause;
  if (cause == "clock") return "set the till's clock, and let it be kept by NTP";
  if (cause == "certificate")
    return "check the server's certificate and [store] ca_file; it is not trusted, or has expired";
  if (cause == "credentials") return "check the access key: [store] credentials, the environment, or its expiry";
  if (cause == "permission") return "let the access key put and get objects below the prefix of [store] url";
  if (cause == "bucket") return "check the bucket in [store] url: it is not there, or not in this account";
  if (cause == "region") return "check [store] region and endpoint";
  return "what is captured waits in state_dir and is sent as soon as the store answers; check [store] url, its "
         "permissions and free space";
}

}  // namespace

Json ControlMethods::database_status(FollowedDatabase& database, Json& problems) {
  CaptureStatus s = database.status();
  Sequence durable = 0;
  Json lag = 0;
  std::optional<Timestamp> waiting_since;
  {
    auto db = agent_.state_->lease();
    std::string id = std::to_string(database.id());
    if (auto value = db->query_integer("SELECT durable_sequence FROM databases WHERE id=" + id))
      durable = static_cast<Sequence>(*value);
    if (s.sequence > durable) {
      // How long the oldest action that is not in the store yet has waited.
      auto oldest = db->query_integer(
          "SELECT coalesce((SELECT t.captured_at FROM action_log a JOIN transactions t ON t.id=" +
          std::to_string(scoped_id(database.id(), 0)) +
          "+a.transaction_no WHERE a.id=" + std::to_string(scoped_id(database.id(), durable + 1)) +
          "), (SELECT min(created_at) FROM transfer_queue WHERE lane=0 AND database_id=" + id + "), 0)");
      if (oldest && *oldest > 0) {
        waiting_since = from_ms(*oldest);
        lag = std::max<int64_t>(0, to_ms(agent_.ports_.clock->now()) - *oldest);
      }
    }
  }
  Json j;
  j["name"] = s.name;
  j["path"] = s.path;
  j["mode"] = s.mode;
  j["sequence"] = s.sequence;
  j["transaction"] = s.transaction;
  j["durable_sequence"] = durable;
  j["last_capture_at"] = time_or_null(s.last_capture_at);
  j["lag_ms"] = lag;
  j["waiting_since"] = time_or_null(waiting_since);
  j["lag_actions"] = s.sequence - durable;
  j["writer_sqlite_version"] =
      s.writer_sqlite_version ? Json(sqlite_version_text(s.writer_sqlite_version)) : Json(nullptr);
  j["wal_bytes"] = s.wal_bytes;
  j["pos_blocked_ms"] = s.pos_blocked_ms;
  j["pos_blocked_ms_max"] = s.pos_blocked_ms_max;
  j["catch_ups"] = s.catch_ups;
  j["page_size"] = s.page_size;
  j["page_count"] = s.page_count;
  if (s.baseline_percent < 100) j["baseline_percent"] = s.baseline_percent;
  j["problem"] = nullptr;
  if (s.problem) {
    j["problem"] = problem(s.problem->code, s.problem->text, s.problem->remedy);
    // Of a pause it is said once, for all.
    if (s.problem->code != "paused") problems.push_back(j["problem"]);
  } else if (s.mode == "scan") {
    problems.push_back(problem("rollback_journal",
                               s.path + ": is not in WAL mode; it is captured by scans every " +
                                   std::to_string(database.config().scan_interval.count() / 1000) + " s",
                               "run 'PRAGMA journal_mode=WAL' on it once, from the application, so that every "
                               "transaction is captured by itself"));
  }
  return j;
}

// restorable_until is true of every database: the oldest of theirs, and null while one was never proven.
Json ControlMethods::drill_status(Json& problems) {
  std::optional<Timestamp> until, at;
  bool all = !agent_.databases_.empty();
  Json last_result = nullptr;
  auto db = agent_.state_->lease();
  for (auto& database : agent_.databases_) {
    auto record = read_drill(*db, database->id());
    if (!record || !*record) {
      all = false;
      continue;
    }
    const DrillRecord& drill = **record;
    if (!drill.restorable_until) all = false;
    if (drill.restorable_until && (!until || *drill.restorable_until < *until)) until = drill.restorable_until;
    if (!at || drill.finished_at > *at) at = drill.finished_at;
    if (last_result.is_null()) last_result = "ok";
    if (!drill.error) continue;
    last_result = database->config().name + ": " + *drill.error;
    problems.push_back(problem("drill",
                               database->config().name + ": the restore drill of " + to_rfc3339(drill.finished_at) +
                                   " failed: " + *drill.error,
                               "make a full backup ('tillsync backup --type full --wait'), then try again with "
                               "'tillsync drill'; 'tillsync verify --data' names every damaged object"));
  }
  if (agent_.services_.is_write_only() && last_result.is_null())
    last_result = "not here: this terminal is write-only, a drill needs the recovery key";
  return {{"restorable_until", time_or_null(all ? until : std::nullopt)},
          {"last_result", last_result},
          {"last_run_at", time_or_null(at)}};
}

Result<Json> ControlMethods::last_verified(Json& problems) {
  auto db = agent_.state_->lease();
  for (auto& database : agent_.databases_) {
    TILLSYNC_LET(auto record, read_verification(*db, database->id()));
    if (!record || record->findings.empty()) continue;
    const auto more = record->findings.size() - 1;
    problems.push_back(problem(
        "verify",
        database->config().name + ": the verification of " + to_rfc3339(record->finished_at) +
            " found damage in the store: " + record->findings.front() +
            (more ? " (and " + std::to_string(more) + " more)" : ""),
        "make a full backup now ('tillsync backup --type full --wait'); 'tillsync verify --data' and 'tillsync log "
        "verify' name every damaged object"));
  }
  TILLSYNC_LET(auto newest, db->prepare("SELECT uuid, created_at, sequence, max(captured_at) FROM snapshots WHERE "
                                        "is_complete AND is_verified"));
  TILLSYNC_LET(bool row, newest.step());
  if (!row || newest.is_null(0)) return Json(nullptr);
  return Json{{"uuid", newest.text(0)},
              {"created_at", to_rfc3339(from_ms(newest.integer(1)))},
              {"sequence", newest.integer(2)}};
}

// What failed and was not made good since, and what waits for its next try. A drill has its own problem, and a part is
// said by its whole.
Result<void> ControlMethods::workflow_problems(Json& problems) {
  auto db = agent_.state_->lease();
  // The newest of its kind that ended by itself: one that a person cancelled says nothing.
  TILLSYNC_LET(
      auto rows,
      db->prepare("WITH w AS (SELECT *, data->>'$.database' AS db, max(id) FILTER (WHERE status IN ('COMPLETED', "
                  "'FAILED')) OVER one AS newest, min(id) FILTER (WHERE status IN ('PENDING', 'IN_PROGRESS') AND error "
                  "IS NOT NULL) OVER one AS waits FROM workflows WHERE type IN ('BACKUP', 'RESTORE') AND NOT "
                  "coalesce(data->>'$.drill', 0) WINDOW one AS (PARTITION BY type, data->>'$.database')) "
                  "SELECT uuid, type, status, db, error, completed_at, not_before FROM w WHERE (status='FAILED' AND "
                  "id=newest AND (type='BACKUP' OR completed_at>?)) OR id=waits ORDER BY id"));
  const Timestamp now = agent_.ports_.clock->now();
  rows.bind(1, to_ms(now - kFailedRestoreShown));
  while (true) {
    TILLSYNC_LET(bool row, rows.step());
    if (!row) break;
    const bool is_backup = rows.text(1) == "BACKUP";
    const std::string what = rows.text(3) + ": " + (is_backup ? "the backup" : "the restore");
    const std::string why = rows.is_null(4) ? "no reason was kept" : rows.text(4);
    if (rows.text(2) != "FAILED") {
      const Timestamp again = from_ms(rows.integer(6));
      problems.push_back(problem(
          is_backup ? "backup" : "restore",
          what + " waits and tries again" + (again > now ? " at " + to_rfc3339(again) : "") + ": " + why,
          "it goes on by itself as soon as that is mended; 'tillsync cancel " + rows.text(0) + "' gives it up"));
    } else {
      problems.push_back(problem(is_backup ? "backup" : "restore",
                                 what + " of " + to_rfc3339(from_ms(rows.integer(5))) + " failed: " + why,
                                 is_backup ? "mend that, then make another: 'tillsync backup --wait'"
                                           : "mend that, then ask for it again; 'tillsync workflows' shows each step"));
    }
  }
  return {};
}

Result<Json> ControlMethods::state() {
  TILLSYNC_LET(const Json document, status());
  return terminal_state(document);
}

Result<Json> ControlMethods::status() {
  Json problems = Json::array(), databases = Json::array();
  for (auto& database : agent_.databases_) databases.push_back(database_status(*database, problems));
  TransferStatus transfers = agent_.transfers_->status();
  const Timestamp now = agent_.ports_.clock->now();
  if (transfers.last_error) {
    problems.push_back(
        problem("store", "the store: " + transfers.last_error->context, store_remedy(*transfers.last_error)));
    const bool may_pass = is_outage(transfers.last_error->kind) && *transfers.last_error->cause == 0;
    if (may_pass && transfers.failing_since && now - *transfers.failing_since < kOutageBorne)
      problems.back()["severity"] = "advice";
  }
  if (const auto unmeasured = agent_.metrics_ ? agent_.metrics_->problem() : std::nullopt)
    problems.push_back(problem("metrics", unmeasured->context, "check [metrics] of the configuration, and restart"));
  Json paused = nullptr;
  if (const auto pause = agent_.pause_->current()) {
    paused = {{"since", to_rfc3339(pause->since)}, {"until", time_or_null(pause->until())}};
    problems.push_back(problem("paused",
                               "capture is paused since " + to_rfc3339(pause->since) +
                                   (pause->until() ? " until " + to_rfc3339(*pause->until()) : "") +
                                   ": new sales are in the database only",
                               "'tillsync resume' goes on at once; what was sold meanwhile is captured then"));
    if (now - pause->since >= kPauseBorne) problems.back()["severity"] = "problem";
  }
  // let_go is said by each database.
  const DiskRung rung = agent_.disk_rung_;
  if (rung == DiskRung::uploads_first || rung == DiskRung::compact)
    problems.push_back(problem(
        "disk_low",
        agent_.config_.terminal.state_dir + ": the disk fills up; " +
            (rung == DiskRung::compact ? "the local log is cut down to what waits to be sent"
                                       : "the local log keeps only what the store does not have yet"),
        "free space on the disk of state_dir, or check why the store does not take what waits; at limits.min_free "
        "capture lets go until there is room"));
  for (auto& text : agent_.pruner_->problems())
    problems.push_back(
        problem("prune", "nothing more is removed from the store: " + text,
                "'tillsync verify' and 'tillsync log verify' name every object that is damaged; keep the "
                "store as it is until that is understood"));
  TILLSYNC_LET(const auto change, last_epoch_change(*agent_.state_));
  if (change && now - change->at < kEpochChangeShown)
    problems.push_back(problem(
        "epoch",
        "since " + to_rfc3339(change->at) + " this terminal goes on as epoch " + std::to_string(change->to) + ": " +
            change->why,
        "if another till runs on a copy of this one's disk, stop its agent and remove its state_dir, so that it gets "
        "an identity of its own; if an old image of the disk was put back here, nothing is to be done: what was "
        "stored before is kept as epoch " +
            std::to_string(change->from)));
  if (!agent_.config_.keys.seal)
    problems.push_back(problem("not_sealed", "backups in this store are not encrypted: keys.seal is false",
                               "keep the store where only you can read it"));
  else if (agent_.config_.keys.recovery.empty())
    problems.push_back(
        problem("no_recovery_key", "only this terminal can open its backups: with its disk they would be lost as well",
                "make a recovery key on another machine ('tillsync keys make --out recovery.pem'), keep it "
                "there, and name its public half in [keys] recovery"));

  Json snapshots{{"last_full", nullptr},
                 {"last_incremental", nullptr},
                 {"last_differential", nullptr},
                 {"last_verified", nullptr}};
  {
    auto db = agent_.state_->lease();
    TILLSYNC_LET(auto newest, db->prepare("SELECT snapshot_type, uuid, max(captured_at), sequence, created_at FROM "
                                          "snapshots WHERE is_complete GROUP BY snapshot_type"));
    while (true) {
      TILLSYNC_LET(bool row, newest.step());
      if (!row) break;
      std::string type = newest.text(0);
      for (auto& c : type) c = static_cast<char>(c + 32);
      snapshots["last_" + type] = {{"uuid", newest.text(1)},
                                   {"created_at", to_rfc3339(from_ms(newest.integer(4)))},
                                   {"sequence", newest.integer(3)}};
    }
  }
  Json drill = drill_status(problems);
  TILLSYNC_LET(snapshots["last_verified"], last_verified(problems));
  TILLSYNC_TRY(workflow_problems(problems));
  Json workflow = nullptr;
  if (auto p = agent_.engine_->progress())
    workflow = {{"uuid", p->workflow.str()},
                {"type", p->type},
                {"step", p->step},
                {"percent", p->percent},
                {"eta_ms", p->eta ? Json(p->eta->count()) : Json(nullptr)}};

  auto properties = agent_.store_->properties();
  Json j;
  j["terminal"] = {{"id", agent_.services_.terminal.str()},
                   {"name", agent_.config_.terminal.name},
                   {"version", TILLSYNC_VERSION},
                   {"epoch", agent_.services_.epoch}};
  j["databases"] = std::move(databases);
  const Keys& keys = agent_.services_.terminal.keys;
  j["keys"] = {{"sealed", keys != nullptr},
               {"write_only", agent_.services_.is_write_only()},
               {"signing_key", keys ? Json(keys->signer->public_key().hex()) : Json(nullptr)},
               {"recipients", Json::array()}};
  if (keys)
    for (auto& recipient : keys->recipients) j["keys"]["recipients"].push_back(recipient.id().hex());
  j["store"] = {
      {"url", agent_.config_.store.url},
      {"reachable", transfers.reachable},
      {"last_success_at", time_or_null(transfers.last_success_at)},
      {"capabilities",
       {{"name", properties.name}, {"create_only", properties.create_only}, {"may_delete", properties.may_delete}}}};
  j["transfers"] = {{"queued", transfers.queued},
                    {"queued_bytes", transfers.queued_bytes},
                    {"active", transfers.active},
                    {"sent_bytes", transfers.sent_bytes},
                    {"rate_bytes_per_second", transfers.rate_bytes_per_second},
                    {"waits_for_hours", transfers.waits_for_hours},
                    {"errors", transfers.errors}};
  j["snapshots"] = std::move(snapshots);
  j["workflow"] = std::move(workflow);
  j["drill"] = std::move(drill);
  j["disk"] = {{"rung", to_string(rung)}};
  j["paused"] = std::move(paused);
  j["problems"] = std::move(problems);
  return j;
}

}  // namespace tillsync
