// SIGTERM and SIGINT stop, SIGHUP reloads. Handlers write into a pipe. At most one of these objects at a time.
#pragma once

#include "base/result.h"
#include "ports/process_signals.h"

namespace tillsync {

class LinuxProcessSignals : public ProcessSignals {
 public:
  LinuxProcessSignals();
  ~LinuxProcessSignals() override;
  LinuxProcessSignals(const LinuxProcessSignals&) = delete;
  LinuxProcessSignals& operator=(const LinuxProcessSignals&) = delete;

  void listen(bool whether) override;
  int descriptor() const override { return pipe_[0]; }
  std::optional<ProcessSignal> next() override;

 private:
  int pipe_[2] = {-1, -1};
};

}  // namespace tillsync
