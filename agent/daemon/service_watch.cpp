#include "agent/daemon/service_watch.h"

#include "agent/logging/log.h"

namespace tillsync {

namespace {
constexpr std::chrono::seconds kLookEvery{10};
}

void ServiceWatch::start(const std::string& status) {
  if (!manager_) return;
  manager_->ready(told_ = status);
  tick();
}

void ServiceWatch::tick() {
  const auto now = std::chrono::steady_clock::now();
  if (now >= look_due_ && !asked_) {
    look_due_ = now + kLookEvery;
    asked_ = true;
    look_();
  }
  auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(kLookEvery);
  const auto patience = manager_->patience();
  if (patience > std::chrono::milliseconds(0)) {
    const std::string hung = hung_(kHungAfter * patience);
    if (hung.empty()) manager_->alive();
    if (!hung.empty() && !told_hung_) {
      log::critical("{} shows no progress any more; the service manager is left to end this agent", hung);
      manager_->status(told_ = hung + " hangs");
    }
    told_hung_ = !hung.empty();
    pause = std::min(pause, patience / 3);
  }
  timer_.expires_after(pause);
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) tick();
  });
}

void ServiceWatch::say(const std::string& status) {
  asked_ = false;
  if (manager_ && !told_hung_ && status != told_) manager_->status(told_ = status);
}

void ServiceWatch::reloading() {
  if (manager_) manager_->reloading();
}

void ServiceWatch::reloaded() {
  if (manager_) manager_->ready(told_);
}

void ServiceWatch::stop(bool for_good) {
  timer_.cancel();
  if (manager_ && for_good) manager_->stopping();
}

}  // namespace tillsync
