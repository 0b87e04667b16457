#include "agent/daemon/state_feed.h"

#include <boost/asio/post.hpp>

namespace tillsync {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

void StateFeed::watch(Responder watcher) {
  if (stopped_) return;
  watched_ = true;
  new_watchers_.push_back(std::move(watcher));
  if (looking_)
    again_ = true;
  else
    look();
}

void StateFeed::poke() {
  // Each sale asks: while nobody watches, that wakes nobody.
  if (!watched_ || poked_.exchange(true)) return;
  asio::post(loop_, [this] {
    poked_ = false;
    look_soon();
  });
}

void StateFeed::look_soon() {
  if (stopped_ || (watchers_.empty() && new_watchers_.empty())) return;
  if (looking_) {
    again_ = true;
    return;
  }
  const auto due = looked_at_ + kBusyLook;
  if (Steady::now() >= due) return look();
  if (timer_.expiry() <= due && timer_.expiry() > Steady::now()) return;
  timer_.expires_at(due);
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) look();
  });
}

void StateFeed::look() {
  if (stopped_ || looking_) return;
  looking_ = true;
  looked_at_ = Steady::now();
  look_([this](Result<Json> state) { told(std::move(state)); });
}

void StateFeed::told(Result<Json> state) {
  looking_ = false;
  if (stopped_) return;
  const auto gone = [](const Responder& watcher) { return !watcher.is_wanted(); };
  std::erase_if(watchers_, gone);
  std::erase_if(new_watchers_, gone);
  bool busy = std::exchange(again_, false);
  if (state) {
    const bool changed = *state != last_;
    last_ = std::move(*state);
    if (changed)
      for (auto& watcher : watchers_) watcher.notify("state", last_);
    for (auto& watcher : new_watchers_) {
      watcher.notify("state", last_);
      watchers_.push_back(std::move(watcher));
    }
    new_watchers_.clear();
    busy |= last_.at("state") == "working";
  }
  watched_ = !watchers_.empty() || !new_watchers_.empty();
  if (!watched_) return;
  timer_.expires_at(looked_at_ + (busy ? kBusyLook : kIdleLook));
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) look();
  });
}

void StateFeed::stop() {
  stopped_ = true;
  timer_.cancel();
  watchers_.clear();
  new_watchers_.clear();
}

Json terminal_state(const Json& status) {
  int64_t waiting = 0;
  Json safe_until = nullptr, newest = nullptr;
  for (auto& database : status.at("databases")) {
    waiting += database.at("lag_actions").get<int64_t>();
    const Json& oldest = database.at("waiting_since");
    // RFC 3339 in UTC sorts as it is.
    if (!oldest.is_null() && (safe_until.is_null() || oldest < safe_until)) safe_until = oldest;
    const Json& last = database.at("last_capture_at");
    if (!last.is_null() && (newest.is_null() || last > newest)) newest = last;
  }
  if (safe_until.is_null()) safe_until = newest;
  Json last_backup = nullptr;
  for (const char* kind : {"last_full", "last_incremental", "last_differential"}) {
    const Json& snapshot = status.at("snapshots").at(kind);
    if (snapshot.is_null()) continue;
    if (last_backup.is_null() || snapshot.at("created_at") > last_backup) last_backup = snapshot.at("created_at");
  }
  bool attention = false;
  for (auto& problem : status.at("problems")) attention |= problem.at("severity") == "problem";
  const Json& paused = status.at("paused");
  const char* state = !paused.is_null()                  ? "paused"
                      : attention                        ? "attention"
                      : !status.at("workflow").is_null() ? "working"
                                                         : "ok";
  return {{"state", state},
          {"last_backup_at", last_backup},
          {"waiting", waiting},
          {"safe_until", safe_until},
          {"paused_until", paused.is_null() ? Json(nullptr) : paused.at("until")},
          {"workflow", status.at("workflow")},
          {"problems", status.at("problems")}};
}

}  // namespace tillsync
