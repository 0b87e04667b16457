#include "agent/cli/progress.h"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace tillsync {

using namespace std::chrono_literals;

std::string progress_line(const Json& progress, bool with_bar) {
  constexpr size_t kBarWidth = 24;
  std::string out = text_in(progress, "step", "working");
  if (member(progress, "percent").is_number()) {
    const uint64_t percent = std::min<uint64_t>(100, count_in(progress, "percent"));
    if (with_bar) {
      const size_t full = percent * kBarWidth / 100;
      out.resize(std::max<size_t>(out.size(), 24), ' ');
      out += " [" + std::string(full, '#') + std::string(kBarWidth - full, ' ') + "]";
    }
    char text[16];
    std::snprintf(text, sizeof text, " %3d %%", static_cast<int>(percent));
    out += text;
  }
  if (count_in(progress, "bytes") > 0) out += "  " + human_size(count_in(progress, "bytes"));
  if (count_in(progress, "items") > 0) out += "  " + human_count(count_in(progress, "items")) + " items";
  if (count_in(progress, "rate") > 0) out += "  " + human_size(count_in(progress, "rate")) + "/s";
  if (member(progress, "eta_ms").is_number())
    out += "  " + human_duration(Milliseconds(static_cast<int64_t>(count_in(progress, "eta_ms")))) + " left";
  return out;
}

void ProgressView::show(const Json& progress) {
  if (kind_ == Kind::none) return;
  const auto now = std::chrono::steady_clock::now();
  const std::string step = text_in(progress, "step", "working");
  const auto pause = kind_ == Kind::bar ? 100ms : 5000ms;
  if (step == step_ && now - last_ < pause) return;
  step_ = step;
  last_ = now;
  if (kind_ == Kind::bar) {
    out_ << "\r\x1b[K" << progress_line(progress, true) << std::flush;
    drawn_ = true;
  } else {
    out_ << progress_line(progress, false) << std::endl;
  }
}

void ProgressView::finish() {
  if (drawn_) out_ << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace tillsync
