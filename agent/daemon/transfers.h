// Everything that goes to the store: puts what is queued, keeps what came of it, and knows how the store does.
//
// Lanes: segments of the log are sent by the log shipper's thread and go first, also within the upload limit; packs,
// then file assets, by the UPLOAD step of their backup, within [store] upload_hours. What goes up in parts goes on
// where it was after a restart (transfer/state_upload_journal.h). Where the store can use it, the next of a backup
// begins while the one before ends, so that the link is never without work. Errors: one that heals by itself
// (is_outage()) is waited out, as long as it takes: status shows it. Others are the caller's. Threads: any; send() by
// one step at a time.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "agent/daemon/services.h"
#include "ports/backoff.h"
#include "schedule/hour_range.h"
#include "transfer/file_source.h"
#include "transfer/state_upload_journal.h"
#include "transfer/transfer_queue.h"
#include "workflow/context.h"

namespace tillsync {

struct TransferStatus {
  uint64_t queued = 0, queued_bytes = 0;
  uint64_t active = 0;      // puts under way
  uint64_t sent_bytes = 0;  // since the start; what a resumed upload need not send does not count
  uint64_t errors = 0;
  double rate_bytes_per_second = 0;  // of the last 10 seconds
  bool reachable = false;
  bool waits_for_hours = false;
  std::optional<Timestamp> last_success_at;
  std::optional<Error> last_error;
  std::optional<Timestamp> failing_since;  // of last_error and those before it
};

class Transfers {
 public:
  explicit Transfers(const Services& services);

  // Called after each put, whatever came of it, by whoever put. Set before the first.
  void on_outcome(std::function<void()> callback) { on_outcome_ = std::move(callback); }

  // From now on, also for what is under way.
  void set_upload_hours(std::vector<HourRange> hours);
  void set_upload_limit(uint64_t bytes_per_second);

  // Puts one, once; a failure is the caller's to report. go_on, if given, is asked again and again with the bytes of it
  // that are there; false ends it as cancelled. source: of transfer.path; what it could not read is in its error().
  Result<void> put(const Transfer& transfer, FileSource& source, const std::function<bool(uint64_t)>& go_on = nullptr);
  // The same of what is too small to be queued.
  Result<void> put_now(const std::string& key, ObjectSource& source);

  // Queues these for the step's workflow, and sends them and whatever of that workflow is queued; returns their bytes.
  // What is queued stays until the step is complete.
  Result<uint64_t> send(StepContext& context, const std::vector<Transfer>& transfers);
  // Asks the store for something, again and again while that fails by an outage.
  template <class F>
  auto wait_out_outages(StepContext& context, F ask) -> decltype(ask()) {
    RetryPace pace;
    while (true) {
      auto answer = ask();
      if (answer && pace.succeeded()) TILLSYNC_TRY(context.held_up(std::nullopt));
      if (answer || !is_outage(answer.error().kind)) return answer;
      TILLSYNC_TRY(wait_after(context, answer.error(), pace));
    }
  }
  // Within the upload hours.
  bool may_send_now();
  // What a workflow queued is wanted no more.
  void drop(const Uuid& workflow);
  // Gives up uploads that nobody waits for any more. For the log shipper, from time to time.
  Result<void> give_up_unwanted();

  // What came of asking the store for something. A success ends the waits of send().
  void report(const Result<void>& outcome);
  TransferStatus status();

 private:
  using Steady = std::chrono::steady_clock::time_point;
  class Active;
  struct Tally;
  class Delivery;
  // Reports it.
  Result<void> wait_after(StepContext& context, const Error& error, RetryPace& pace);
  Result<void> wait(StepContext& context, Steady until, bool can_be_woken);
  Result<void> wait_for_hours(StepContext& context);
  bool is_within_hours() const;  // with mutex_ held
  void count(uint64_t bytes);
  void note(const Result<void>& outcome);

  Services services_;
  StateUploadJournal journal_;
  std::mutex mutex_;
  std::condition_variable woken_;
  std::function<void()> on_outcome_;
  uint64_t wakes_ = 0;
  std::vector<HourRange> hours_;
  TransferStatus status_;
  std::deque<std::pair<Steady, uint64_t>> recent_;
};

}  // namespace tillsync
