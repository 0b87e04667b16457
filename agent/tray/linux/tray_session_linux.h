// The tray in one user's session: model, icon, menu, notifications and agent on one event loop.
//
// Errors: open(): conflict when this session has a tray already; else what the bus says. Threads: one.
#pragma once

#include <memory>
#include <string>

#include "agent/tray/linux/agent_link_linux.h"
#include "agent/tray/linux/desktop_notifications_linux.h"
#include "agent/tray/linux/status_notifier_item_linux.h"
#include "agent/tray/linux/tray_menu_linux.h"
#include "agent/tray/tray_model.h"

namespace tillsync {

class TraySession {
 public:
  static Result<std::unique_ptr<TraySession>> open(const std::string& control_socket, Language language);
  TraySession(const TraySession&) = delete;
  // Until SIGTERM, SIGINT or the end of the session.
  Result<void> run();

 private:
  explicit TraySession(Language language);
  Result<void> start(const std::string& control_socket);
  void update();
  void expect_change(Now now);
  static int on_signal(sd_event_source*, const struct signalfd_siginfo*, void* self);
  static int on_time(sd_event_source*, uint64_t, void*) { return 0; }  // run() looks after every event

  // In this order: who uses goes before what is used.
  EventLoop loop_;
  BusHandle bus_;
  TrayModel model_;
  std::unique_ptr<TrayMenu> menu_;
  std::unique_ptr<StatusNotifierItem> item_;
  std::unique_ptr<DesktopNotifications> notifications_;
  std::unique_ptr<AgentLink> link_;
  EventSource timer_;
  bool stopping_ = false;
};

}  // namespace tillsync
