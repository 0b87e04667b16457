#include "agent/daemon/agent.h"

#include <unistd.h>

#include <boost/asio/post.hpp>

#include "agent/daemon/control_methods.h"
#include "agent/daemon/give_back_memory.h"
#include "agent/daemon/leftovers.h"
#include "agent/daemon/metrics.h"
#include "agent/daemon/new_epoch.h"
#include "agent/keys/own_keys.h"
#include "agent/logging/log.h"
#include "crypto/sealed_store.h"
#include "store/open_store.h"

namespace tillsync {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::seconds kReadyAtLatest{10};
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

// With its keys, where the configuration wants it sealed; and tested, where it can be reached now. One that can't is
// tested before the first object goes there.
Result<void> Agent::seal_store() {
  TILLSYNC_LET(EstablishedKeys keys,
               establish_keys(config_, *ports_.files, *state_, services_.terminal, *ports_.clock, *ports_.random));
  if (!keys.ring) return {};
  services_.terminal.keys = keys.ring;
  auto sealed =
      std::make_unique<SealedStore>(std::move(store_), services_.terminal, std::move(keys.statements), *ports_.random);
  auto tested = sealed->prepare();
  if (!tested && tested.error().kind == ErrorKind::corrupt) return tested;
  if (!tested) log::warn("store: not tested yet: {}", tested.error().context);
  store_ = std::move(sealed);
  services_.store = store_.get();
  return {};
}

void Agent::fence_store() {
  claim_ = std::make_unique<EpochClaim>(services_, *store_, [this](const EpochLoss& loss) {
    log::error("epoch {} is lost: {}; this terminal goes on in a new one, and writes over nothing", services_.epoch,
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
  log::warn("the new epoch can't be begun yet: {}", begun.error().context);
  auto timer = std::make_shared<asio::steady_timer>(loop_, std::chrono::seconds(10));
  timer->async_wait([this, timer, loss](boost::system::error_code cancelled) {
    if (!cancelled) asio::post(*queries_, [this, loss] { leave_epoch(loss); });
  });
}

Result<void> Agent::open() {
  TILLSYNC_TRY(prepare_folders());
  vfs_ = std::make_unique<FileVfs>(*ports_.files, *ports_.clock, *ports_.random);
  TILLSYNC_LET(state_, StateDb::open(config_.terminal.state_dir + "/state.db", vfs_->name(), *ports_.clock));
  TILLSYNC_LET(auto store, make_store(config_.store, *ports_.files, *ports_.clock, *ports_.random));
  auto counted = std::make_unique<CountedStore>(std::move(store));
  counted_store_ = counted.get();
  store_ = std::move(counted);
  services_ = Services{&config_,         ports_.files,     ports_.clock, ports_.random,
                       ports_.notifiers, vfs_.get(),       state_.get(), store_.get(),
                       ports_.folders,   ports_.who_holds, {},           1,
                       &plans_};
  services_.may_open = ports_.may_open;
  TILLSYNC_LET(services_.terminal, establish_terminal(config_, *state_, *ports_.clock, *ports_.random));
  TILLSYNC_LET(services_.epoch, adopt_epoch(*state_));
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
  runner_->on_ended([this] {
    feed_.poke();
    give_back_memory(*state_);
  });
  std::vector<FollowedDatabase*> all;
  for (auto& config : config_.databases) {
    FollowedDatabase::Events events;
    events.committed = [this] {
      shipper_->captured();
      captured_lately_ = true;
      feed_.poke();
    };
    events.problem = [this] { feed_.poke(); };
    // Of a till that is closed for the night nothing is kept in memory that it does not need.
    events.idle = [this] {
      asio::post(*queries_, [this] {
        give_back_memory(*state_);
        give_back_code();
      });
    };
    events.schema_changed = [this](FollowedDatabase&) { cover_schema_changes(); };
    events.damaged = [this](FollowedDatabase& damaged) {
      asio::post(*queries_, [this, name = damaged.config().name] { back_up(name, "the database was found damaged"); });
    };
    TILLSYNC_LET(auto database, FollowedDatabase::create(services_, config, std::move(events)));
    all.push_back(database.get());
    databases_.push_back(std::move(database));
  }
  auto resumed = [this] {
    feed_.poke();
    make_due_fulls();
    cover_schema_changes();
    asio::post(loop_, [this] { poll_schedule(); });
  };
  pause_ = std::make_unique<CapturePause>(*state_, *ports_.clock, all, std::move(resumed));
  if (auto paused = pause_->restore(); !paused) log::error("{}", paused.error().context);
  transfers_ = std::make_unique<Transfers>(services_);
  transfers_->on_outcome([this] { feed_.poke(); });
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
    log::warn("{}; only root and this user can ask the agent until its next start", groups.error().context);
  TILLSYNC_LET(control_, ControlServer::listen(loop_, options));
  methods_ = std::make_unique<ControlMethods>(*this);
  methods_->install(*control_);
  metrics_ = std::make_unique<MetricsExport>(loop_, config_.metrics, [this](MetricsServer::Told told) {
    asio::post(*queries_, [this, told = std::move(told)] {
      Result<std::string> text = Error{ErrorKind::internal, 0, ""};
      if (auto status = methods_->status())
        text = metrics_text(*status, counted_store_->counts(), ports_.process_figures());
      else
        text = std::move(status).error();
      asio::post(loop_, [told, text = std::move(text)] { told(text); });
    });
  });
  return {};
}

Agent::Agent(const Config& config, const Ports& ports)
    : config_(config),
      applied_(config),
      ports_(ports),
      disk_(config.limits.min_free),
      watch_(
          loop_, ports.manager,
          [this] {
            asio::post(*queries_,
                       [this] { asio::post(loop_, [this, status = service_status()] { watch_.say(status); }); });
          },
          [this](Milliseconds patience) { return hung_capture(patience); }),
      feed_(loop_, [this](StateFeed::Told told) {
        asio::post(*queries_, [this, told = std::move(told)] {
          asio::post(loop_, [told, state = methods_->state()]() mutable { told(std::move(state)); });
        });
      }) {}
Agent::~Agent() = default;

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
  if (!resumed) log::error("workflows can't go on: {}", resumed.error().context);
  make_due_fulls();
  cover_schema_changes();
  poll_schedule();
  log::info("terminal {} ({}) follows {} database(s); store {}", services_.terminal.str(), config_.terminal.name,
            databases_.size(), config_.store.url);
  metrics_->start();
  say_ready(std::chrono::steady_clock::now() + kReadyAtLatest);
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
  if (!durable) log::warn("state.db: {}", durable.error().context);
  // Between two runs a signal does what it does to any process; one that came before is found here, or by the next.
  if (begins_again_ && ports_.signals) {
    while (const auto signal = ports_.signals->next())
      if (*signal == ProcessSignal::stop) is_told_to_stop_ = true;
    ports_.signals->listen(false);
  }
  const bool again = begins_again_ && !is_told_to_stop_;
  log::info("{}", again ? "beginning anew" : "stopped");
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
    ready_timer_.cancel();
    watch_.stop(is_told_to_stop_);
    feed_.stop();
    metrics_->stop();
    boost::system::error_code none_awaited;
    signals_.cancel(none_awaited);
    methods_->stop();
    control_->stop();
    loop_.stop();
  });
}

}  // namespace tillsync
