// The icon's menu: com.canonical.dbusmenu on the session bus.
//
// Purpose: panels draw it themselves and say what was chosen, Qt ones by Event, GTK ones by EventGroup. Entries never
// come or go, they are only hidden, so that a menu that is open stays as it is.
// Errors: create() when the bus refuses. Threads: the event loop's.
// Source: https://github.com/AyatanaIndicators/libdbusmenu/blob/master/libdbusmenu-glib/dbus-menu.xml
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/tray/linux/sd_bus_linux.h"
#include "agent/tray/tray_view.h"

namespace tillsync {

class TrayMenu {
 public:
  static constexpr const char* kPath = "/MenuBar";
  static Result<std::unique_ptr<TrayMenu>> create(sd_bus* bus, std::vector<MenuEntry> entries,
                                                  std::function<void(MenuItem)> on_chosen);
  TrayMenu(const TrayMenu&) = delete;
  void show(const std::vector<MenuEntry>& entries);

 private:
  using Names = std::set<std::string>;  // of the properties that are asked for; empty: all

  TrayMenu(std::vector<MenuEntry> entries, std::function<void(MenuItem)> on_chosen)
      : entries_(std::move(entries)), on_chosen_(std::move(on_chosen)) {}
  const MenuEntry* find(int32_t id) const;
  void happened(int32_t id, const std::string& event);

  static int get_layout(sd_bus_message* call, void* self, sd_bus_error*);
  static int get_group_properties(sd_bus_message* call, void* self, sd_bus_error*);
  static int get_one_property(sd_bus_message* call, void* self, sd_bus_error*);
  static int on_event(sd_bus_message* call, void* self, sd_bus_error*);
  static int on_event_group(sd_bus_message* call, void* self, sd_bus_error*);
  static int about_to_show(sd_bus_message* call, void* self, sd_bus_error*);
  static int about_to_show_group(sd_bus_message* call, void* self, sd_bus_error*);
  static int get_property(sd_bus*, const char*, const char*, const char* name, sd_bus_message* reply, void* self,
                          sd_bus_error*);
  static void write_properties(MessageWriter& out, const MenuEntry& entry, const Names& names);
  static const sd_bus_vtable kTable[];

  sd_bus* bus_ = nullptr;
  std::vector<MenuEntry> entries_;
  std::function<void(MenuItem)> on_chosen_;
  uint32_t revision_ = 1;
  BusSlot object_;
};

}  // namespace tillsync
