#include "agent/daemon/capture_pause.h"

#include "agent/logging/log.h"
#include "base/json.h"

namespace tillsync {

namespace {
constexpr const char* kSetting = "pause";

std::string in_words(const Pause& pause) {
  const auto until = pause.until();
  return "capture is paused " + (until ? "until " + to_rfc3339(*until) : "until it is resumed");
}

CaptureHold hold_for(const Pause& pause) {
  const std::string words = in_words(pause);
  const std::string remedy = "'tillsync resume' goes on at once; what was sold meanwhile is captured then";
  return {Error{ErrorKind::conflict, 0, words + " ('tillsync resume' ends that)"},
          {"paused", words + "; new sales are in the database only", remedy}};
}
}  // namespace

Result<void> CapturePause::restore() {
  TILLSYNC_LET(auto text, state_.setting(kSetting));
  if (!text || text->empty()) return {};
  const Json record = Json::parse(*text, nullptr, false);
  if (!record.is_object() || !record.contains("since") || !record.at("since").is_number_integer())
    return Error{ErrorKind::corrupt, 0, "state.db: the record of a pause can't be read: " + *text};
  Pause pause{from_ms(record.at("since").get<int64_t>()), std::nullopt};
  const Timestamp now = clock_.now();
  std::chrono::steady_clock::time_point ends{};
  if (record.contains("length_ms") && record.at("length_ms").is_number_integer()) {
    pause.length = Milliseconds(record.at("length_ms").get<int64_t>());
    // A clock that was set back must not make a longer pause of it.
    if (pause.since > now) pause.since = now;
    if (now >= *pause.until()) return resume();
    ends = clock_.steady_now() + (*pause.until() - now);
  }
  {
    std::lock_guard lock(mutex_);
    pause_ = pause;
    ends_ = pause.length ? std::optional(ends) : std::nullopt;
  }
  hold(pause, {});
  log::warn("{}", in_words(pause));
  return {};
}

void CapturePause::hold(const Pause& pause, const std::function<void()>& released) {
  const CaptureHold why = hold_for(pause);
  auto open = std::make_shared<std::atomic<size_t>>(databases_.size());
  std::function<void()> one;
  if (released)
    one = [open, released] {
      if (--*open == 0) released();
    };
  for (auto* database : databases_) database->hold(FollowedDatabase::HeldBy::person, why, one);
}

Result<Pause> CapturePause::pause(std::optional<Milliseconds> length, std::function<void()> released) {
  std::lock_guard change(change_mutex_);
  const Pause pause{clock_.now(), length};
  Json record{{"since", to_ms(pause.since)}};
  if (length) record["length_ms"] = length->count();
  TILLSYNC_TRY(state_.set_setting(kSetting, record.dump()));
  // It must hold after the restart that an installer asks for.
  TILLSYNC_TRY(state_.make_durable());
  {
    std::lock_guard lock(mutex_);
    pause_ = pause;
    ends_ = length ? std::optional(clock_.steady_now() + *length) : std::nullopt;
  }
  hold(pause, released);
  log::warn("{}", in_words(pause));
  return pause;
}

Result<void> CapturePause::resume() {
  std::lock_guard change(change_mutex_);
  TILLSYNC_LET(auto recorded, state_.setting(kSetting));
  if (recorded && !recorded->empty()) {
    TILLSYNC_TRY(state_.set_setting(kSetting, ""));
    TILLSYNC_TRY(state_.make_durable());
  }
  {
    std::lock_guard lock(mutex_);
    if (!std::exchange(pause_, std::nullopt)) return {};
    ends_.reset();
  }
  for (auto* database : databases_) database->hold(FollowedDatabase::HeldBy::person, std::nullopt);
  log::info("capture goes on after a pause");
  if (resumed_) resumed_();
  return {};
}

Result<void> CapturePause::look() {
  {
    std::lock_guard lock(mutex_);
    if (!pause_ || !ends_) return {};
    // The machine may have slept: then only the wall clock has gone on.
    if (clock_.steady_now() < *ends_ && clock_.now() < *pause_->until()) return {};
  }
  return resume();
}

std::optional<Pause> CapturePause::current() const {
  std::lock_guard lock(mutex_);
  return pause_;
}

}  // namespace tillsync
