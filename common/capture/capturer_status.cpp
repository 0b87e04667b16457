// What others see of a Capturer, and what they ask of it.
#include <iterator>

#include "capture/capturer.h"

namespace tillsync {

Problem capture_problem(const Error& error, const std::string& path) {
  switch (error.kind) {
    case ErrorKind::not_found:
      return {"database_missing", path + ": there is no such database",
              "check [[database]] path in the configuration, or start the application so that it makes the file"};
    case ErrorKind::denied:
      return {
          "database_permission", path + ": " + error.context,
          "give the agent's user read and write access to the file and its folder (SQLite needs both to share a WAL)"};
    case ErrorKind::corrupt:
      return {
          "database_damaged", path + ": " + error.context,
          "its rows can't be captured; its pages are kept by snapshots meanwhile. Put a restored database in its "
          "place (tillsync restore), or repair it with sqlite3's .recover; if it is encrypted or not SQLite, remove "
          "it from the configuration"};
    case ErrorKind::schema:
      return {"database_schema", path + ": " + error.context,
              "its restore points are its snapshots; take them more often"};
    case ErrorKind::no_space:
      return {"disk_full", error.context,
              "free space on the disk of state_dir; the till's data is caught up afterwards"};
    case ErrorKind::transient:
    case ErrorKind::timeout:
      return {"database_busy", path + ": " + error.context,
              "another program holds the database (locking_mode=EXCLUSIVE?); captured as soon as it lets go"};
    default:
      return {"capture_failed", path + ": " + error.context, "see the agent's log; capture is tried again by itself"};
  }
}

CaptureStatus Capturer::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Capturer::set_problem(std::optional<Problem> problem) {
  std::lock_guard lock(mutex_);
  status_.problem = std::move(problem);
}

void Capturer::publish(const std::string& mode) {
  std::lock_guard lock(mutex_);
  status_.mode = mode;
  if (!ingest_) return;
  status_.sequence = ingest_->log().sequence();
  status_.transaction = ingest_->log().transaction();
  status_.last_capture_at = ingest_->log().last_capture_at();
  status_.page_count = ingest_->replica().page_count();
  status_.page_size = ingest_->page_size();
}

void Capturer::after_commit(bool any) {
  if (!any) return;
  publish(scan_mode_ ? "scan" : "wal");
  if (ingest_->take_barrier() && setup_.on_barrier) setup_.on_barrier();
  if (setup_.on_commit) setup_.on_commit();
}

void Capturer::request_cut(CutCallback callback) {
  std::lock_guard lock(mutex_);
  cuts_.push_back(std::move(callback));
}

void Capturer::request_capture(std::function<void(Result<Sequence>)> callback) {
  std::lock_guard lock(mutex_);
  captures_.push_back(std::move(callback));
}

void Capturer::take_requests() {
  std::lock_guard lock(mutex_);
  std::move(cuts_.begin(), cuts_.end(), std::back_inserter(taken_cuts_));
  std::move(captures_.begin(), captures_.end(), std::back_inserter(taken_captures_));
  std::move(activations_.begin(), activations_.end(), std::back_inserter(taken_activations_));
  cuts_.clear();
  captures_.clear();
  activations_.clear();
}

void Capturer::answer_requests() {
  if (!ingest_) return;
  auto cuts = std::exchange(taken_cuts_, {});
  auto captures = std::exchange(taken_captures_, {});
  for (auto& callback : captures) callback(ingest_->log().sequence());
  for (auto& callback : cuts) callback(ingest_->cut());
}

void Capturer::fail_requests(const Error& error) {
  // A passing obstacle: the request waits for the next round.
  if (error.kind == ErrorKind::transient && failures_ <= 20) return;
  auto cuts = std::exchange(taken_cuts_, {});
  auto captures = std::exchange(taken_captures_, {});
  for (auto& callback : captures) callback(error);
  for (auto& callback : cuts) callback(error);
  // Whoever asked decides whether to try again: what waits here must not happen when nobody expects it any more. A
  // database that is damaged is restored as it is.
  if (error.kind == ErrorKind::corrupt) return;
  while (!taken_activations_.empty()) end_activation(error);
}

}  // namespace tillsync
