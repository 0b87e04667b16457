#include "agent/cli/step_progress.h"

#include <algorithm>

namespace tillsync {

using namespace std::chrono_literals;

bool StepProgress::begin(std::string step) {
  step_ = std::move(step);
  begun_ = clock_.steady_now();
  return tell(0, 0, 0);
}

bool StepProgress::show(uint64_t items, uint64_t bytes, uint64_t bytes_total) {
  if (going_ && clock_.steady_now() - told_ < 100ms) return true;
  return tell(items, bytes, bytes_total);
}

bool StepProgress::tell(uint64_t items, uint64_t bytes, uint64_t bytes_total) {
  if (!progress_ || !going_) return going_;
  told_ = clock_.steady_now();
  const double seconds = std::chrono::duration<double>(told_ - begun_).count();
  const double rate = seconds > 0.2 ? static_cast<double>(bytes) / seconds : 0;
  Json document{{"step", step_},  {"percent", nullptr}, {"bytes", bytes},
                {"items", items}, {"rate", nullptr},    {"eta_ms", nullptr}};
  if (bytes_total > 0) document["percent"] = std::min<uint64_t>(100, bytes * 100 / bytes_total);
  if (rate > 0) document["rate"] = static_cast<uint64_t>(rate);
  if (rate > 0 && bytes_total >= bytes)
    document["eta_ms"] = static_cast<uint64_t>(static_cast<double>(bytes_total - bytes) / rate * 1000);
  return going_ = progress_(document);
}

}  // namespace tillsync
