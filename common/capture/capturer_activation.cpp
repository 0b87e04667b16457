// How a Capturer lets the agent replace the content of the application's database.
#include "base/checks.h"
#include "capture/capturer.h"
#include "dbfile/record.h"

namespace tillsync {

using std::chrono::milliseconds;

namespace {
constexpr milliseconds kTryAgain{20};
constexpr std::chrono::hours kActivationMax{1};
// Above any change of schema that the application makes meanwhile, and no number that two restores share by chance.
constexpr uint32_t kCookieStep = 0x10000, kCookieSpread = 0x4000;
constexpr int kCaptureAttempts = 1000;
}  // namespace

void Capturer::request_activation(ActivationRequest request, std::function<void(Result<void>)> callback) {
  std::lock_guard lock(mutex_);
  activations_.push_back({std::move(request), std::move(callback), {}});
}

void Capturer::end_activation(Result<void> outcome) {
  auto done = std::move(taken_activations_.front());
  taken_activations_.erase(taken_activations_.begin());
  done.callback(std::move(outcome));
}

// One try: the writer lock is asked for without waiting, so that capture goes on between two tries.
Result<milliseconds> Capturer::try_activation() {
  TakenActivation& taken = taken_activations_.front();
  const ActivationRequest& request = taken.request;
  auto now = setup_.clock->steady_now();
  if (taken.until == Steady::time_point{}) taken.until = now + request.patience;
  if (request.cancelled()) return end_activation(Error{ErrorKind::cancelled, 0, "cancelled"}), milliseconds(0);
  auto opened = AppDatabase::open(setup_.path, AppDatabase::Use::checkpoint);
  if (!opened) return end_activation(std::move(opened).error()), milliseconds(0);
  AppDatabase& live = *opened;
  // What is more than the cache holds goes to the application's log, or its file behind its journal, before the commit.
  TILLSYNC_TRY(live.connection().execute("PRAGMA synchronous=FULL; PRAGMA cache_size=-4096"));
  auto locked = live.begin_immediate();
  if (!locked && locked.error().kind == ErrorKind::transient) {
    if (now < taken.until) return kTryAgain;
    const std::string who = setup_.who_holds ? setup_.who_holds(setup_.path) : "";
    end_activation(Error{ErrorKind::timeout, 0,
                         setup_.path + ": " + (who.empty() ? "another program" : who) + " has been writing for " +
                             std::to_string(request.patience.count() / 1000) +
                             " s; nothing was changed. End its transaction, or the program, and restore again"});
    return milliseconds(0);
  }
  if (!locked) return end_activation(std::move(locked).error()), milliseconds(0);
  // Everything before it is in the log. Where the database can't be read, nothing is to be captured.
  auto caught_up = damage_ ? Result<bool>(true) : capture_all_under_lock();
  if (!caught_up || !*caught_up) {
    live.rollback();
    if (!caught_up) return std::move(caught_up).error();
    return milliseconds(0);
  }
  // A commit of gigabytes, on a cheap disk.
  WorkPulse::Quiet writing(pulse_, kActivationMax);
  auto done = replace_content(live, request);
  if (!done) live.rollback();
  end_activation(std::move(done));
  return milliseconds(0);
}

// False: only a scan can tell what happened before; after it, once more.
Result<bool> Capturer::capture_all_under_lock() {
  if (scan_mode_) {
    last_scan_ = {};
    TILLSYNC_TRY(scan_round());
    return scan_mode_;
  }
  for (int i = 0; i < kCaptureAttempts; i++) {
    bool any = false;
    TILLSYNC_TRY(capture_frames(any, false));
    if (!continuous_) return false;
    if (behind_) continue;
    TILLSYNC_LET(FrameNo left, frames_left());
    if (left == 0) return true;
  }
  return false;
}

Result<void> Capturer::replace_content(AppDatabase& live, const ActivationRequest& request) {
  Connection& db = live.connection();
  TILLSYNC_LET(int64_t cookie, db.query_integer("PRAGMA schema_version"));
  uint8_t spread[4];
  setup_.random->fill(spread);
  PendingActivation pending;
  pending.workflow = request.workflow;
  pending.schema_cookie =
      std::max(static_cast<uint32_t>(cookie), request.schema_cookie_min) + kCookieStep + be32(spread) % kCookieSpread;
  pending.restored_sequence = request.restored_sequence;
  pending.state = request.state;
  Value text;
  text.type = ValueType::text;
  text.bytes = as_bytes(request.description);
  RecordWriter record;
  record.add(text);
  record.finish(pending.record);
  auto forget = [&] {
    if (ingest_) ingest_->expect_activation(std::nullopt);
    auto state = setup_.state->lease();
    (void)clear_pending_activation(*state, setup_.database_id).has_value();
  };
  TILLSYNC_TRY(request.write(db, pending.schema_cookie));
  TILLSYNC_TRY(write_pending_activation(*setup_.state->lease(), setup_.database_id, pending));
  // A power cut after the commit must not make an ordinary transaction of it.
  auto durable = setup_.state->make_durable();
  if (!durable) return forget(), std::move(durable);
  if (ingest_) ingest_->expect_activation(pending);
  auto committed = db.execute("COMMIT");
  if (!committed) return forget(), std::move(committed).with("commit the restored content");
  if (damage_) {
    // It is another database now: looked at in the next round.
    damage_.reset();
    rebuild_ = true;
    detach();
  }
  return {};
}

}  // namespace tillsync
