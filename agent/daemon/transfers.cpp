#include "agent/daemon/transfers.h"

#include <algorithm>
#include <future>
#include <list>

#include "agent/daemon/give_back_memory.h"
#include "agent/logging/log.h"

namespace tillsync {

using std::chrono::milliseconds;

namespace {
constexpr std::chrono::seconds kRateSpan{10};
// A cancellation has no event of its own, and hours may be changed.
constexpr milliseconds kLookEvery{200};
constexpr std::chrono::seconds kHoursLookEvery{30};
// So much takes a while: memory that the steps before left is not kept for it.
constexpr uint64_t kLongUpload = 32 << 20;
}  // namespace

// A put that is under way.
class Transfers::Active {
 public:
  Active(Transfers& transfers, uint64_t sent_before) : transfers_(transfers), counted_(sent_before) {
    std::lock_guard lock(transfers_.mutex_);
    transfers_.status_.active++;
  }
  ~Active() {
    std::lock_guard lock(transfers_.mutex_);
    transfers_.status_.active--;
  }
  void sent(uint64_t bytes) {
    if (bytes <= counted_) return;
    transfers_.count(bytes - counted_);
    counted_ = bytes;
  }

 private:
  Transfers& transfers_;
  uint64_t counted_;
};

// What a step's transfers sent together, for those who watch it.
struct Transfers::Tally {
  StepContext& context;
  const uint64_t all;
  std::mutex mutex = {};
  uint64_t sent = 0;

  // From now on it is more, or less, by so much.
  void change(uint64_t before, uint64_t now) {
    std::lock_guard lock(mutex);
    sent += now - before;
    context.progress(0, sent, all);
  }
};

// A put of send() on a thread of its own. One that is destroyed before its end is stopped.
class Transfers::Delivery {
 public:
  Delivery(Transfers& transfers, Transfer transfer, std::unique_ptr<FileSource> source, Tally& tally,
           const ObjectStoreProperties& properties)
      : transfers_(transfers),
        transfer_(std::move(transfer)),
        source_(std::move(source)),
        tally_(tally),
        can_pause_(properties.resumable),
        part_size_(properties.part_size_bytes) {
    outcome_ = std::async(std::launch::async, [this] {
      const End end{*this};
      return transfers_.put(transfer_, *source_, [this](uint64_t sent) { return went_up(sent); });
    });
  }
  Delivery(const Delivery&) = delete;
  ~Delivery() { is_stopped_ = true; }

  const Transfer& transfer() const { return transfer_; }
  const std::optional<Error>& source_error() const { return source_->error(); }
  // With mutex_ held.
  bool has_ended() const { return has_ended_; }
  bool is_ending() const { return is_ending_; }  // its last part is on its way
  // Once, of one that has ended.
  Result<void> outcome() {
    auto outcome = outcome_.get();
    tally_.change(sent_, outcome ? transfer_.size : 0);
    return outcome;
  }

 private:
  // Told also where a put throws.
  struct End {
    Delivery& delivery;
    ~End() { delivery.tell(delivery.has_ended_); }
  };
  bool went_up(uint64_t sent) {
    tally_.change(std::exchange(sent_, sent), sent);
    if (!is_ending_ && sent + part_size_ >= transfer_.size) tell(is_ending_);
    return !is_stopped_ && !tally_.context.cancelled() && (!can_pause_ || transfers_.may_send_now());
  }
  void tell(bool& what) {
    std::lock_guard lock(transfers_.mutex_);
    what = true;
    transfers_.woken_.notify_all();
  }

  Transfers& transfers_;
  const Transfer transfer_;
  const std::unique_ptr<FileSource> source_;
  Tally& tally_;
  const bool can_pause_;
  const uint64_t part_size_;
  uint64_t sent_ = 0;
  bool is_ending_ = false, has_ended_ = false;
  std::atomic<bool> is_stopped_{false};
  std::future<Result<void>> outcome_;  // last: destroyed first, it waits for the thread
};

Transfers::Transfers(const Services& services)
    : services_(services), journal_(*services.state), hours_(services.config->store.upload_hours) {}

void Transfers::set_upload_hours(std::vector<HourRange> hours) {
  std::lock_guard lock(mutex_);
  hours_ = std::move(hours);
  wakes_++;
  woken_.notify_all();
}

void Transfers::set_upload_limit(uint64_t bytes_per_second) { services_.store->set_upload_limit(bytes_per_second); }

Result<void> Transfers::put(const Transfer& transfer, FileSource& source, const std::function<bool(uint64_t)>& go_on) {
  TILLSYNC_LET(const uint64_t sent_before, journal_.sent(transfer.key));
  Active active(*this, sent_before);
  const auto progress = [&](uint64_t sent) {
    active.sent(sent);
    return !go_on || go_on(sent);
  };
  const auto properties = services_.store->properties();
  const bool is_first = transfer.lane == Lane::log && source.size() <= properties.part_size_bytes;
  TILLSYNC_TRY(put_once(*services_.store, transfer.key, source, [&] {
    return is_first ? services_.store->put(transfer.key, source, progress)
                    : services_.store->put_resumable(transfer.key, source, journal_, progress);
  }));
  active.sent(source.size());
  report({});
  return {};
}

Result<void> Transfers::put_now(const std::string& key, ObjectSource& source) {
  Active active(*this, 0);
  TILLSYNC_TRY(put_once(*services_.store, key, source));
  active.sent(source.size());
  report({});
  return {};
}

Result<uint64_t> Transfers::send(StepContext& context, const std::vector<Transfer>& transfers) {
  const std::string owner = context.workflow().str();
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    for (Transfer transfer : transfers) {
      transfer.owner = owner;
      TILLSYNC_TRY(queue_transfer(*db, transfer, services_.clock->now()));
    }
    TILLSYNC_TRY(transaction.commit());
  }
  // What goes into the store shows content of state.db, and a part is only known to be ours by its journal.
  TILLSYNC_TRY(services_.state->make_durable());
  TILLSYNC_LET(const TransferTotals totals, transfer_totals(*services_.state->lease(), owner));
  const uint64_t all = totals.queued_bytes + totals.sent_bytes;
  if (totals.queued_bytes > kLongUpload) give_back_memory(*services_.state);
  Tally tally{context, all};
  tally.change(0, totals.sent_bytes);
  const auto properties = services_.store->properties();
  RetryPace pace;
  std::list<Delivery> under_way;
  std::optional<Error> outage;
  while (true) {
    std::optional<Transfer> next;
    if (!outage) {
      const Transfer* last = under_way.empty() ? nullptr : &under_way.back().transfer();
      TILLSYNC_LET(next, next_transfer(*services_.state->lease(), owner, last));
    }
    if (!next && under_way.empty()) {
      if (!outage) return all;
      TILLSYNC_TRY(wait_after(context, *std::exchange(outage, std::nullopt), pace));
      continue;
    }
    if (under_way.empty()) TILLSYNC_TRY(wait_for_hours(context));
    bool may_begin = under_way.empty();
    auto ended = under_way.end();
    if (!may_begin) {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, kLookEvery, [&] {
        ended = std::find_if(under_way.begin(), under_way.end(), [](const Delivery& d) { return d.has_ended(); });
        may_begin =
            next && under_way.size() < properties.uploads_at_once && under_way.back().is_ending() && is_within_hours();
        return may_begin || ended != under_way.end();
      });
    }
    if (may_begin) {
      TILLSYNC_LET(auto source, FileSource::open(*services_.files, next->path));
      under_way.emplace_back(*this, std::move(*next), std::move(source), tally, properties);
      continue;
    }
    if (ended == under_way.end()) continue;
    const Result<void> done = ended->outcome();
    const int64_t id = ended->transfer().id;
    const auto fault = ended->source_error();
    under_way.erase(ended);
    if (done) {
      if (pace.succeeded()) TILLSYNC_TRY(context.held_up(std::nullopt));
      TILLSYNC_TRY(transfer_sent(*services_.state->lease(), id, services_.clock->now()));
      continue;
    }
    if (context.cancelled()) return context.cancelled_error();
    if (done.error().kind == ErrorKind::cancelled) continue;  // its hours are over
    TILLSYNC_TRY(transfer_failed(*services_.state->lease(), id, done.error().context));
    if (fault) return *fault;  // our own disk: the step's, with its retries
    if (!is_outage(done.error().kind)) {
      report(done);
      return done.error();
    }
    outage = done.error();
  }
}

Result<void> Transfers::wait_after(StepContext& context, const Error& error, RetryPace& pace) {
  report(error);
  const auto now = services_.clock->steady_now();
  const Milliseconds pause = pace.failed(error, *services_.random);
  TILLSYNC_TRY(context.held_up(error, services_.clock->now() + pause));
  if (error.retry_after > Milliseconds(0)) TILLSYNC_TRY(wait(context, now + error.retry_after, false));
  return wait(context, now + pause, true);
}

// Until the moment, or, if it can be woken, until the store was reached by somebody else.
Result<void> Transfers::wait(StepContext& context, Steady until, bool can_be_woken) {
  uint64_t wakes;
  {
    std::lock_guard lock(mutex_);
    wakes = wakes_;
  }
  while (services_.clock->steady_now() < until) {
    if (context.cancelled()) return context.cancelled_error();
    if (services_.while_waiting) services_.while_waiting();
    std::unique_lock lock(mutex_);
    if (can_be_woken && wakes_ != wakes) break;
    if (!services_.while_waiting) woken_.wait_for(lock, kLookEvery);
  }
  return {};
}

bool Transfers::may_send_now() {
  std::lock_guard lock(mutex_);
  return is_within_hours();
}

bool Transfers::is_within_hours() const { return is_within(hours_, services_.clock->now(), system_utc_offset); }

Result<void> Transfers::wait_for_hours(StepContext& context) {
  bool said = false;
  while (!may_send_now()) {
    if (!said) {
      std::lock_guard lock(mutex_);
      status_.waits_for_hours = said = true;
    }
    auto waited = wait(context, services_.clock->steady_now() + kHoursLookEvery, true);
    if (waited) continue;
    std::lock_guard lock(mutex_);
    status_.waits_for_hours = false;
    return waited;
  }
  std::lock_guard lock(mutex_);
  status_.waits_for_hours = false;
  return {};
}

void Transfers::drop(const Uuid& workflow) {
  auto db = services_.state->lease();
  auto dropped = forget_transfers_of(*db, workflow.str());
  if (!dropped) log::warn("the transfers of workflow {}: {}", workflow.str(), dropped.error().context);
}

Result<void> Transfers::give_up_unwanted() {
  TILLSYNC_LET(auto keys, journal_.unwanted());
  for (auto& key : keys) {
    auto given_up = services_.store->abandon(key, journal_);
    if (given_up) continue;
    if (is_outage(given_up.error().kind)) return given_up;
    // A key that may not do it: the bucket's own rule on incomplete uploads has to.
    log::warn("{}: its upload can't be given up: {}", key, given_up.error().context);
    TILLSYNC_TRY(journal_.forget(key));
  }
  return {};
}

void Transfers::count(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  const auto now = services_.clock->steady_now();
  status_.sent_bytes += bytes;
  // One entry a tenth of a second: parts report often.
  if (!recent_.empty() && now - recent_.back().first < milliseconds(100))
    recent_.back().second += bytes;
  else
    recent_.emplace_back(now, bytes);
  while (now - recent_.front().first > kRateSpan) recent_.pop_front();
}

void Transfers::report(const Result<void>& outcome) {
  note(outcome);
  if (on_outcome_) on_outcome_();
}

void Transfers::note(const Result<void>& outcome) {
  std::lock_guard lock(mutex_);
  if (outcome) {
    // Whoever waits for the store need not wait any longer.
    if (!status_.reachable) {
      wakes_++;
      woken_.notify_all();
    }
    status_.reachable = true;
    status_.last_success_at = services_.clock->now();
    status_.last_error.reset();
    status_.failing_since.reset();
    return;
  }
  // Words differ with each try (temporary names), the matter does not.
  if (!status_.last_error || status_.last_error->kind != outcome.error().kind)
    log::warn("store: {}", outcome.error().context);
  if (!status_.failing_since) status_.failing_since = services_.clock->now();
  status_.errors++;
  status_.last_error = outcome.error();
  if (outcome.error().kind != ErrorKind::conflict) status_.reachable = false;
}

TransferStatus Transfers::status() {
  TransferStatus status;
  {
    std::lock_guard lock(mutex_);
    const auto now = services_.clock->steady_now();
    while (!recent_.empty() && now - recent_.front().first > kRateSpan) recent_.pop_front();
    uint64_t bytes = 0;
    for (auto& [at, n] : recent_) bytes += n;
    status = status_;
    status.rate_bytes_per_second = static_cast<double>(bytes) / std::chrono::duration<double>(kRateSpan).count();
  }
  auto db = services_.state->lease();
  if (auto totals = transfer_totals(*db)) {
    status.queued = totals->queued;
    status.queued_bytes = totals->queued_bytes;
  }
  return status;
}

}  // namespace tillsync
