#include "schedule/scheduler.h"

#include "crypto/hash.h"

namespace tillsync {

Milliseconds terminal_shift(const Uuid& terminal, Milliseconds jitter) {
  if (jitter.count() <= 0) return Milliseconds(0);
  // The id itself is a time for the most part; its digest spreads.
  const Digest digest = sha256(as_bytes(terminal.str()));
  uint64_t number = 0;
  for (size_t i = 0; i < 8; i++) number = number << 8 | digest.bytes[i];
  return Milliseconds(static_cast<int64_t>(number % static_cast<uint64_t>(jitter.count())));
}

Scheduler::Scheduler(StateDb& state, Clock& clock, UtcOffset offset, Milliseconds shift)
    : state_(state), clock_(clock), offset_(std::move(offset)), shift_(shift), started_(clock.steady_now()) {}

Result<void> Scheduler::add(Job job) {
  if (job.rule.kind == ScheduleRule::Kind::off) return {};
  Entry entry{job, Recurrence(job.rule, shift_, offset_), clock_.now()};
  {
    auto db = state_.lease();
    TILLSYNC_LET(auto query, db->prepare("SELECT begun_at FROM schedule_runs WHERE job=? AND rule=?"));
    query.bind(1, job.name).bind(2, to_string(job.rule));
    TILLSYNC_LET(bool known, query.step());
    if (known) {
      entry.begun = from_ms(query.integer(0));
      jobs_.push_back(std::move(entry));
      return {};
    }
  }
  TILLSYNC_TRY(remember(entry));
  jobs_.push_back(std::move(entry));
  return {};
}

Result<void> Scheduler::remember(const Entry& entry) {
  auto db = state_.lease();
  TILLSYNC_LET(auto update, db->prepare("INSERT OR REPLACE INTO schedule_runs(job, rule, begun_at) VALUES(?,?,?)"));
  return update.bind(1, entry.job.name).bind(2, to_string(entry.job.rule)).bind(3, to_ms(entry.begun)).run();
}

Result<Milliseconds> Scheduler::poll() {
  const Timestamp now = clock_.now();
  const bool made_up_later = clock_.steady_now() - started_ < shift_;
  Milliseconds wait = kPollInterval;
  std::optional<Error> failure;
  for (auto& entry : jobs_) {
    if (entry.begun > now + kAhead) {
      entry.begun = now;
      TILLSYNC_TRY(remember(entry));
    }
    const Timestamp newest = *entry.recurrence.newest(now);
    if (newest > entry.begun && !(now - newest > kLate && made_up_later)) {
      auto begun = entry.job.begin();
      if (!begun) {
        if (!failure) failure = std::move(begun).error().with(entry.job.name);
      } else if (*begun == Begun::yes) {
        entry.begun = newest;
        TILLSYNC_TRY(remember(entry));
      } else {
        wait = std::min<Milliseconds>(wait, kBusyInterval);
      }
    }
    wait = std::min<Milliseconds>(wait, *entry.recurrence.next(now) - now);
  }
  if (failure) return *failure;
  return wait;
}

}  // namespace tillsync
