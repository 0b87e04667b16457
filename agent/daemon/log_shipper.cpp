#include "agent/daemon/log_shipper.h"

#include <spdlog/spdlog.h>

#include <map>

#include "actionlog/log_sealer.h"
#include "actionlog/log_trim.h"
#include "base/checks.h"
#include "base/json.h"
#include "crypto/hash.h"

namespace tillsync {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {
constexpr uint64_t kTrimmedAtOnce = 1000;
// Transactions of two databases are matched by their times while they are young (actionlog/coincidence.h).
constexpr std::chrono::minutes kKeptAtLeast{1};
}  // namespace

Result<std::unique_ptr<SpoolSource>> SpoolSource::open(FileSystem& files, const std::string& path) {
  auto source = std::make_unique<SpoolSource>();
  TILLSYNC_LET(source->file_, files.open(path, OpenMode::read));
  TILLSYNC_LET(source->size_, source->file_->size());
  return source;
}

Result<void> put_once(ObjectStore& store, const std::string& key, ObjectSource& source) {
  auto done = store.put(key, source);
  if (done || done.error().kind != ErrorKind::conflict) return done;
  TILLSYNC_LET(auto info, store.head(key));
  Error other{ErrorKind::conflict, 0,
              key +
                  ": other bytes are in the store under this name; was this state_dir copied from another till, or "
                  "restored from an old disk image?"};
  if (info.size != source.size()) return other;
  Bytes there(1 << 20), ours(1 << 20);
  for (uint64_t offset = 0; offset < info.size; offset += there.size()) {
    TILLSYNC_LET(size_t a, store.read(key, offset, there));
    TILLSYNC_LET(size_t b, source.read(offset, ours));
    if (a != b || !equal(ByteView(there).first(a), ByteView(ours).first(b))) return other;
  }
  return {};
}

LogShipper::LogShipper(const Services& services, std::vector<FollowedDatabase*> databases)
    : services_(services), databases_(std::move(databases)) {}

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
      while (!stopping_ && !urgent_ && Steady::now() < until()) signal_.wait_until(lock, until());
      if (stopping_) return;
      bool flush_now = urgent_ || (due_ && Steady::now() >= *due_);
      urgent_ = false;
      if (!flush_now && Steady::now() < next_probe) continue;
      if (flush_now) due_.reset();
    }
    const bool probe = Steady::now() >= next_probe;
    if (probe) next_probe = Steady::now() + std::chrono::seconds(30);
    auto done = round(probe);
    std::lock_guard lock(mutex_);
    if (done) {
      failures_ = 0;
      continue;
    }
    failures_++;
    milliseconds wait = std::min<milliseconds>(milliseconds(30000), backoff_.wait(failures_, *services_.random));
    due_ = Steady::now() + std::max(wait, milliseconds(100));
    next_probe = std::max(next_probe, *due_);
  }
}

// probe: also asks the store whether it is there, and trims the log.
Result<void> LogShipper::round(bool probe) {
  Result<void> done;
  try {
    done = flush();
    if (done && probe && !sent_.empty()) done = make_durable();
    if (done && probe) {
      auto there = services_.store->list("terminals/" + services_.terminal.str() + "/", "", 1);
      if (!there) done = std::move(there).error();
    }
    // Whether or not the store answers: a disk that fills does not wait for it.
    if (probe) {
      auto trimmed = trim();
      if (!trimmed) spdlog::warn("the local log: {}", trimmed.error().context);
    }
  } catch (const std::exception& bug) {
    done = Error{ErrorKind::internal, 0, bug.what()};
  }
  answer_waiters();
  report_store(done, 0);
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
    std::string path =
        services_.spool_folder() + "/" + make_uuid_v7(*services_.clock, *services_.random).str() + ".seg";
    TILLSYNC_LET(auto pending, PendingFile::create(*services_.files, path, 0));
    TILLSYNC_TRY(pending.append(sealed->object));
    TILLSYNC_TRY(pending.commit_new());
    auto db = services_.state->lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    TILLSYNC_TRY(sealer.record(*db, *sealed, services_.clock->now()));
    TILLSYNC_LET(auto insert, db->cached("INSERT INTO transfer_queue(lane, database_id, object_key, spool_path, size, "
                                         "created_at) VALUES(0,?,?,?,?,?)"));
    insert->bind(1, database.id())
        .bind(2, sealed->key)
        .bind(3, path)
        .bind(4, sealed->object.size())
        .bind(5, to_ms(services_.clock->now()));
    TILLSYNC_TRY(insert->run());
    TILLSYNC_TRY(transaction.commit());
    sealed_since_durable_ = true;
  }
}

Result<void> LogShipper::send_queue() {
  while (true) {
    int64_t id, database_id;
    std::string key, path;
    {
      auto db = services_.state->lease();
      TILLSYNC_LET(
          auto next,
          db->cached("SELECT id, database_id, object_key, spool_path FROM transfer_queue ORDER BY lane, id LIMIT 1"));
      TILLSYNC_LET(bool found, next->step());
      if (!found) return {};
      id = next->integer(0);
      database_id = next->integer(1);
      key = next->text(2);
      path = next->text(3);
      next->reset();
    }
    auto sent = send(id, database_id, key, path);
    if (!sent) {
      auto db = services_.state->lease();
      TILLSYNC_LET(auto failed, db->cached("UPDATE transfer_queue SET retry_count=retry_count+1, error=? WHERE id=?"));
      (void)failed->bind(1, sent.error().context).bind(2, id).run().has_value();
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
    TILLSYNC_LET(auto segment, db->cached("SELECT sha256 FROM segments WHERE object_key=?"));
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

Result<void> LogShipper::send(int64_t id, int64_t database_id, const std::string& key, const std::string& path) {
  auto source = SpoolSource::open(*services_.files, path);
  if (source) {
    TILLSYNC_TRY(put_once(*services_.store, key, **source));
    report_store({}, (*source)->size());
  } else {
    if (source.error().kind != ErrorKind::not_found) return std::move(source).error();
    TILLSYNC_TRY(check_sent(key).with(source.error().context));
  }
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    TILLSYNC_LET(auto done, db->cached("DELETE FROM transfer_queue WHERE id=?"));
    TILLSYNC_TRY(done->bind(1, id).run());
    TILLSYNC_LET(auto segment, db->cached("UPDATE segments SET durable_at=? WHERE object_key=?"));
    TILLSYNC_TRY(segment->bind(1, to_ms(services_.clock->now())).bind(2, key).run());
    TILLSYNC_LET(
        auto durable,
        db->cached(
            "UPDATE databases SET durable_sequence=max(durable_sequence, coalesce((SELECT last_sequence FROM segments"
            " WHERE object_key=?), 0)) WHERE id=?"));
    TILLSYNC_TRY(durable->bind(1, key).bind(2, database_id).run());
    TILLSYNC_TRY(transaction.commit());
  }
  if (source) source->reset();
  // A leftover is swept at the next start.
  sent_.push_back(path);
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

void LogShipper::report_store(const Result<void>& outcome, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (outcome) {
    status_.reachable = true;
    status_.last_success_at = services_.clock->now();
    status_.last_error.reset();
    status_.sent_bytes += bytes;
    if (bytes) recent_.emplace_back(Steady::now(), bytes);
    return;
  }
  // Words differ with each try (temporary names), the matter does not.
  if (!status_.last_error || status_.last_error->kind != outcome.error().kind)
    spdlog::warn("store: {}", outcome.error().context);
  status_.errors++;
  status_.last_error = outcome.error();
  if (outcome.error().kind != ErrorKind::conflict) status_.reachable = false;
}

TransferStatus LogShipper::status() {
  TransferStatus status;
  {
    std::lock_guard lock(mutex_);
    while (!recent_.empty() && Steady::now() - recent_.front().first > std::chrono::seconds(10)) recent_.pop_front();
    uint64_t bytes = 0;
    for (auto& [at, n] : recent_) bytes += n;
    status = status_;
    status.rate_bytes_per_second = static_cast<double>(bytes) / 10;
  }
  auto db = services_.state->lease();
  auto query = db->cached("SELECT count(*), coalesce(sum(size), 0) FROM transfer_queue");
  if (query) {
    if (auto row = (*query)->step(); row && *row) {
      status.queued = (*query)->unsigned_integer(0);
      status.queued_bytes = (*query)->unsigned_integer(1);
    }
    (*query)->reset();
  }
  return status;
}

}  // namespace tillsync
