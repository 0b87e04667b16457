#include "agent/daemon/log_shipper.h"

#include <map>

#include "actionlog/log_merger.h"
#include "actionlog/log_sealer.h"
#include "actionlog/log_trim.h"
#include "agent/logging/log.h"
#include "base/checks.h"
#include "base/json.h"
#include "crypto/hash.h"

namespace tillsync {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {
constexpr uint64_t kTrimmedAtOnce = 1000;
constexpr int kMergedAtOnce = 16;
// Transactions of two databases are matched by their times while they are young (actionlog/coincidence.h).
constexpr std::chrono::minutes kKeptAtLeast{1};
// What the till sells waits no longer than that once the store is back.
constexpr milliseconds kPauseMax{30'000}, kPauseMin{100};
}  // namespace

LogShipper::LogShipper(const Services& services, std::vector<FollowedDatabase*> databases, Transfers& transfers)
    : services_(services),
      databases_(std::move(databases)),
      transfers_(transfers),
      pace_({.base = milliseconds(1000), .cap = kPauseMax}) {}

LogShipper::~LogShipper() { stop(); }

void LogShipper::start() {
  // Whatever the last run left in the spool goes first.
  due_ = Steady::now();
  thread_ = std::thread([this] { run(); });
}

void LogShipper::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  signal_.notify_all();
  if (thread_.joinable()) thread_.join();
  // Whoever waited on the control socket must be let go while its loop is still there.
  std::lock_guard lock(mutex_);
  waiters_.clear();
}

void LogShipper::captured() {
  {
    std::lock_guard lock(mutex_);
    if (due_) return;
    due_ = Steady::now() + services_.config->schedule.log_flush;
  }
  signal_.notify_all();
}

void LogShipper::hurry() {
  {
    std::lock_guard lock(mutex_);
    urgent_ = true;
  }
  signal_.notify_all();
}

void LogShipper::snapshot_made() {
  {
    std::lock_guard lock(mutex_);
    probes_ = true;
  }
  signal_.notify_all();
}

void LogShipper::when_durable(int64_t database_id, Sequence sequence, std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    waiters_.push_back({database_id, sequence, std::move(callback)});
    urgent_ = true;
  }
  signal_.notify_all();
}

void LogShipper::run() {
  auto next_probe = Steady::now();
  while (true) {
    {
      std::unique_lock lock(mutex_);
      // due_ may be set, or moved, while this waits: each wake looks anew.
      auto until = [&] { return due_ ? std::min(*due_, next_probe) : next_probe; };
      while (!stopping_ && !urgent_ && !probes_ && Steady::now() < until()) signal_.wait_until(lock, until());
      if (stopping_) return;
      if (std::exchange(probes_, false)) next_probe = Steady::now();
      bool flush_now = urgent_ || (due_ && Steady::now() >= *due_);
      urgent_ = false;
      if (!flush_now && Steady::now() < next_probe) continue;
      if (flush_now) due_.reset();
    }
    const bool probe = Steady::now() >= next_probe;
    if (probe) next_probe = Steady::now() + std::chrono::seconds(30);
    auto done = round(probe);
    if (done) {
      (void)pace_.succeeded();
      continue;
    }
    const auto wait = std::max<milliseconds>(pace_.failed(done.error(), *services_.random), kPauseMin);
    std::lock_guard lock(mutex_);
    due_ = Steady::now() + wait;
    next_probe = std::max(next_probe, *due_);
  }
}

Result<void> LogShipper::round() {
  {
    std::lock_guard lock(mutex_);
    urgent_ = false;
    due_.reset();
  }
  return round(true);
}

// probe: also asks the store whether it is there, merges and trims the log.
Result<void> LogShipper::round(bool probe) {
  Result<void> done;
  try {
    done = flush();
    if (done && probe && !sent_.empty()) done = make_durable();
    if (done && probe) {
      auto there = services_.store->list("terminals/" + services_.terminal.str() + "/", "", 1);
      if (!there) done = std::move(there).error();
      if (done) done = transfers_.give_up_unwanted();
      if (done) done = merge();
    }
    // Whether or not the store answers: a disk that fills does not wait for it.
    if (probe) {
      auto trimmed = trim();
      if (!trimmed) log::warn("the local log: {}", trimmed.error().context);
    }
  } catch (const std::exception& bug) {
    done = Error{ErrorKind::internal, 0, bug.what()};
  }
  answer_waiters();
  // A round that asked the store nothing says nothing about it; what was put was reported then.
  if (!done || probe) transfers_.report(done);
  return done;
}

Result<void> LogShipper::flush() {
  for (auto* database : databases_) TILLSYNC_TRY(seal(*database));
  // Nothing leaves the terminal before what it shows is durable here; what the last run queued may not be, either.
  if (sealed_since_durable_) TILLSYNC_TRY(make_durable());
  return send_queue();
}

void LogShipper::set_disk_rung(DiskRung rung) {
  disk_rung_ = rung;
  hurry();
}

// What was sent may leave the spool when no power cut can bring its place in the queue back.
Result<void> LogShipper::make_durable() {
  TILLSYNC_TRY(services_.state->make_durable());
  sealed_since_durable_ = false;
  for (auto& path : sent_) (void)services_.files->remove(path).has_value();
  sent_.clear();
  return {};
}

// limits.local_log, and the disk ladder. In small steps, because capture waits for state.db meanwhile.
Result<void> LogShipper::trim() {
  const DiskRung rung = disk_rung_;
  Milliseconds kept = services_.config->limits.local_log;
  if (rung != DiskRung::roomy) kept = std::min<Milliseconds>(kept, kKeptAtLeast);
  const Timestamp before = services_.clock->now() - kept;
  const TrimUpTo up_to = rung >= DiskRung::compact ? TrimUpTo::sealed : TrimUpTo::durable;
  for (auto* database : databases_) {
    while (true) {
      TILLSYNC_LET(uint64_t removed, trim_log(*services_.state, database->id(), before, kTrimmedAtOnce, up_to));
      if (removed == 0) break;
      std::lock_guard lock(mutex_);
      if (stopping_ || urgent_) return {};
    }
  }
  return {};
}

Result<void> LogShipper::seal(FollowedDatabase& database) {
  Json users = Json::object();
  for (auto& [table, column] : database.config().user_column) users[table] = column;
  LogSealer sealer(*services_.state, database.id(), database.lineage(), users.dump(), *services_.random);
  while (true) {
    TILLSYNC_LET(auto sealed, sealer.build());
    if (!sealed) return {};
    TILLSYNC_TRY(spool(database, sealed->key, sealed->object,
                       [&](Connection& db) { return sealer.record(db, *sealed, services_.clock->now()); }));
  }
}

Result<void> LogShipper::spool(FollowedDatabase& database, const std::string& key, ByteView object,
                               const std::function<Result<void>(Connection&)>& record) {
  std::string path = services_.spool_folder() + "/" + make_uuid_v7(*services_.clock, *services_.random).str() + ".seg";
  TILLSYNC_LET(auto pending, PendingFile::create(*services_.files, path, 0));
  TILLSYNC_TRY(pending.append(object));
  TILLSYNC_TRY(pending.commit_new());
  auto db = services_.state->lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  TILLSYNC_TRY(record(*db));
  Transfer transfer{
      .lane = Lane::log, .database_id = database.id(), .owner = {}, .key = key, .path = path, .size = object.size()};
  TILLSYNC_TRY(queue_transfer(*db, transfer, services_.clock->now()));
  TILLSYNC_TRY(transaction.commit());
  sealed_since_durable_ = true;
  return {};
}

// A few at a time: what is to be sealed, and what waits in capture for state.db, goes first.
Result<void> LogShipper::merge() {
  for (auto* database : databases_) {
    for (int i = 0; i < kMergedAtOnce && can_merge(); i++) {
      auto any = merge_some(*database);
      // Ours, and not the store's: the log goes on without.
      if (!any && any.error().context != merge_problem_)
        log::warn("{}: merging its log: {}", database->config().name, any.error().context);
      merge_problem_ = any ? "" : any.error().context;
      if (!any || !*any) break;
      TILLSYNC_TRY(make_durable());
      TILLSYNC_TRY(send_queue());
    }
  }
  // Their files leave the spool.
  return sent_.empty() ? Result<void>() : make_durable();
}

// It can wait: for what is due, for room, and for the hours of packs.
bool LogShipper::can_merge() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || urgent_ || (due_ && Steady::now() >= *due_)) return false;
  }
  return disk_rung_ == DiskRung::roomy && transfers_.may_send_now();
}

Result<bool> LogShipper::merge_some(FollowedDatabase& database) {
  LogMerger merger(*services_.state, database.id(), database.lineage(), *services_.random);
  TILLSYNC_LET(auto merged, merger.build());
  for (auto& what : merger.left_out()) log::warn("{}: {}", database.config().name, what);
  if (!merged) return false;
  TILLSYNC_TRY(
      spool(database, merged->key, merged->object, [&](Connection& db) { return merger.record(db, *merged); }));
  log::debug("{}: {} segments of the log become {}", database.config().name, merged->parts, merged->key);
  return true;
}

Result<void> LogShipper::send_queue() {
  while (true) {
    TILLSYNC_LET(auto next, next_transfer(*services_.state->lease(), ""));
    if (!next) return {};
    auto sent = send(*next);
    if (!sent) {
      (void)transfer_failed(*services_.state->lease(), next->id, sent.error().context).has_value();
      return sent;
    }
    std::lock_guard lock(mutex_);
    if (stopping_) return {};
  }
}

// A file that is gone from the spool (a disk that lost it, a person) holds up nothing where the store has the segment.
Result<void> LogShipper::check_sent(const std::string& key) {
  Digest expected;
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto segment, db->cached("SELECT sha256 FROM segments WHERE object_key=?1 UNION ALL SELECT sha256 "
                                          "FROM merges WHERE object_key=?1"));
    segment->bind(1, key);
    TILLSYNC_LET(bool found, segment->step());
    const bool known = found && segment->blob(0).size() == expected.bytes.size();
    if (known) std::copy_n(segment->blob(0).begin(), expected.bytes.size(), expected.bytes.begin());
    segment->reset();
    if (!known) return Error{ErrorKind::corrupt, 0, key + ": it is queued, and no segment of the log"};
  }
  TILLSYNC_LET(Bytes there, read_object(*services_.store, key, uint64_t{1} << 30));
  if (sha256(there) != expected)
    return Error{ErrorKind::corrupt, 0, key + ": other bytes are in the store under this name"};
  return {};
}

Result<void> LogShipper::send(const Transfer& transfer) {
  auto source = FileSource::open(*services_.files, transfer.path);
  if (source) {
    TILLSYNC_TRY(transfers_.put(transfer, **source));
  } else {
    if (source.error().kind != ErrorKind::not_found) return std::move(source).error();
    auto sent = check_sent(transfer.key);
    if (!sent && sent.error().kind == ErrorKind::not_found) {
      // What was to be merged can be merged again.
      auto db = services_.state->lease();
      TILLSYNC_LET(const bool was_merge, LogMerger::forget(*db, transfer.key));
      if (was_merge) return forget_transfer(*db, transfer.id);
    }
    if (!sent) return std::move(sent).error().with(source.error().context);
  }
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    TILLSYNC_TRY(forget_transfer(*db, transfer.id));
    TILLSYNC_LET(auto segment, db->cached("UPDATE segments SET durable_at=? WHERE object_key=?"));
    TILLSYNC_TRY(segment->bind(1, to_ms(services_.clock->now())).bind(2, transfer.key).run());
    TILLSYNC_LET(
        auto durable,
        db->cached(
            "UPDATE databases SET durable_sequence=max(durable_sequence, coalesce((SELECT last_sequence FROM segments"
            " WHERE object_key=?), 0)) WHERE id=?"));
    TILLSYNC_TRY(durable->bind(1, transfer.key).bind(2, transfer.database_id).run());
    TILLSYNC_TRY(LogMerger::stored(*db, transfer.key, services_.clock->now()));
    TILLSYNC_TRY(transaction.commit());
  }
  if (source) source->reset();
  // A leftover is swept at the next start.
  sent_.push_back(transfer.path);
  return {};
}

void LogShipper::answer_waiters() {
  std::map<int64_t, Sequence> durable;
  for (auto* database : databases_) {
    auto db = services_.state->lease();
    auto query = db->query_integer("SELECT durable_sequence FROM databases WHERE id=" + std::to_string(database->id()));
    if (query) durable[database->id()] = static_cast<Sequence>(*query);
  }
  std::vector<Waiter> ready;
  {
    std::lock_guard lock(mutex_);
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (it->sequence <= durable[it->database_id]) {
        ready.push_back(std::move(*it));
        it = waiters_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (auto& waiter : ready) waiter.callback();
}

}  // namespace tillsync
