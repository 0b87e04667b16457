#include "agent/daemon/followed_database.h"

#include "agent/daemon/thread_name.h"
#include "agent/logging/log.h"
#include "agent/logging/log_context.h"
#include "base/checks.h"

namespace tillsync {

using std::chrono::milliseconds;

Result<std::unique_ptr<FollowedDatabase>> FollowedDatabase::create(const Services& services,
                                                                   const DatabaseConfig& config, Events events) {
  std::unique_ptr<FollowedDatabase> database(new FollowedDatabase(services, config));
  {
    auto db = services.state->lease();
    TILLSYNC_LET(auto insert, db->prepare("INSERT INTO databases(name, path, epoch, created_at) VALUES(?,?,?,?) ON "
                                          "CONFLICT(name) DO UPDATE SET path=excluded.path RETURNING id"));
    insert.bind(1, config.name).bind(2, config.path).bind(3, services.epoch).bind(4, to_ms(services.clock->now()));
    TILLSYNC_LET(bool row, insert.step());
    TILLSYNC_CHECK(row);
    database->id_ = insert.integer(0);
    // The commit comes after the row, and may fail.
    TILLSYNC_TRY(insert.run());
  }
  Capturer::Setup setup;
  setup.name = config.name;
  setup.path = config.path;
  setup.database_id = database->id_;
  setup.files = setup.application = services.files;
  setup.state = services.state;
  setup.clock = services.clock;
  setup.random = services.random;
  setup.folder = services.config->terminal.state_dir + "/databases/" + config.name;
  setup.scan_interval = config.scan_interval;
  setup.idle_release = config.idle_release;
  setup.note_commit_times = services.config->databases.size() > 1;
  setup.wal_bytes_max = services.config->limits.wal;
  setup.wal_bytes_hard = services.config->limits.wal_hard;
  setup.free_space_min = services.config->limits.min_free;
  setup.who_holds = services.who_holds;
  setup.may_open = services.may_open;
  setup.on_commit = std::move(events.committed);
  setup.on_idle = std::move(events.idle);
  setup.on_barrier = [raw = database.get(), changed = std::move(events.schema_changed)] {
    if (changed) changed(*raw);
  };
  setup.on_copy_lost = [name = config.name](const Error& why) {
    log::error("{}: our copy of the database is lost: {}; a new one is made, and a snapshot follows", name,
               why.context);
  };
  setup.on_damaged = [raw = database.get(), damaged = std::move(events.damaged)](const Error& why) {
    log::error("{}: the database is damaged: {}; capture of it stops, a snapshot of its pages is made",
               raw->config().name, why.context);
    if (damaged) damaged(*raw);
  };
  database->problem_changed_ = std::move(events.problem);
  database->capturer_ = std::make_unique<Capturer>(std::move(setup));
  return database;
}

FollowedDatabase::~FollowedDatabase() { stop(); }

void FollowedDatabase::start() {
  thread_ = std::thread([this] { run(); });
}

void FollowedDatabase::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  capturer_->interrupt();
  wake();
  thread_.join();
  capturer_->stop();
}

void FollowedDatabase::wake() {
  std::lock_guard lock(notifier_mutex_);
  if (notifier_) notifier_->wake();
}

void FollowedDatabase::request_cut(Capturer::CutCallback callback) {
  capturer_->request_cut(std::move(callback));
  wake();
}

void FollowedDatabase::request_capture(std::function<void(Result<Sequence>)> callback) {
  capturer_->request_capture(std::move(callback));
  wake();
}

void FollowedDatabase::request_activation(ActivationRequest request, std::function<void(Result<void>)> callback) {
  capturer_->request_activation(std::move(request), std::move(callback));
  wake();
}

void FollowedDatabase::hold(HeldBy by, std::optional<CaptureHold> why, std::function<void()> released) {
  {
    std::lock_guard lock(hold_mutex_);
    if (why)
      holds_.insert_or_assign(by, std::move(*why));
    else
      holds_.erase(by);
    std::function<void()> all_released;
    if (released) all_released = [this, released = std::move(released)] { when_unused(released); };
    capturer_->hold(holds_.empty() ? std::nullopt : std::optional(holds_.begin()->second), std::move(all_released));
  }
  wake();
}

bool FollowedDatabase::is_paused() const {
  std::lock_guard lock(hold_mutex_);
  return holds_.contains(HeldBy::person);
}

Result<FollowedDatabase::FilesInUse> FollowedDatabase::use_files() {
  std::lock_guard lock(hold_mutex_);
  if (auto held = holds_.find(HeldBy::person); held != holds_.end()) return held->second.error;
  files_used_++;
  return FilesInUse(this, [this](void*) { leave_files(); });
}

void FollowedDatabase::leave_files() {
  std::vector<std::function<void()>> callbacks;
  {
    std::lock_guard lock(hold_mutex_);
    if (--files_used_ == 0) callbacks.swap(when_unused_);
  }
  for (auto& callback : callbacks) callback();
}

void FollowedDatabase::when_unused(std::function<void()> callback) {
  {
    std::lock_guard lock(hold_mutex_);
    if (files_used_ > 0) return when_unused_.push_back(std::move(callback));
  }
  callback();
}

bool FollowedDatabase::goes_on(milliseconds patience) {
  const auto now = std::chrono::steady_clock::now();
  const uint64_t beats = capturer_->pulse().beats();
  if (beats != beats_seen_) {
    beats_seen_ = beats;
    beat_seen_at_ = now;
  }
  return now - beat_seen_at_ <= patience + capturer_->pulse().quiet();
}

milliseconds FollowedDatabase::step() {
  milliseconds wait(1000);
  try {
    wait = capturer_->step();
  } catch (const std::exception& bug) {
    log::error("{}: capture stopped by a fault and begins again: {}", config_.name, bug.what());
    capturer_->stop();
  }
  auto problem = capturer_->status().problem;
  if (problem && told_ != problem->text) log::warn("{}: {}; {}", config_.name, problem->text, problem->remedy);
  if (!problem && told_) log::info("{}: capture goes on", config_.name);
  const auto before = std::exchange(told_, problem ? std::optional(problem->text) : std::nullopt);
  if (problem_changed_ && before != told_) problem_changed_();
  return wait;
}

void FollowedDatabase::run() {
  name_this_thread("capture " + config_.name);
  const LogContext about("database", config_.name);
  while (!stopping_) {
    if (!notifier_) {
      auto made = services_.notifiers->watch(config_.path);
      if (made) {
        std::lock_guard lock(notifier_mutex_);
        notifier_ = std::move(*made);
      }
      // Without it (the folder is not there yet) the loop looks once a second.
    }
    const milliseconds wait = step();
    if (stopping_) break;
    WorkPulse::Quiet waiting(capturer_->pulse(), wait);
    if (notifier_) {
      // Without a wait as well: an event that is there ends the watch, which a busy writer pays for.
      if (notifier_->wait(wait) == ChangeNotifier::Event::changed) capturer_->changed();
    } else {
      std::this_thread::sleep_for(std::min(std::max(wait, milliseconds(10)), milliseconds(1000)));
    }
  }
}

}  // namespace tillsync
