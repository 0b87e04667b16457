// Progress of long work for a person: a bar that redraws itself on a terminal, a line now and then elsewhere.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>

#include "agent/cli/text.h"

namespace tillsync {

class ProgressView {
 public:
  enum class Kind { none, lines, bar };
  ProgressView(std::ostream& out, Kind kind) : out_(out), kind_(kind) {}
  ~ProgressView() { finish(); }
  ProgressView(const ProgressView&) = delete;
  // {step, percent, bytes, items, rate, eta_ms}, each of which may be absent.
  void show(const Json& progress);
  // Ends the bar's line; nothing if none was drawn.
  void finish();

 private:
  std::ostream& out_;
  Kind kind_;
  bool drawn_ = false;
  std::string step_;
  std::chrono::steady_clock::time_point last_{};
};

// "UPLOAD_PACKS   [#######             ]  35 %  12.0 MiB  2.1 MiB/s  18 s left"
std::string progress_line(const Json& progress, bool with_bar);

}  // namespace tillsync
