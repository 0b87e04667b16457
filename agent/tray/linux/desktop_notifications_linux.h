// Notifications to the person at the till, through org.freedesktop.Notifications.
//
// Purpose: one after the other, each in the place of the last of its topic. A desktop without a notification daemon
// shows none, and nothing waits for it. Text is escaped only where the daemon reads markup. Errors: on stderr; nobody
// acts on them. Threads: the event loop's. Source: https://specifications.freedesktop.org/notification-spec/1.2/
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "agent/tray/linux/sd_bus_linux.h"
#include "agent/tray/tray_view.h"

namespace tillsync {

class DesktopNotifications {
 public:
  static Result<std::unique_ptr<DesktopNotifications>> create(sd_bus* bus);
  DesktopNotifications(const DesktopNotifications&) = delete;
  void show(TrayNotification notification);

 private:
  explicit DesktopNotifications(sd_bus* bus);
  Result<void> listen();
  void send_next();
  void ask_for_capabilities();
  void send(const TrayNotification& notification);
  static int on_capabilities(sd_bus_message* answer, void* self, sd_bus_error*);
  static int on_sent(sd_bus_message* answer, void* self, sd_bus_error*);
  static int on_closed(sd_bus_message* signal, void* self, sd_bus_error*);
  static int on_owner_changed(sd_bus_message* signal, void* self, sd_bus_error*);

  sd_bus* bus_;
  bool has_theme_icons_;
  std::deque<TrayNotification> waiting_;
  BusSlot call_;  // the one that is not answered yet: its answer gives the number for the next
  TrayNotification::Topic topic_of_call_{};
  std::optional<bool> reads_markup_;                       // unknown until a daemon was asked
  std::map<TrayNotification::Topic, uint32_t> on_screen_;  // numbers the daemon gave
  BusSlot closed_match_, owner_match_;
};

}  // namespace tillsync
