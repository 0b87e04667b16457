#include "agent/daemon/scheduled_jobs.h"

#include "agent/logging/log.h"

#include <boost/asio/post.hpp>

namespace tillsync {

using Begun = Scheduler::Begun;

namespace {
constexpr const char* kBackupRuns =
    "SELECT EXISTS (SELECT 1 FROM workflows w JOIN backup_sessions b ON b.workflow_uuid=w.uuid WHERE w.status IN "
    "('PENDING', 'IN_PROGRESS') AND b.database_id=?1)";
constexpr const char* kDrillRuns =
    "SELECT EXISTS (SELECT 1 FROM workflows WHERE status IN ('PENDING', 'IN_PROGRESS') AND type='RESTORE' AND "
    "json_extract(data, '$.drill'))";
constexpr const char* kHasSnapshot =
    "SELECT EXISTS (SELECT 1 FROM snapshots WHERE is_complete AND damage IS NULL AND database_id=?1)";
}  // namespace

ScheduledJobs::ScheduledJobs(const Services& services, std::vector<FollowedDatabase*> databases, Starts starts)
    : services_(services),
      databases_(std::move(databases)),
      starts_(std::move(starts)),
      scheduler_(*services.state, *services.clock, system_utc_offset,
                 terminal_shift(services.terminal, services.config->schedule.jitter)),
      verifier_(services) {}

Result<void> ScheduledJobs::define() {
  const ScheduleConfig& rules = services_.config->schedule;
  for (auto* database : databases_) {
    const std::string& name = database->config().name;
    auto add = [&](const std::string& what, const ScheduleRule& rule, std::function<Result<Begun>()> begin) {
      return scheduler_.add({what + " " + name, rule, std::move(begin)});
    };
    TILLSYNC_TRY(add("full", rules.full, [this, database] { return backup(*database, "FULL"); }));
    TILLSYNC_TRY(
        add("differential", rules.differential, [this, database] { return backup(*database, "DIFFERENTIAL"); }));
    TILLSYNC_TRY(add("incremental", rules.incremental, [this, database] { return backup(*database, "INCREMENTAL"); }));
    TILLSYNC_TRY(add("drill", rules.drill, [this, database] { return drill(*database); }));
    TILLSYNC_TRY(add("verify", rules.verify, [this, database] { return verify(*database); }));
  }
  return {};
}

Result<bool> ScheduledJobs::exists(const char* sql, std::optional<int64_t> database) {
  auto db = services_.state->lease();
  TILLSYNC_LET(auto query, db->prepare(sql));
  if (database) query.bind(1, *database);
  TILLSYNC_LET(bool row, query.step());
  return row && query.integer(0) != 0;
}

Result<Begun> ScheduledJobs::backup(FollowedDatabase& database, const std::string& type) {
  TILLSYNC_LET(bool runs, exists(kBackupRuns, database.id()));
  // In a pause nothing is captured; what is due then is made up when it ends.
  if (runs || database.is_paused()) return Begun::not_now;
  if (type == "INCREMENTAL" && services_.config->assets.empty()) {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto query, db->prepare("SELECT max(sequence) FROM snapshots WHERE is_complete AND database_id=?1"));
    query.bind(1, database.id());
    TILLSYNC_LET(bool row, query.step());
    const CaptureStatus status = database.status();
    if (status.mode == "starting") return Begun::not_now;  // what happened meanwhile is not known yet
    if (row && !query.is_null(0) && !status.problem && query.unsigned_integer(0) == status.sequence) return Begun::yes;
  }
  TILLSYNC_TRY(starts_.backup(database, type));
  return Begun::yes;
}

Result<Begun> ScheduledJobs::drill(FollowedDatabase& database) {
  if (services_.is_write_only()) return Begun::yes;  // it can't read; status says whose drill it is
  TILLSYNC_LET(bool runs, exists(kDrillRuns));
  TILLSYNC_LET(bool has_snapshot, exists(kHasSnapshot, database.id()));
  // The first one is waited for: there is nothing to restore yet.
  if (runs || !has_snapshot) return Begun::not_now;
  TILLSYNC_TRY(starts_.drill(database));
  return Begun::yes;
}

Result<Begun> ScheduledJobs::verify(FollowedDatabase& database) {
  std::lock_guard lock(mutex_);
  if (verified_ == &database) {
    verified_ = nullptr;
    return Begun::yes;
  }
  if (verifying_ || verified_ || (not_before_ && services_.clock->steady_now() < *not_before_)) return Begun::not_now;
  verifying_ = &database;
  boost::asio::post(background_, [this, &database] {
    Result<VerificationRecord> outcome = Error{ErrorKind::internal, 0, "stopped by a fault"};
    try {
      outcome = verifier_.verify(database);
    } catch (const std::exception& bug) {
      outcome = Error{ErrorKind::internal, 0, bug.what()};
    }
    std::unique_lock done(mutex_);
    verifying_ = nullptr;
    if (outcome) {
      verified_ = &database;
    } else if (outcome.error().kind != ErrorKind::cancelled) {
      log::warn("{}: the scheduled verification is tried again in {} min: {}", database.config().name, kAgain.count(),
                outcome.error().context);
      not_before_ = services_.clock->steady_now() + kAgain;
    }
    done.unlock();
    starts_.verification_ended();
  });
  return Begun::not_now;
}

void ScheduledJobs::stop() {
  verifier_.stop();
  background_.stop();
  background_.join();
}

}  // namespace tillsync
