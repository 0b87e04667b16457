// What the agent does by itself while it runs: what is due, what has changed, how it is.

#include <algorithm>
#include <boost/asio/post.hpp>

#include "agent/config/config_change.h"
#include "agent/daemon/agent.h"
#include "agent/daemon/give_back_memory.h"
#include "agent/logging/log.h"
#include "ports/object_keys.h"
#include "state/full_due.h"

namespace tillsync {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::seconds kDiskInterval{5};
}

// At the start, and after each snapshot: one that was under way when they became due does not count.
void Agent::make_due_fulls() {
  asio::post(*queries_, [this] {
    for (auto& database : databases_) {
      std::optional<std::string> why;
      {
        auto db = state_->lease();
        auto due = full_due(*db, database->id());
        auto running = db->query_integer(
            "SELECT count(*) FROM workflows w JOIN backup_sessions b ON b.workflow_uuid=w.uuid WHERE w.status IN "
            "('PENDING', 'IN_PROGRESS') AND w.data->>'$.type'='FULL' AND b.database_id=" +
            std::to_string(database->id()));
        if (due && running && *running == 0) why = *due;
      }
      if (why) back_up(database->config().name, *why, "FULL");
    }
  });
}

// terminal.json, the epoch and the name. The store may be away: they are put when it is there.
void Agent::announce() {
  auto put = [&]() -> Result<void> {
    Result<void> done;
    // Of a sealed terminal it is the first statement of its keys, and there before anything else is.
    if (!services_.terminal.keys) {
      Json identity{{"id", services_.terminal.str()},
                    {"name", config_.terminal.name},
                    {"created_at", to_rfc3339(ports_.clock->now())}};
      std::string text = identity.dump();
      BytesSource terminal(as_bytes(text));
      done = services_.store->put(keys::terminal_json(services_.terminal), terminal);
      if (!done && done.error().kind != ErrorKind::conflict) return done;
    }
    std::string epoch = Json{{"epoch", services_.epoch}, {"terminal", services_.terminal.str()}}.dump();
    BytesSource number(as_bytes(epoch));
    done = services_.store->put(keys::epoch(services_.terminal, services_.epoch), number);
    if (!done && done.error().kind != ErrorKind::conflict) return done;
    std::string name = Json{{"id", services_.terminal.str()}}.dump();
    auto there = read_object(*services_.store, keys::terminal_name(config_.terminal.name), 4096);
    if (there && as_text(*there) == name) return {};
    return services_.store->replace(keys::terminal_name(config_.terminal.name), as_bytes(name));
  }();
  if (put) return;
  // Tried again later; log and snapshots do not need it.
  auto timer = std::make_shared<asio::steady_timer>(loop_, std::chrono::seconds(10));
  timer->async_wait([this, timer](boost::system::error_code cancelled) {
    if (!cancelled) asio::post(*queries_, [this] { announce(); });
  });
}

Result<Uuid> Agent::start_backup(const BackupWorkflow::Request& request, Uuid& snapshot) {
  TILLSYNC_LET(WorkflowRequest workflow, backups_->request(request, snapshot));
  TILLSYNC_LET(Uuid uuid, engine_->create(workflow));
  runner_->start(uuid);
  return uuid;
}

Result<Uuid> Agent::start_restore(const Json& params, std::shared_ptr<File> into) {
  if (into) {
    TILLSYNC_LET(const uint64_t size, into->size());
    if (size > 0) return Error{ErrorKind::usage, 0, "the file to restore to is not empty"};
  }
  Uuid uuid;
  {
    auto db = state_->lease();  // so that of two at a time one sees the other
    TILLSYNC_LET(WorkflowRequest request, restores_->request(params));
    TILLSYNC_LET(uuid, engine_->create(request));
  }
  if (into && !params.value("in_place", false) && !params.value("drill", false)) restores_->give(uuid, std::move(into));
  runner_->start(uuid);
  return uuid;
}

// Replay does not cross a change of schema: what comes after it can only be restored from a snapshot that has it. Asked
// after each change, at the start, and after each snapshot, because a change may come while one is made.
void Agent::cover_schema_changes() {
  asio::post(*queries_, [this] {
    for (auto& database : databases_) {
      auto needed = lacks_snapshot(*database);
      if (needed && *needed) back_up(database->config().name, "after a change of schema");
    }
  });
}

// An INCREMENTAL that nobody asked for.
void Agent::back_up(const std::string& database, const std::string& why, const std::string& type) {
  Uuid snapshot;
  BackupWorkflow::Request request;
  request.type = type;
  request.database = database;
  request.description = why;
  if (pause_->current()) return;  // asked again when it ends
  auto started = start_backup(request, snapshot);
  if (!started) log::warn("{}: no snapshot ({}): {}", database, why, started.error().context);
}

Result<bool> Agent::lacks_snapshot(FollowedDatabase& database) {
  const int64_t id = database.id();
  auto db = state_->lease();
  TILLSYNC_LET(auto query, db->cached("SELECT (SELECT max(id) FROM digest_points WHERE id BETWEEN ?2 AND ?3), "
                                      "(SELECT max(sequence) FROM snapshots WHERE is_complete AND damage IS NULL AND "
                                      "database_id=?1 AND epoch=?4),"
                                      " EXISTS (SELECT 1 FROM workflows w JOIN backup_sessions b ON "
                                      "b.workflow_uuid=w.uuid WHERE w.status IN ('PENDING', 'IN_PROGRESS') AND "
                                      "b.database_id=?1)"));
  query->bind(1, id).bind(2, scoped_id(id, 0)).bind(3, scoped_id(id, (uint64_t{1} << 48) - 1)).bind(4, services_.epoch);
  TILLSYNC_LET(bool row, query->step());
  // One that is under way is waited for; this is asked again at its end.
  if (row && query->integer(2)) row = false;
  // Without any snapshot there is nothing a replay could start from, before or after the change.
  bool lacks =
      row && !query->is_null(0) && !query->is_null(1) && number_of(query->integer(0)) > query->unsigned_integer(1);
  query->reset();
  return lacks;
}

// On the loop. The rules are asked on a thread that may wait for state.db, one at a time.
void Agent::poll_schedule() {
  if (polling_) {
    poll_again_ = true;
    return;
  }
  polling_ = true;
  schedule_timer_.cancel();
  asio::post(*queries_, [this] {
    Result<Milliseconds> wait = Scheduler::kPollInterval;
    try {
      wait = schedule_->poll();
    } catch (const std::exception& bug) {
      wait = Error{ErrorKind::internal, 0, bug.what()};
    }
    if (!wait) log::warn("schedule: {}", wait.error().context);
    const Milliseconds pause = std::clamp<Milliseconds>(wait ? *wait : Scheduler::kPollInterval,
                                                        std::chrono::milliseconds(1), Scheduler::kPollInterval);
    asio::post(loop_, [this, pause] {
      polling_ = false;
      if (std::exchange(poll_again_, false)) return poll_schedule();
      schedule_timer_.expires_after(pause);
      schedule_timer_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) poll_schedule();
      });
    });
  });
}

// On the loop: asking for the free space does not wait for a disk. What else is looked at every few seconds comes with
// it, because each timer of its own would wake an idle till once more.
void Agent::watch_disk() {
  auto free = ports_.files->free_space(config_.terminal.state_dir);
  const DiskRung before = disk_.rung(), now = free ? disk_.look(*free) : before;
  if (now != before) {
    const std::string words = config_.terminal.state_dir + ": " + std::to_string(*free) +
                              " bytes are free; limits.min_free keeps " + std::to_string(config_.limits.min_free);
    log::say(now > before ? log::Level::warn : log::Level::info, "disk: {} ({})", to_string(now), words);
    shipper_->set_disk_rung(now);
    std::optional<CaptureHold> why;
    const Error full{ErrorKind::no_space, 0, words};
    if (now == DiskRung::let_go) why = CaptureHold{full, capture_problem(full, config_.terminal.state_dir)};
    if (now == DiskRung::let_go || before == DiskRung::let_go)
      for (auto& database : databases_) database->hold(FollowedDatabase::HeldBy::disk, why);
    feed_.poke();
  }
  disk_rung_ = now;
  if (captured_lately_.exchange(false)) asio::post(*queries_, [] { give_back_free_memory(); });
  if (pause_->current())
    asio::post(*queries_, [this] {
      if (auto looked = pause_->look(); !looked) log::warn("the pause can't be ended: {}", looked.error().context);
    });
  disk_timer_.expires_after(kDiskInterval);
  disk_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) watch_disk();
  });
}

// One at a time; what comes meanwhile may be about a later change.
void Agent::reload_soon() {
  if (std::exchange(reloads_, true)) {
    reload_again_ = true;
    return;
  }
  watch_.reloading();
  asio::post(*queries_, [this] {
    reload();
    asio::post(loop_, [this] {
      watch_.reloaded();
      reloads_ = false;
      if (std::exchange(reload_again_, false)) reload_soon();
    });
  });
}

// What the till's owner wants to know, in one line.
std::string Agent::service_status() {
  if (const auto pause = pause_->current())
    return "paused " + (pause->until() ? "until " + to_rfc3339(*pause->until()) : "until 'tillsync resume'");
  for (auto& database : databases_)
    if (auto problem = database->status().problem) return database->config().name + ": " + problem->text;
  int64_t waiting = 0;
  {
    auto db = state_->lease();
    auto sum = db->query_integer("SELECT coalesce(sum(sequence - durable_sequence), 0) FROM databases");
    if (!sum) return "state.db: " + sum.error().context;
    waiting = *sum;
  }
  const TransferStatus transfers = transfers_->status();
  if (transfers.last_error)
    return "the store can't be reached; " + std::to_string(waiting) +
           " changes wait for it here: " + transfers.last_error->context;
  if (waiting > 0) return std::to_string(waiting) + " changes are on their way into the store";
  return "everything that was captured is in the store";
}

std::string Agent::hung_capture(Milliseconds patience) {
  std::string hung;
  for (auto& database : databases_)
    if (!database->goes_on(patience)) hung = "capture of " + database->config().name;
  return hung;
}

// When every database is captured, or is known not to be: the first copy of a large one is waited for by nobody.
void Agent::say_ready(std::chrono::steady_clock::time_point at_latest) {
  const bool all_begun = std::all_of(databases_.begin(), databases_.end(), [](auto& database) {
    const CaptureStatus status = database->status();
    return status.mode != "starting" || status.problem || status.baseline_percent < 100;
  });
  if (all_begun || std::chrono::steady_clock::now() >= at_latest) {
    asio::post(*queries_, [this] { asio::post(loop_, [this, status = service_status()] { watch_.start(status); }); });
    return;
  }
  ready_timer_.expires_after(std::chrono::milliseconds(5));
  ready_timer_.async_wait([this, at_latest](boost::system::error_code cancelled) {
    if (!cancelled) say_ready(at_latest);
  });
}

// One at a time. What can't be read changes nothing.
void Agent::reload() {
  if (config_.file.empty()) return log::warn("reload: the agent was started without a configuration file");
  auto wanted = load_config(config_.file);
  if (wanted)
    if (auto usable = check_agent_config(*wanted); !usable) wanted = std::move(usable).error();
  if (!wanted) return log::error("reload: {}; everything stays as it was", wanted.error().context);
  const ConfigChange change = change_of(applied_, *wanted);
  if (change.upload_limit) {
    transfers_->set_upload_limit(*change.upload_limit);
    applied_.store.upload_limit = *change.upload_limit;
  }
  if (change.upload_hours) {
    transfers_->set_upload_hours(*change.upload_hours);
    applied_.store.upload_hours = *change.upload_hours;
  }
  log::info("reload: {}: {}", config_.file, in_words(change));
}

}  // namespace tillsync
