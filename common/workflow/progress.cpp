#include "workflow/progress.h"

#include <algorithm>
#include <cmath>

namespace tillsync {

namespace {
constexpr double kSmoothingSeconds = 5;
// Shorter samples are mostly noise of the scheduler.
constexpr double kSampleSecondsMin = 0.2;
}  // namespace

Json to_json(const Progress& p) {
  Json j{{"step", p.step},   {"percent", p.percent}, {"bytes", p.bytes},
         {"items", p.items}, {"rate", nullptr},      {"eta_ms", nullptr}};
  if (p.rate_bytes_per_second > 0) j["rate"] = p.rate_bytes_per_second;
  if (p.eta) j["eta_ms"] = p.eta->count();
  return j;
}

void ProgressBoard::begin_step(const Uuid& workflow, std::string type, std::string step, size_t number, size_t count) {
  std::lock_guard lock(mutex_);
  auto [it, made] = entries_.try_emplace(workflow);
  Entry& entry = it->second;
  uint64_t order = made ? next_order_++ : entry.order;
  entry = Entry{};
  entry.order = order;
  entry.sampled_at = clock_.steady_now();
  Progress& p = entry.progress;
  p.workflow = workflow;
  p.type = std::move(type);
  p.step = std::move(step);
  p.step_number = number;
  p.step_count = count;
  p.percent = count == 0 ? 0 : 100.0 * static_cast<double>(number - 1) / static_cast<double>(count);
}

void ProgressBoard::update(const Uuid& workflow, uint64_t items, uint64_t bytes, uint64_t bytes_total) {
  std::lock_guard lock(mutex_);
  auto it = entries_.find(workflow);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  Progress& p = entry.progress;
  p.items = items;
  p.bytes = bytes;
  p.bytes_total = bytes_total;
  auto now = clock_.steady_now();
  double seconds = std::chrono::duration<double>(now - entry.sampled_at).count();
  if (bytes < entry.sampled_bytes) {  // the step began again
    entry.sampled_bytes = bytes;
    entry.sampled_at = now;
  } else if (seconds >= kSampleSecondsMin) {
    double rate = static_cast<double>(bytes - entry.sampled_bytes) / seconds;
    double weight = entry.has_rate ? 1 - std::exp(-seconds / kSmoothingSeconds) : 1;
    p.rate_bytes_per_second += weight * (rate - p.rate_bytes_per_second);
    entry.has_rate = true;
    entry.sampled_bytes = bytes;
    entry.sampled_at = now;
  }
  double part = bytes_total == 0 ? 0 : std::min(1.0, static_cast<double>(bytes) / static_cast<double>(bytes_total));
  if (p.step_count > 0)
    p.percent = 100.0 * (static_cast<double>(p.step_number - 1) + part) / static_cast<double>(p.step_count);
  p.eta.reset();
  if (bytes_total >= bytes && bytes_total > 0 && p.rate_bytes_per_second > 0)
    p.eta =
        Milliseconds(static_cast<int64_t>(1000.0 * static_cast<double>(bytes_total - bytes) / p.rate_bytes_per_second));
}

void ProgressBoard::end(const Uuid& workflow) {
  std::lock_guard lock(mutex_);
  entries_.erase(workflow);
}

std::optional<Progress> ProgressBoard::get(const Uuid& workflow) const {
  std::lock_guard lock(mutex_);
  auto it = entries_.find(workflow);
  return it == entries_.end() ? std::nullopt : std::optional<Progress>(it->second.progress);
}

std::optional<Progress> ProgressBoard::any() const {
  std::lock_guard lock(mutex_);
  const Entry* first = nullptr;
  for (auto& [uuid, entry] : entries_)
    if (!first || entry.order < first->order) first = &entry;
  return first ? std::optional<Progress>(first->progress) : std::nullopt;
}

}  // namespace tillsync
