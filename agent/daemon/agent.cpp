#include "agent/daemon/agent.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "agent/config/config_change.h"
#include "agent/daemon/control_methods.h"
#include "agent/daemon/give_back_memory.h"
#include "agent/daemon/leftovers.h"
#include "agent/daemon/new_epoch.h"
#include "agent/keys/own_keys.h"
#include "crypto/sealed_store.h"
#include "ports/object_keys.h"
#include "state/full_due.h"
#include "store/open_store.h"

namespace tillsync {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::seconds kDiskInterval{5};
}

Result<std::unique_ptr<Agent>> Agent::create(const Config& config, const Ports& ports) {
  // The WAL-reset bug is the checkpointer's, and we checkpoint (docs/architecture.md).
  if (sqlite3_libversion_number() < 3051003)
    return Error{
        ErrorKind::usage, 0,
        std::string("SQLite ") + sqlite3_libversion() + " can lose frames in a checkpoint; at least 3.51.3 is needed"};
  std::unique_ptr<Agent> agent(new Agent(config, ports));
  TILLSYNC_TRY(agent->open());
  return agent;
}

Result<void> Agent::prepare_folders() {
  const std::string& folder = config_.terminal.state_dir;
  for (const char* part : {"", "/spool", "/staging", "/safety", "/databases"})
    TILLSYNC_TRY(ports_.files->make_directories(folder + part).with("state_dir"));
  TILLSYNC_LET(state_lock_, ports_.files->open(folder + "/lock", OpenMode::create));
  auto locked = state_lock_->lock();
  if (!locked && locked.error().kind == ErrorKind::conflict)
    return Error{
        ErrorKind::conflict, 0,
        folder + ": another agent runs on this state_dir; stop it first, or give this one a state_dir of its own"};
  return locked;
}

Result<void> Agent::establish_identity() {
  TILLSYNC_LET(auto known, state_->setting("terminal_id"));
  is_new_terminal_ = !known;
  if (!known) {
    known = make_uuid_v7(*ports_.clock, *ports_.random).str();
    TILLSYNC_TRY(state_->set_setting("terminal_id", *known));
    // The id names everything in the store: it must not change in a power cut.
    TILLSYNC_TRY(state_->make_durable());
  }
  TILLSYNC_LET(services_.terminal, Uuid::parse(*known));
  TILLSYNC_LET(services_.epoch, adopt_epoch(*state_));
  return {};
}

// With its keys, where the configuration wants it sealed; and tested, where it can be reached now. One that can't is
// tested before the first object goes there.
Result<void> Agent::seal_store() {
  TILLSYNC_LET(EstablishedKeys keys, establish_keys(config_, *ports_.files, *state_, services_.terminal,
                                                    is_new_terminal_, *ports_.clock, *ports_.random));
  if (!keys.ring) return {};
  services_.terminal.keys = keys.ring;
  auto sealed =
      std::make_unique<SealedStore>(std::move(store_), services_.terminal, std::move(keys.statements), *ports_.random);
  auto tested = sealed->prepare();
  if (!tested && tested.error().kind == ErrorKind::corrupt) return tested;
  if (!tested) spdlog::warn("store: not tested yet: {}", tested.error().context);
  store_ = std::move(sealed);
  services_.store = store_.get();
  return {};
}

void Agent::fence_store() {
  claim_ = std::make_unique<EpochClaim>(services_, *store_, [this](const EpochLoss& loss) {
    spdlog::error("epoch {} is lost: {}; this terminal goes on in a new one, and writes over nothing", services_.epoch,
                  loss.why);
    asio::post(*queries_, [this, loss] { leave_epoch(loss); });
  });
  fenced_store_ = std::make_unique<FencedStore>(*store_, *claim_);
  services_.store = fenced_store_.get();
}

// What is captured meanwhile waits. The rest begins anew: what runs is all of the epoch that is lost.
void Agent::leave_epoch(const EpochLoss& loss) {
  auto begun = begin_epoch(services_, *store_, loss);
  if (begun) {
    begins_again_ = true;
    return end();
  }
  spdlog::warn("the new epoch can't be begun yet: {}", begun.error().context);
  auto timer = std::make_shared<asio::steady_timer>(loop_, std::chrono::seconds(10));
  timer->async_wait([this, timer, loss](boost::system::error_code cancelled) {
    if (!cancelled) asio::post(*queries_, [this, loss] { leave_epoch(loss); });
  });
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

Result<void> Agent::open() {
  TILLSYNC_TRY(prepare_folders());
  vfs_ = std::make_unique<FileVfs>(*ports_.files, *ports_.clock, *ports_.random);
  TILLSYNC_LET(state_, StateDb::open(config_.terminal.state_dir + "/state.db", vfs_->name(), *ports_.clock));
  TILLSYNC_LET(store_, make_store(config_.store, *ports_.files, *ports_.clock, *ports_.random));
  services_ = Services{&config_,         ports_.files,     ports_.clock, ports_.random,
                       ports_.notifiers, vfs_.get(),       state_.get(), store_.get(),
                       ports_.folders,   ports_.who_holds, {},           1,
                       &plans_};
  TILLSYNC_TRY(establish_identity());
  TILLSYNC_TRY(seal_store());
  fence_store();
  TILLSYNC_TRY(sweep_leftovers(services_));
  workers_ = std::make_unique<asio::thread_pool>(2);
  queries_ = std::make_unique<asio::thread_pool>(2);
  engine_ = std::make_unique<WorkflowEngine>(*state_, *ports_.clock, *ports_.random);
  runner_ = std::make_unique<WorkflowRunner>(loop_, *workers_, *engine_, *ports_.clock);
  runner_->on_backup_completed([this] {
    cover_schema_changes();
    make_due_fulls();
    asio::post(loop_, [this] { poll_schedule(); });  // what waited for its end
    shipper_->snapshot_made();
    runner_->between_backups([this] { pruner_->prune_if_due(); });
  });
  runner_->on_ended([this] { give_back_memory(*state_); });
  std::vector<FollowedDatabase*> all;
  for (auto& config : config_.databases) {
    FollowedDatabase::Events events;
    events.committed = [this] { shipper_->captured(); };
    events.schema_changed = [this](FollowedDatabase&) { cover_schema_changes(); };
    events.damaged = [this](FollowedDatabase& damaged) {
      asio::post(*queries_, [this, name = damaged.config().name] { back_up(name, "the database was found damaged"); });
    };
    TILLSYNC_LET(auto database, FollowedDatabase::create(services_, config, std::move(events)));
    all.push_back(database.get());
    databases_.push_back(std::move(database));
  }
  transfers_ = std::make_unique<Transfers>(services_);
  shipper_ = std::make_unique<LogShipper>(services_, all, *transfers_);
  backups_ = std::make_unique<BackupWorkflow>(services_, all, *shipper_, *transfers_);
  std::vector<Pruner::Database> pruned;
  for (auto* database : all) pruned.push_back({database->id(), database->config().name});
  pruner_ = std::make_unique<Pruner>(services_, std::move(pruned));
  restores_ = std::make_unique<RestoreWorkflow>(services_, all, *shipper_);
  backups_->define(*engine_);
  restores_->define(*engine_);
  ScheduledJobs::Starts starts;
  starts.backup = [this](FollowedDatabase& database, const std::string& type) -> Result<void> {
    Uuid snapshot;
    BackupWorkflow::Request request;
    request.type = type;
    request.database = database.config().name;
    request.description = "scheduled";
    TILLSYNC_TRY(start_backup(request, snapshot));
    return {};
  };
  starts.drill = [this](FollowedDatabase& database) -> Result<void> {
    TILLSYNC_TRY(start_restore({{"database", database.config().name}, {"drill", true}}));
    return {};
  };
  starts.verification_ended = [this] { asio::post(loop_, [this] { poll_schedule(); }); };
  schedule_ = std::make_unique<ScheduledJobs>(services_, all, std::move(starts));
  TILLSYNC_TRY(schedule_->define());
  pruner_->pin_also([this](const std::string& database) { return restores_->pinned(database); });
  {
    auto db = state_->lease();
    for (auto* database : all) {
      TILLSYNC_LET(
          int64_t floor,
          db->query_integer("SELECT coalesce(max(sequence), 0) FROM snapshots WHERE is_complete AND damage IS NULL "
                            "AND database_id=" +
                            std::to_string(database->id())));
      database->set_dependency_floor(static_cast<Sequence>(floor));
    }
  }
  ControlOptions options;
  options.path = config_.terminal.control;
  // Who may ask is no reason not to keep the sales.
  if (auto groups = find_control_groups())
    options.groups = *groups;
  else
    spdlog::warn("{}; only root and this user can ask the agent until its next start", groups.error().context);
  TILLSYNC_LET(control_, ControlServer::listen(loop_, options));
  methods_ = std::make_unique<ControlMethods>(*this);
  methods_->install(*control_);
  return {};
}

Agent::Agent(const Config& config, const Ports& ports)
    : config_(config),
      applied_(config),
      ports_(ports),
      disk_(config.limits.min_free),
      watch_(loop_, ports.manager, [this] {
        asio::post(*queries_, [this] { asio::post(loop_, [this, status = service_status()] { watch_.say(status); }); });
      }) {}
Agent::~Agent() = default;

Result<Uuid> Agent::start_backup(const BackupWorkflow::Request& request, Uuid& snapshot) {
  TILLSYNC_LET(WorkflowRequest workflow, backups_->request(request, snapshot));
  TILLSYNC_LET(Uuid uuid, engine_->create(workflow));
  runner_->start(uuid);
  return uuid;
}

Result<Uuid> Agent::start_restore(const Json& params) {
  Uuid uuid;
  {
    auto db = state_->lease();  // so that of two at a time one sees the other
    TILLSYNC_LET(WorkflowRequest request, restores_->request(params));
    TILLSYNC_LET(uuid, engine_->create(request));
  }
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
  auto started = start_backup(request, snapshot);
  if (!started) spdlog::warn("{}: no snapshot ({}): {}", database, why, started.error().context);
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
    if (!wait) spdlog::warn("schedule: {}", wait.error().context);
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

// On the loop: asking for the free space does not wait for a disk.
void Agent::watch_disk() {
  auto free = ports_.files->free_space(config_.terminal.state_dir);
  const DiskRung before = disk_.rung(), now = free ? disk_.look(*free) : before;
  if (now != before) {
    const std::string words = config_.terminal.state_dir + ": " + std::to_string(*free) +
                              " bytes are free; limits.min_free keeps " + std::to_string(config_.limits.min_free);
    spdlog::log(now > before ? spdlog::level::warn : spdlog::level::info, "disk: {} ({})", to_string(now), words);
    shipper_->set_disk_rung(now);
    std::optional<Error> why;
    if (now == DiskRung::let_go) why = Error{ErrorKind::no_space, 0, words};
    if (now == DiskRung::let_go || before == DiskRung::let_go)
      for (auto& database : databases_) database->hold(why);
  }
  disk_rung_ = now;
  disk_timer_.expires_after(kDiskInterval);
  disk_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) watch_disk();
  });
}

void Agent::await_signals() {
  signals_.async_wait(asio::posix::descriptor_base::wait_read, [this](boost::system::error_code cancelled) {
    if (cancelled) return;
    take_signals();
    await_signals();
  });
}

void Agent::take_signals() {
  while (const auto signal = ports_.signals->next()) {
    if (*signal == ProcessSignal::stop) return stop();
    reload_soon();
  }
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

// One at a time. What can't be read changes nothing.
void Agent::reload() {
  if (config_.file.empty()) return spdlog::warn("reload: the agent was started without a configuration file");
  auto wanted = load_config(config_.file);
  if (wanted)
    if (auto usable = check_agent_config(*wanted); !usable) wanted = std::move(usable).error();
  if (!wanted) return spdlog::error("reload: {}; everything stays as it was", wanted.error().context);
  const ConfigChange change = change_of(applied_, *wanted);
  if (change.upload_limit) {
    transfers_->set_upload_limit(*change.upload_limit);
    applied_.store.upload_limit = *change.upload_limit;
  }
  if (change.upload_hours) {
    transfers_->set_upload_hours(*change.upload_hours);
    applied_.store.upload_hours = *change.upload_hours;
  }
  spdlog::info("reload: {}: {}", config_.file, in_words(change));
}

Agent::Ended Agent::run() {
  if (ports_.signals) {
    // A descriptor of the loop's own, which it closes.
    signals_.assign(::dup(ports_.signals->descriptor()));
    ports_.signals->listen(true);
    await_signals();
  }
  watch_disk();  // before capture begins
  for (auto& database : databases_) database->start();
  shipper_->start();
  asio::post(*queries_, [this] { announce(); });
  auto resumed = runner_->resume();
  if (!resumed) spdlog::error("workflows can't go on: {}", resumed.error().context);
  make_due_fulls();
  cover_schema_changes();
  poll_schedule();
  spdlog::info("terminal {} ({}) follows {} database(s); store {}", services_.terminal.str(), config_.terminal.name,
               databases_.size(), config_.store.url);
  asio::post(*queries_, [this] { asio::post(loop_, [this, status = service_status()] { watch_.start(status); }); });
  loop_.run();
  // Control is gone; what runs ends at its next safe point, and capture commits what it has.
  pruner_->stop();
  schedule_->stop();
  runner_->stop();
  store_->stop();
  for (auto& database : databases_) database->stop();
  shipper_->stop();
  workers_->stop();
  workers_->join();
  queries_->stop();
  queries_->join();
  auto durable = state_->make_durable();
  if (!durable) spdlog::warn("state.db: {}", durable.error().context);
  // Between two runs a signal does what it does to any process; one that came before is found here, or by the next.
  if (begins_again_ && ports_.signals) {
    while (const auto signal = ports_.signals->next())
      if (*signal == ProcessSignal::stop) is_told_to_stop_ = true;
    ports_.signals->listen(false);
  }
  const bool again = begins_again_ && !is_told_to_stop_;
  spdlog::info(again ? "beginning anew" : "stopped");
  return again ? Ended::again : Ended::stopped;
}

void Agent::stop() {
  is_told_to_stop_ = true;
  end();
}

void Agent::end() {
  asio::post(loop_, [this] {
    schedule_timer_.cancel();
    disk_timer_.cancel();
    watch_.stop(is_told_to_stop_);
    boost::system::error_code none_awaited;
    signals_.cancel(none_awaited);
    methods_->stop();
    control_->stop();
    loop_.stop();
  });
}

}  // namespace tillsync
