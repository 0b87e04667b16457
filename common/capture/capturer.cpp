#include "capture/capturer.h"

#include <algorithm>

#include "base/checks.h"

namespace tillsync {

using std::chrono::milliseconds;

namespace {
constexpr milliseconds kJournalPatience{2000}, kHeldWait{60000};
constexpr milliseconds kDamageWaitMin{30000}, kDamageWaitMax{300000}, kDamageWaitAsked{10000};
}  // namespace

Capturer::Capturer(Setup setup) : setup_(std::move(setup)) {
  status_.name = setup_.name;
  status_.path = setup_.path;
  last_news_ = setup_.clock->steady_now();
}

Capturer::~Capturer() { stop(); }

Ingest::Setup Capturer::ingest_setup() {
  return {setup_.files, setup_.state, setup_.clock, setup_.folder, setup_.database_id, session_id_, &pulse_};
}

Result<void> Capturer::open_session() {
  auto db = setup_.state->lease();
  TILLSYNC_LET(auto insert,
               db->prepare("INSERT INTO capture_sessions(database_id, uuid, started_at) VALUES(?,?,?) RETURNING id"));
  insert.bind(1, setup_.database_id)
      .bind(2, make_uuid_v7(*setup_.clock, *setup_.random).str())
      .bind(3, to_ms(setup_.clock->now()));
  TILLSYNC_LET(bool row, insert.step());
  TILLSYNC_CHECK(row);
  const int64_t id = insert.integer(0);
  // The commit comes after the row, and may fail.
  TILLSYNC_TRY(insert.run());
  session_id_ = id;
  return {};
}

void Capturer::hold(std::optional<CaptureHold> why, std::function<void()> released) {
  std::lock_guard lock(mutex_);
  held_ = std::move(why);
  if (released) on_released_.push_back(std::move(released));
  if (held_)
    pulse_.stop();
  else if (!interrupted_)
    pulse_.go_on();
}

void Capturer::interrupt() {
  std::lock_guard lock(mutex_);
  interrupted_ = true;
  pulse_.stop();
}

void Capturer::tell_released() {
  std::vector<std::function<void()>> released;
  {
    std::lock_guard lock(mutex_);
    released.swap(on_released_);
  }
  for (auto& tell : released) tell();
}

milliseconds Capturer::rest_while_held(const CaptureHold& why) {
  detach();
  take_requests();
  fail_requests(why.error);
  while (!taken_activations_.empty()) end_activation(why.error);
  set_problem(why.problem);
  publish("paused");
  tell_released();
  return kHeldWait;
}

milliseconds Capturer::step() {
  std::optional<CaptureHold> held;
  pulse_.beat();
  {
    std::lock_guard lock(mutex_);
    held = held_;
  }
  if (held) return rest_while_held(*held);
  tell_released();  // of a hold that was over before it was seen
  auto wait = round();
  if (wait) {
    failures_ = 0;
    return *wait;
  }
  return report(std::move(wait).error());
}

milliseconds Capturer::report(Error error) {
  failures_++;
  detach();
  // An obstacle on the application's side leaves what we hold as it was at the last commit; anything else is read anew.
  bool ours_untouched =
      ingest_ && ingest_->between_batches() &&
      (error.kind == ErrorKind::transient || error.kind == ErrorKind::not_found || error.kind == ErrorKind::denied);
  if (!ours_untouched) {
    if (ingest_) ingest_->invalidate_pins();
    ingest_.reset();
  }
  if (error.kind == ErrorKind::cancelled) return milliseconds(0);
  // A checkpoint or a fast writer in the way is no problem to tell anyone about, until it lasts.
  bool tell = error.kind != ErrorKind::transient || failures_ > 20;
  fail_requests(error);
  // First everything is compared anew. Where that fails as well, one of the two sides is damaged.
  if (error.kind == ErrorKind::corrupt && (failures_ >= 2 || damage_)) {
    if (rebuild_) {
      const bool in_doubt = !damage_ && !copy_lost_;
      const auto sound = in_doubt ? copy_is_sound() : true;
      // Told to stop while it was looked at: decided another time.
      if (!sound) return milliseconds(0);
      if (*sound)
        find_damaged(error);
      else
        lose_copy(error);
    }
    rebuild_ = true;
  }
  if (tell) {
    set_problem(capture_problem(error, setup_.path));
    publish("failed");
  }
  if (error.kind == ErrorKind::transient) return milliseconds(std::min(20 * failures_, 1000));
  if (error.kind == ErrorKind::corrupt && damage_) return damage_wait_;
  if (error.kind == ErrorKind::corrupt && failures_ <= 4) return milliseconds(200);
  return milliseconds(std::min(1000 * failures_, 30000));
}

Result<milliseconds> Capturer::round() {
  // First, so that whoever asks is told why nothing can be captured.
  take_requests();
  if (session_id_ == 0) TILLSYNC_TRY(open_session());
  auto now = setup_.application->stat(setup_.path);
  if (!now) return std::move(now).error();
  // Replaced under its name: what we have open is the old file.
  if (tail_ && now->inode != attached_inode_) detach();
  // A damaged database is restored as it is.
  if (damage_ && !taken_activations_.empty()) return try_activation();
  if (auto wait = rest_while_damaged(*now)) return *wait;
  bool asked = !taken_cuts_.empty() || !taken_captures_.empty() || !taken_activations_.empty();
  if (idle_ && !asked) {
    TILLSYNC_LET(Identity current, identity());
    // The application may open and close, and make an empty -wal: no reason to come back.
    if (current == idle_identity_ || (current.same_database(idle_identity_) && current.wal_size == 0))
      return milliseconds(60000);
  }
  if (idle_ && asked && taken_activations_.empty() && identity_or_none() == idle_identity_) {
    answer_requests();
    return milliseconds(60000);
  }
  idle_ = false;
  if (scan_mode_ && ingest_ && !asked) {
    // Events of a database without a WAL come in the middle of the application's own transaction: a look now would hold
    // a lock it needs. Only the interval counts.
    auto due = last_scan_ + setup_.scan_interval, at = setup_.clock->steady_now();
    if (at < due) return std::chrono::ceil<milliseconds>(due - at);
    // A journal is there: someone is writing this moment.
    auto journal = setup_.application->stat(setup_.path + "-journal");
    if (journal && journal->size > 0 && at < due + kJournalPatience) return milliseconds(20);
  }
  if (!ingest_) TILLSYNC_TRY(load_copy());
  if (!tail_) TILLSYNC_TRY(attach());
  if (ingest_) ingest_->log().set_dependency_floor(dependency_floor_);
  TILLSYNC_LET(milliseconds wait, scan_mode_ ? scan_round() : wal_round());
  // Let go, or a gap: nothing was captured in this round, and nobody's request is answered by it.
  if (!scan_mode_ && !idle_ && !(tail_ && continuous_)) return wait;
  if (!scan_mode_ && !idle_ && behind_) return milliseconds(0);
  damage_.reset();
  set_problem(std::nullopt);
  publish(idle_ ? "idle" : scan_mode_ ? "scan" : "wal");
  answer_requests();
  if (!taken_activations_.empty() && ingest_ && (scan_mode_ || tail_)) return try_activation();
  return wait;
}

Result<void> Capturer::load_copy() {
  if (copy_lost_) return {};
  auto loaded = Ingest::load(ingest_setup());
  if (loaded) return ingest_ = std::move(*loaded), Result<void>();
  if (loaded.error().kind != ErrorKind::not_found && loaded.error().kind != ErrorKind::corrupt)
    return std::move(loaded).error();
  // Without it capture would stand still for ever; with a new one only the changes since the last commit have no rows.
  lose_copy(loaded.error());
  return {};
}

void Capturer::lose_copy(const Error& why) {
  copy_lost_ = true;
  if (setup_.on_copy_lost) setup_.on_copy_lost(why);
}

// Whether our copy parses and is what the log has counted: then the damage is not ours. nullopt: that could not be
// found out.
std::optional<bool> Capturer::copy_is_sound() {
  auto copy = Ingest::load(ingest_setup());
  // Without a baseline there is nothing of ours to be damaged.
  if (copy && !*copy) return true;
  if (!copy) return false;
  auto checked = (*copy)->check_copy();
  if (!checked && checked.error().kind == ErrorKind::cancelled) return std::nullopt;
  return checked.has_value();
}

void Capturer::find_damaged(const Error& why) {
  const bool found = !damage_;
  damage_wait_ = found ? kDamageWaitMin : std::min(2 * damage_wait_, kDamageWaitMax);
  damage_ = why;
  damage_seen_ = setup_.clock->steady_now();
  auto info = setup_.application->stat(setup_.path);
  damaged_inode_ = info ? info->inode : 0;
  if (found && setup_.on_damaged) setup_.on_damaged(why);
}

// To look whether it was repaired means to read all of it: not with every sale that is written meanwhile. A file that
// was put in its place, and a person who asks, are reasons.
std::optional<milliseconds> Capturer::rest_while_damaged(const FileInfo& now) {
  if (!damage_ || now.inode != damaged_inode_) return std::nullopt;
  const auto since = setup_.clock->steady_now() - damage_seen_;
  const bool asked = !taken_cuts_.empty() || !taken_captures_.empty();
  if (since >= (asked ? std::min<Steady::duration>(damage_wait_, kDamageWaitAsked) : damage_wait_)) return std::nullopt;
  fail_requests(*damage_);
  return std::chrono::ceil<milliseconds>(damage_wait_ - since);
}

Result<void> Capturer::attach() {
  if (setup_.may_open) TILLSYNC_TRY(setup_.may_open(setup_.path));
  TILLSYNC_LET(auto info, setup_.application->stat(setup_.path));
  // Looked at first, because opening an empty or foreign file with SQLite says less about what it is.
  TILLSYNC_LET(auto probe, AppDatabase::open(setup_.path, AppDatabase::Use::read));
  TILLSYNC_TRY(probe.begin_read());
  TILLSYNC_LET(auto mode, probe.journal_mode());
  if (info.size > 0) {
    TILLSYNC_LET(auto reader, DatabaseReader::create(probe));
    if (reader->page_count() > 0) {
      TILLSYNC_LET(PageRef first, reader->page(1));
      TILLSYNC_LET(DatabaseHeader header, DatabaseHeader::parse(first.view()));
      std::lock_guard lock(mutex_);
      status_.writer_sqlite_version = header.sqlite_version;
    }
  }
  probe.end_read();
  scan_mode_ = mode != "wal";
  attached_inode_ = info.inode;
  if (scan_mode_) return {};
  TILLSYNC_LET(tail_, WalTail::attach(setup_.path));
  continuous_ = false;
  last_news_ = setup_.clock->steady_now();
  backoff_ = 0;
  if (!ingest_ || ingest_->position().source != CapturePosition::Source::wal || rebuild_) return {};
  TILLSYNC_LET(continuous_, tail_->holds(ingest_->position().wal));
  if (continuous_) return {};
  // The database file is as it was when everything had been captured and checkpointed: whatever happened since is in
  // the log, from its first frame on.
  TILLSYNC_LET(auto before, stored_identity());
  TILLSYNC_LET(Identity current, identity());
  if (before && before->same_database(current)) {
    TILLSYNC_LET(WalIndexView view, tail_->look());
    CapturePosition position = ingest_->position();
    position.wal = {{view.header.salts.salt1 - 1, 0}, 0, {}};
    TILLSYNC_TRY(ingest_->commit(position));
    // Checked again: a checkpoint between the two looks would have moved frames we have not seen.
    TILLSYNC_LET(Identity again, identity());
    continuous_ = again.same_database(current);
  }
  return {};
}

void Capturer::detach() {
  tail_.reset();
  nothing_after_.reset();
  scan_mode_ = false;
  continuous_ = false;
  // After an error as well: files that look as they did when they were let go are no proof that it is over.
  idle_ = false;
}

void Capturer::stop() {
  detach();
  tell_released();
  take_requests();
  taken_cuts_.clear();
  taken_captures_.clear();
  taken_activations_.clear();
  if (ingest_) ingest_->invalidate_pins();
  ingest_.reset();
}

}  // namespace tillsync
