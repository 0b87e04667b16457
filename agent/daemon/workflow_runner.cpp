#include "agent/daemon/workflow_runner.h"

#include <boost/asio/post.hpp>

#include "agent/logging/log.h"
#include "agent/logging/log_context.h"

namespace tillsync {

namespace asio = boost::asio;
constexpr std::chrono::milliseconds kProgressInterval{250};

namespace {
// {uuid, step, percent, bytes, items, rate, eta_ms}
Json notification(const Uuid& workflow, Json progress) {
  progress["uuid"] = workflow.str();
  return progress;
}
}  // namespace

WorkflowRunner::WorkflowRunner(asio::io_context& loop, asio::thread_pool& workers, WorkflowEngine& engine, Clock& clock)
    : loop_(loop), workers_(workers), backups_(workers.get_executor()), engine_(engine), clock_(clock), ticker_(loop) {}

Result<void> WorkflowRunner::resume() {
  TILLSYNC_LET(auto unfinished, engine_.resume_unfinished());
  for (auto& workflow : unfinished) {
    log::info("workflow {} goes on where it stopped", workflow.uuid.str());
    start(workflow.uuid);
  }
  return {};
}

void WorkflowRunner::start(const Uuid& workflow) {
  auto record = engine_.describe(workflow);
  bool backup = record && record->type == WorkflowType::backup;
  auto work = [this, workflow] { run(workflow); };
  if (backup) {
    asio::post(backups_, work);
  } else {
    asio::post(workers_, work);
  }
}

void WorkflowRunner::between_backups(std::function<void()> work) {
  asio::post(backups_, [work = std::move(work)] {
    try {
      work();
    } catch (const std::exception& bug) {
      log::error("work between backups stopped by a fault: {}", bug.what());
    }
  });
}

void WorkflowRunner::run(const Uuid& workflow) {
  const LogContext about("workflow", workflow.str());
  Timestamp again = clock_.now() + std::chrono::seconds(5);
  try {
    auto outcome = engine_.run(workflow);
    if (outcome) {
      if (outcome->state == RunOutcome::State::interrupted) return;
      if (outcome->state != RunOutcome::State::waiting) {
        if (outcome->error) log::warn("workflow {}: {}", workflow.str(), outcome->error->context);
        auto record = engine_.describe(workflow);
        if (backup_completed_ && record && record->type == WorkflowType::backup &&
            record->status == WorkflowStatus::completed)
          backup_completed_();
        finished(workflow);
        if (ended_) ended_();
        return;
      }
      if (outcome->error)
        log::info("workflow {} tries again at {}: {}", workflow.str(), to_rfc3339(outcome->not_before),
                  outcome->error->context);
      again = outcome->not_before;
    } else {
      log::warn("workflow {}: {}", workflow.str(), outcome.error().context);
    }
  } catch (const std::exception& bug) {
    log::error("workflow {} stopped by a fault and begins again: {}", workflow.str(), bug.what());
  }
  auto wait = std::max(again - clock_.now(), std::chrono::milliseconds(1));
  auto timer = std::make_shared<asio::steady_timer>(loop_, wait);
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  waiting_[workflow] = timer;
  timer->async_wait([this, workflow, timer](boost::system::error_code cancelled) {
    if (!cancelled) start(workflow);
  });
}

void WorkflowRunner::answer(const Uuid& workflow, const Responder& responder) {
  auto record = engine_.describe(workflow);
  if (!record) return responder.error(record.error());
  Json document{{"status", std::string(to_string(record->status))}};
  if (record->status == WorkflowStatus::completed) {
    document["result"] = result_of(*record);
  } else {
    document["error"] = {{"kind", std::string(to_string(record->error_kind.value_or(ErrorKind::cancelled)))},
                         {"message", record->error.value_or("cancelled")}};
  }
  responder.result(document);
}

void WorkflowRunner::finished(const Uuid& workflow) {
  std::vector<Responder> done;
  {
    std::lock_guard lock(mutex_);
    auto [from, to] = watchers_.equal_range(workflow);
    for (auto it = from; it != to; ++it) done.push_back(it->second);
    watchers_.erase(from, to);
    auto waiting = waiting_.find(workflow);
    if (waiting != waiting_.end()) {
      waiting->second->cancel();
      waiting_.erase(waiting);
    }
  }
  for (auto& responder : done) answer(workflow, responder);
}

void WorkflowRunner::watch(const Uuid& workflow, Responder responder) {
  {
    std::lock_guard lock(mutex_);
    watchers_.emplace(workflow, responder);
  }
  auto record = engine_.describe(workflow);
  // It may have ended before it was watched.
  if (!record || is_final(record->status)) return finished(workflow);
  // How far it was before a restart, or before it began to wait.
  if (!engine_.progress(workflow) && record->progress.is_object())
    responder.notify("progress", notification(workflow, record->progress));
  asio::post(loop_, [this] {
    if (!std::exchange(ticking_, true)) tick();
  });
}

void WorkflowRunner::tick() {
  {
    std::lock_guard lock(mutex_);
    std::erase_if(watchers_, [](auto& entry) { return !entry.second.is_wanted(); });
    if (watchers_.empty() || stopping_) {
      ticking_ = false;
      return;
    }
    for (auto& [workflow, responder] : watchers_)
      if (auto progress = engine_.progress(workflow))
        responder.notify("progress", notification(workflow, to_json(*progress)));
  }
  ticker_.expires_after(kProgressInterval);
  ticker_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) tick();
  });
}

Result<void> WorkflowRunner::cancel(const Uuid& workflow) {
  TILLSYNC_TRY(engine_.cancel(workflow));
  // One that waited for its next try has ended now; one that runs ends by itself.
  auto record = engine_.describe(workflow);
  if (record && is_final(record->status)) finished(workflow);
  return {};
}

void WorkflowRunner::stop() {
  engine_.stop();
  std::lock_guard lock(mutex_);
  stopping_ = true;
  for (auto& [workflow, timer] : waiting_) timer->cancel();
  waiting_.clear();
  watchers_.clear();
  ticker_.cancel();
}

}  // namespace tillsync
