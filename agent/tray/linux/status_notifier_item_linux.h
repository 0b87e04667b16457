// The icon in the panel: org.kde.StatusNotifierItem on the session bus.
//
// Purpose: shows a TrayView, says what changed, and registers with the panel's watcher, again whenever one appears: a
// panel may start after us, or crash.
// Errors: create() when the bus refuses. Threads: the event loop's.
// Source: https://www.freedesktop.org/wiki/Specifications/StatusNotifierItem
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/tray/linux/sd_bus_linux.h"
#include "agent/tray/tray_view.h"

namespace tillsync {

// Whether an icon theme of this machine has our drawings: a name that nobody knows would be an empty place in some
// panels.
bool has_theme_icons();
// Pixels as D-Bus wants them: bytes in the order alpha, red, green, blue.
std::vector<uint8_t> argb_bytes(TrayIcon icon, int size);

class StatusNotifierItem {
 public:
  static Result<std::unique_ptr<StatusNotifierItem>> create(sd_bus* bus, const char* menu_path, TrayView view,
                                                            std::function<void()> on_activated);
  StatusNotifierItem(const StatusNotifierItem&) = delete;
  void show(const TrayView& view);

 private:
  StatusNotifierItem(sd_bus* bus, const char* menu_path, TrayView view, std::function<void()> on_activated);
  Result<void> put_on_bus();
  void register_with_watcher();
  void emit(const char* signal);
  std::string status() const;
  bool is_attention() const { return view_.icon == TrayIcon::attention; }

  static int get_property(sd_bus*, const char*, const char*, const char* name, sd_bus_message* reply, void* self,
                          sd_bus_error*);
  static int on_activate(sd_bus_message* call, void* self, sd_bus_error*);
  static int on_ignored(sd_bus_message* call, void* self, sd_bus_error*);
  static int on_owner_changed(sd_bus_message* signal, void* self, sd_bus_error*);
  static int on_registered(sd_bus_message* answer, void* self, sd_bus_error*);
  static const sd_bus_vtable kTable[];

  sd_bus* bus_;
  const char* menu_path_;
  std::string name_;
  TrayView view_;
  std::function<void()> on_activated_;
  bool has_theme_icons_;
  BusSlot object_, watch_, registration_;
};

}  // namespace tillsync
