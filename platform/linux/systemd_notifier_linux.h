// systemd, told by datagrams (Type=notify, WatchdogSec=).
//
// Layout: lines of NAME=VALUE to the Unix socket in $NOTIFY_SOCKET; the watchdog's time in $WATCHDOG_USEC, for the
// process in $WATCHDOG_PID. Source: sd_notify(3), which says that it may be implemented without libsystemd: that
// library would bring five others into a process that is meant to be small. Errors and threads: as ServiceManager.
#pragma once

#include <optional>

#include "ports/service_manager.h"

namespace tillsync {

class SystemdNotifier : public ServiceManager {
 public:
  // From the environment: nothing is told where systemd does not ask for it.
  SystemdNotifier();
  ~SystemdNotifier() override;
  SystemdNotifier(const SystemdNotifier&) = delete;
  SystemdNotifier& operator=(const SystemdNotifier&) = delete;

  void ready(const std::string& status) override;
  void status(const std::string& status) override;
  void reloading() override;
  void stopping() override;
  std::chrono::milliseconds patience() const override { return patience_; }
  void alive() override;

 private:
  void tell(const std::string& lines);
  int socket_ = -1;
  std::string address_;  // '@' stands for the zero byte of an abstract name
  std::chrono::milliseconds patience_{0};
};

}  // namespace tillsync
