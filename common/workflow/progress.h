// How far a running workflow is, for a person who watches.
//
// Units: bytes; rate in bytes a second, averaged over about five seconds; percent of the whole workflow, every step
// counting the same. The board is in memory; what it says is kept with the workflow every few seconds, for after a
// restart (StepContext::progress).
// Threads: any.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/json.h"
#include "ports/clock.h"

namespace tillsync {

struct Progress {
  Uuid workflow;
  std::string type;        // "BACKUP"
  std::string step;        // "FETCH_PACKS"
  size_t step_number = 0;  // from 1
  size_t step_count = 0;
  uint64_t items = 0;
  uint64_t bytes = 0;
  uint64_t bytes_total = 0;  // 0: not known
  double percent = 0;
  double rate_bytes_per_second = 0;
  std::optional<Milliseconds> eta;  // of this step; nullopt while it cannot be said
};

// {step, percent, bytes, items, rate, eta_ms}; null where it can't be said.
Json to_json(const Progress& progress);

class ProgressBoard {
 public:
  explicit ProgressBoard(Clock& clock) : clock_(clock) {}
  void begin_step(const Uuid& workflow, std::string type, std::string step, size_t number, size_t count);
  void update(const Uuid& workflow, uint64_t items, uint64_t bytes, uint64_t bytes_total);
  void end(const Uuid& workflow);
  std::optional<Progress> get(const Uuid& workflow) const;
  std::optional<Progress> any() const;  // the one that began first

 private:
  struct Entry {
    Progress progress;
    uint64_t order = 0;
    uint64_t sampled_bytes = 0;
    std::chrono::steady_clock::time_point sampled_at;
    bool has_rate = false;
  };
  Clock& clock_;
  mutable std::mutex mutex_;
  uint64_t next_order_ = 0;
  std::map<Uuid, Entry> entries_;
};

}  // namespace tillsync
