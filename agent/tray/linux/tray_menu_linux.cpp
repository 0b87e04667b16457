#include "agent/tray/linux/tray_menu_linux.h"

#include <algorithm>

namespace tillsync {

namespace {

constexpr const char* kInterface = "com.canonical.dbusmenu";
constexpr int32_t kRoot = 0;

// An underscore would underline the letter after it.
std::string menu_label(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '_') out += c;
  }
  return out;
}

void write_root(MessageWriter& out) { out.open('a', "{sv}").property("children-display", "submenu").close(); }

int read_names(sd_bus_message* call, std::set<std::string>& names) {
  int read = sd_bus_message_enter_container(call, 'a', "s");
  if (read < 0) return read;
  const char* name = nullptr;
  while ((read = sd_bus_message_read(call, "s", &name)) > 0) names.insert(name);
  return read < 0 ? read : sd_bus_message_exit_container(call);
}

}  // namespace

const sd_bus_vtable TrayMenu::kTable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Version", "u", get_property, 0, 0),
    SD_BUS_PROPERTY("TextDirection", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("Status", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("IconThemePath", "as", get_property, 0, 0),
    SD_BUS_METHOD("GetLayout", "iias", "u(ia{sv}av)", get_layout, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("GetGroupProperties", "aias", "a(ia{sv})", get_group_properties, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("GetProperty", "is", "v", get_one_property, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Event", "isvu", "", on_event, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("EventGroup", "a(isvu)", "ai", on_event_group, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("AboutToShow", "i", "b", about_to_show, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("AboutToShowGroup", "ai", "aiai", about_to_show_group, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("ItemsPropertiesUpdated", "a(ia{sv})a(ias)", 0),
    SD_BUS_SIGNAL("LayoutUpdated", "ui", 0),
    SD_BUS_SIGNAL("ItemActivationRequested", "iu", 0),
    SD_BUS_VTABLE_END,
};

Result<std::unique_ptr<TrayMenu>> TrayMenu::create(sd_bus* bus, std::vector<MenuEntry> entries,
                                                   std::function<void(MenuItem)> on_chosen) {
  std::unique_ptr<TrayMenu> menu(new TrayMenu(std::move(entries), std::move(on_chosen)));
  menu->bus_ = bus;
  sd_bus_slot* slot = nullptr;
  const int done = sd_bus_add_object_vtable(bus, &slot, kPath, kInterface, kTable, menu.get());
  if (done < 0) return bus_error(done, "offer the menu on the session bus");
  menu->object_.reset(slot);
  return menu;
}

const MenuEntry* TrayMenu::find(int32_t id) const {
  for (const MenuEntry& entry : entries_)
    if (static_cast<int32_t>(entry.item) == id) return &entry;
  return nullptr;
}

void TrayMenu::write_properties(MessageWriter& out, const MenuEntry& entry, const Names& names) {
  const auto wanted = [&](const char* name) { return names.empty() || names.contains(name); };
  out.open('a', "{sv}");
  if (entry.label.empty()) {
    if (wanted("type")) out.property("type", "separator");
  } else if (wanted("label")) {
    out.property("label", menu_label(entry.label));
  }
  if (wanted("enabled")) out.property("enabled", entry.enabled);
  if (wanted("visible")) out.property("visible", entry.visible);
  out.close();
}

int TrayMenu::get_layout(sd_bus_message* call, void* self, sd_bus_error* error) {
  const auto& menu = *static_cast<TrayMenu*>(self);
  int32_t parent = 0, depth = 0;
  Names names;
  int read = sd_bus_message_read(call, "ii", &parent, &depth);
  if (read >= 0) read = read_names(call, names);
  if (read < 0) return read;
  const MenuEntry* alone = menu.find(parent);
  if (parent != kRoot && !alone) return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "no such menu entry");
  return reply(call, [&](MessageWriter& out) {
    out.number(menu.revision_).open('r', "ia{sv}av").integer(parent);
    if (alone)
      write_properties(out, *alone, names);
    else
      write_root(out);
    out.open('a', "v");
    for (const MenuEntry& entry : menu.entries_) {
      if (alone || depth == 0) break;
      out.open('v', "(ia{sv}av)").open('r', "ia{sv}av").integer(static_cast<int32_t>(entry.item));
      write_properties(out, entry, names);
      out.open('a', "v").close().close().close();
    }
    out.close().close();
  });
}

int TrayMenu::get_group_properties(sd_bus_message* call, void* self, sd_bus_error*) {
  const auto& menu = *static_cast<TrayMenu*>(self);
  const void* ids = nullptr;
  size_t bytes = 0;
  Names names;
  int read = sd_bus_message_read_array(call, 'i', &ids, &bytes);
  if (read >= 0) read = read_names(call, names);
  if (read < 0) return read;
  const auto* begin = static_cast<const int32_t*>(ids);
  const auto* end = begin + bytes / sizeof(int32_t);
  return reply(call, [&](MessageWriter& out) {
    const auto wanted = [&](int32_t id) { return begin == end || std::find(begin, end, id) != end; };
    out.open('a', "(ia{sv})");
    // libdbusmenu asks for the root as well when the menu opens.
    if (wanted(kRoot)) {
      out.open('r', "ia{sv}").integer(kRoot);
      write_root(out);
      out.close();
    }
    for (const MenuEntry& entry : menu.entries_) {
      const auto id = static_cast<int32_t>(entry.item);
      if (!wanted(id)) continue;
      out.open('r', "ia{sv}").integer(id);
      write_properties(out, entry, names);
      out.close();
    }
    out.close();
  });
}

int TrayMenu::get_one_property(sd_bus_message* call, void* self, sd_bus_error* error) {
  const auto& menu = *static_cast<TrayMenu*>(self);
  int32_t id = 0;
  const char* name = nullptr;
  const int read = sd_bus_message_read(call, "is", &id, &name);
  if (read < 0) return read;
  const MenuEntry* entry = menu.find(id);
  const std::string_view asked = name;
  if (entry && (asked == "enabled" || asked == "visible"))
    return reply(call, [&](MessageWriter& out) {
      out.open('v', "b").flag(asked == "enabled" ? entry->enabled : entry->visible).close();
    });
  if (entry && (asked == "label" || asked == "type"))
    return reply(call, [&](MessageWriter& out) {
      const char* type = entry->label.empty() ? "separator" : "standard";
      out.open('v', "s").text(asked == "label" ? menu_label(entry->label) : type).close();
    });
  return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "no such menu entry or property");
}

void TrayMenu::happened(int32_t id, const std::string& event) {
  if (event != "clicked") return;  // opened, closed, hovered
  if (const MenuEntry* entry = find(id)) on_chosen_(entry->item);
}

int TrayMenu::on_event(sd_bus_message* call, void* self, sd_bus_error*) {
  int32_t id = 0;
  const char* event = nullptr;
  const int read = sd_bus_message_read(call, "is", &id, &event);
  if (read < 0) return read;
  const std::string what = event;
  const int replied = sd_bus_reply_method_return(call, "");
  static_cast<TrayMenu*>(self)->happened(id, what);
  return replied < 0 ? replied : 1;
}

int TrayMenu::on_event_group(sd_bus_message* call, void* self, sd_bus_error*) {
  auto& menu = *static_cast<TrayMenu*>(self);
  std::vector<std::pair<int32_t, std::string>> events;
  int read = sd_bus_message_enter_container(call, 'a', "(isvu)");
  while (read >= 0 && (read = sd_bus_message_enter_container(call, 'r', "isvu")) > 0) {
    int32_t id = 0;
    const char* event = nullptr;
    if (read = sd_bus_message_read(call, "is", &id, &event); read < 0) break;
    events.emplace_back(id, event);
    if (read = sd_bus_message_skip(call, "vu"); read < 0) break;
    read = sd_bus_message_exit_container(call);
  }
  if (read < 0) return read;
  const int replied = reply(call, [&](MessageWriter& out) {
    out.open('a', "i");
    for (const auto& [id, event] : events)
      if (!menu.find(id)) out.integer(id);
    out.close();
  });
  for (const auto& [id, event] : events) menu.happened(id, event);
  return replied;
}

// What is shown was told when it changed: there is nothing to look up.
int TrayMenu::about_to_show(sd_bus_message* call, void*, sd_bus_error*) {
  return reply(call, [](MessageWriter& out) { out.flag(false); });
}

int TrayMenu::about_to_show_group(sd_bus_message* call, void*, sd_bus_error*) {
  return reply(call, [](MessageWriter& out) { out.open('a', "i").close().open('a', "i").close(); });
}

int TrayMenu::get_property(sd_bus*, const char*, const char*, const char* name, sd_bus_message* reply, void*,
                           sd_bus_error*) {
  const std::string_view asked = name;
  MessageWriter out(reply);
  if (asked == "Version")
    out.number(3);
  else if (asked == "IconThemePath")
    out.open('a', "s").close();
  else
    out.text(asked == "Status" ? "normal" : "ltr");
  return out.result();
}

void TrayMenu::show(const std::vector<MenuEntry>& entries) {
  const auto before = std::exchange(entries_, entries);
  if (before == entries_) return;
  sd_bus_message* raw = nullptr;
  if (sd_bus_message_new_signal(bus_, &raw, kPath, kInterface, "ItemsPropertiesUpdated") < 0) return;
  const BusMessage signal(raw);
  MessageWriter out(signal.get());
  bool other_lines = false;
  out.open('a', "(ia{sv})");
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (i < before.size() && before[i] == entries_[i]) continue;
    other_lines |= i >= before.size() || before[i].visible != entries_[i].visible;
    out.open('r', "ia{sv}").integer(static_cast<int32_t>(entries_[i].item));
    write_properties(out, entries_[i], {});
    out.close();
  }
  out.close().open('a', "(ias)").close();
  if (out.result() >= 0) (void)sd_bus_message_send(signal.get());
  // Panels that measured the menu measure it again.
  if (other_lines) (void)sd_bus_emit_signal(bus_, kPath, kInterface, "LayoutUpdated", "ui", ++revision_, kRoot);
}

}  // namespace tillsync
