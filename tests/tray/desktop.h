// The desktop that a tray meets, played on a private bus: a panel with its watcher, which reads icon and menu and
// clicks, and a notification daemon.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "tests/tray/private_bus.h"

namespace tillsync::test {

// A connection that answers while it is served.
class Served {
 public:
  explicit Served(PrivateBus& bus) : bus_(bus.connect()) { REQUIRE(bus_); }
  Served(const Served&) = delete;
  virtual ~Served() { sd_bus_flush_close_unref(bus_); }
  void serve() {
    while (sd_bus_process(bus_, nullptr) > 0) {}
  }

 protected:
  void own(const char* name) { REQUIRE(sd_bus_request_name(bus_, name, 0) >= 0); }
  sd_bus* bus_;
};

struct ShownEntry {
  std::string label, type = "standard";
  bool enabled = true, visible = true;
};

struct ShownPixmap {
  int width = 0, height = 0;
  std::vector<uint8_t> bytes;
};

class Panel : public Served {
 public:
  explicit Panel(PrivateBus& bus) : Served(bus) {
    static const sd_bus_vtable table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("RegisterStatusNotifierItem", "s", "", on_register, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
    };
    REQUIRE(sd_bus_add_object_vtable(bus_, nullptr, "/StatusNotifierWatcher", kWatcher, table, this) >= 0);
    for (const char* interface : {kItem, kMenu})
      REQUIRE(sd_bus_match_signal(bus_, nullptr, nullptr, nullptr, interface, nullptr, on_signal, this) >= 0);
    own(kWatcher);
  }

  std::vector<std::string> registered;
  std::vector<std::string> signals;
  bool heard(const std::string& signal) const {
    return std::find(signals.begin(), signals.end(), signal) != signals.end();
  }

  std::string text(const char* property) {
    char* raw = nullptr;
    const int got =
        sd_bus_get_property_string(bus_, item().c_str(), "/StatusNotifierItem", kItem, property, nullptr, &raw);
    REQUIRE_MESSAGE(got >= 0, property);
    const std::string value = raw;
    ::free(raw);
    return value;
  }
  // Line and details.
  std::pair<std::string, std::string> tooltip() {
    sd_bus_message* reply = property("ToolTip", "(sa(iiay)ss)");
    const char *icon = nullptr, *line = nullptr, *details = nullptr;
    REQUIRE(sd_bus_message_enter_container(reply, 'r', "sa(iiay)ss") >= 0);
    REQUIRE(sd_bus_message_read(reply, "s", &icon) >= 0);
    REQUIRE(sd_bus_message_skip(reply, "a(iiay)") >= 0);
    REQUIRE(sd_bus_message_read(reply, "ss", &line, &details) >= 0);
    const std::pair<std::string, std::string> out{line, details};
    sd_bus_message_unref(reply);
    return out;
  }
  std::string line() { return tooltip().first; }
  std::vector<ShownPixmap> pixmaps(const char* name = "IconPixmap") {
    sd_bus_message* reply = property(name, "a(iiay)");
    std::vector<ShownPixmap> out;
    REQUIRE(sd_bus_message_enter_container(reply, 'a', "(iiay)") >= 0);
    while (sd_bus_message_enter_container(reply, 'r', "iiay") > 0) {
      ShownPixmap pixmap;
      const void* bytes = nullptr;
      size_t size = 0;
      REQUIRE(sd_bus_message_read(reply, "ii", &pixmap.width, &pixmap.height) >= 0);
      REQUIRE(sd_bus_message_read_array(reply, 'y', &bytes, &size) >= 0);
      pixmap.bytes.assign(static_cast<const uint8_t*>(bytes), static_cast<const uint8_t*>(bytes) + size);
      out.push_back(std::move(pixmap));
      REQUIRE(sd_bus_message_exit_container(reply) >= 0);
    }
    sd_bus_message_unref(reply);
    return out;
  }
  // By id, as libdbusmenu asks for it.
  std::map<int, ShownEntry> menu() {
    sd_bus_message* reply = call_menu("GetLayout", "iias", 0, -1, 0);
    std::map<int, ShownEntry> entries;
    uint32_t revision = 0;
    int32_t root = 0;
    REQUIRE(sd_bus_message_read(reply, "u", &revision) >= 0);
    REQUIRE(sd_bus_message_enter_container(reply, 'r', "ia{sv}av") >= 0);
    REQUIRE(sd_bus_message_read(reply, "i", &root) >= 0);
    REQUIRE(sd_bus_message_skip(reply, "a{sv}") >= 0);
    REQUIRE(sd_bus_message_enter_container(reply, 'a', "v") >= 0);
    while (sd_bus_message_enter_container(reply, 'v', "(ia{sv}av)") > 0) {
      int32_t id = 0;
      REQUIRE(sd_bus_message_enter_container(reply, 'r', "ia{sv}av") >= 0);
      REQUIRE(sd_bus_message_read(reply, "i", &id) >= 0);
      entries[id] = read_entry(reply);
      REQUIRE(sd_bus_message_skip(reply, "av") >= 0);
      REQUIRE(sd_bus_message_exit_container(reply) >= 0);
      REQUIRE(sd_bus_message_exit_container(reply) >= 0);
    }
    sd_bus_message_unref(reply);
    return entries;
  }
  // One property of one entry and the root, as libdbusmenu asks when it opens the menu.
  std::map<int, ShownEntry> labels_of(int id) {
    sd_bus_message* reply = call_menu("GetGroupProperties", "aias", 2, 0, id, 1, "label");
    std::map<int, ShownEntry> entries;
    REQUIRE(sd_bus_message_enter_container(reply, 'a', "(ia{sv})") >= 0);
    while (sd_bus_message_enter_container(reply, 'r', "ia{sv}") > 0) {
      int32_t found = 0;
      REQUIRE(sd_bus_message_read(reply, "i", &found) >= 0);
      entries[found] = read_entry(reply);
      REQUIRE(sd_bus_message_exit_container(reply) >= 0);
    }
    sd_bus_message_unref(reply);
    return entries;
  }
  std::string label(int id) { return menu()[id].label; }
  void left_click() {
    sd_bus_message* reply = nullptr;
    REQUIRE(sd_bus_call_method(bus_, item().c_str(), "/StatusNotifierItem", kItem, "Activate", nullptr, &reply, "ii", 1,
                               1) >= 0);
    sd_bus_message_unref(reply);
  }
  // As hosts made with Qt, and with libdbusmenu, say it.
  void click(int id) { sd_bus_message_unref(call_menu("Event", "isvu", id, "clicked", "i", 0, 0)); }
  void click_in_group(int id) {
    sd_bus_message_unref(call_menu("EventGroup", "a(isvu)", 2, id, "hovered", "i", 0, 0, id, "clicked", "i", 0, 0));
  }

 private:
  static constexpr const char* kWatcher = "org.kde.StatusNotifierWatcher";
  static constexpr const char* kItem = "org.kde.StatusNotifierItem";
  static constexpr const char* kMenu = "com.canonical.dbusmenu";

  const std::string& item() const {
    REQUIRE_FALSE(registered.empty());
    return registered.back();
  }
  sd_bus_message* property(const char* name, const char* type) {
    sd_bus_message* reply = nullptr;
    REQUIRE(sd_bus_get_property(bus_, item().c_str(), "/StatusNotifierItem", kItem, name, nullptr, &reply, type) >= 0);
    return reply;
  }
  template <class... Arguments>
  sd_bus_message* call_menu(const char* method, const char* types, Arguments... arguments) {
    char* path = nullptr;
    sd_bus_message* reply = property("Menu", "o");
    const char* raw = nullptr;
    REQUIRE(sd_bus_message_read(reply, "o", &raw) >= 0);
    const std::string menu_path = raw;
    sd_bus_message_unref(reply);
    ::free(path);
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message* answer = nullptr;
    const int called = sd_bus_call_method(bus_, item().c_str(), menu_path.c_str(), kMenu, method, &error, &answer,
                                          types, arguments...);
    REQUIRE_MESSAGE(called >= 0, method << ": " << (error.message ? error.message : ""));
    return answer;
  }
  static ShownEntry read_entry(sd_bus_message* reply) {
    ShownEntry entry;
    REQUIRE(sd_bus_message_enter_container(reply, 'a', "{sv}") >= 0);
    while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
      const char *name = nullptr, *text = nullptr;
      int flag = 0;
      REQUIRE(sd_bus_message_read(reply, "s", &name) >= 0);
      const std::string what = name;
      if (what == "label" || what == "type") {
        REQUIRE(sd_bus_message_read(reply, "v", "s", &text) >= 0);
        (what == "label" ? entry.label : entry.type) = text;
      } else if (what == "enabled" || what == "visible") {
        REQUIRE(sd_bus_message_read(reply, "v", "b", &flag) >= 0);
        (what == "enabled" ? entry.enabled : entry.visible) = flag != 0;
      } else {
        REQUIRE(sd_bus_message_skip(reply, "v") >= 0);
      }
      REQUIRE(sd_bus_message_exit_container(reply) >= 0);
    }
    REQUIRE(sd_bus_message_exit_container(reply) >= 0);
    return entry;
  }
  static int on_register(sd_bus_message* call, void* self, sd_bus_error*) {
    const char* name = nullptr;
    if (const int read = sd_bus_message_read(call, "s", &name); read < 0) return read;
    static_cast<Panel*>(self)->registered.emplace_back(name);
    return sd_bus_reply_method_return(call, "");
  }
  static int on_signal(sd_bus_message* signal, void* self, sd_bus_error*) {
    static_cast<Panel*>(self)->signals.emplace_back(sd_bus_message_get_member(signal));
    return 0;
  }
};

struct ShownNotification {
  uint32_t replaces = 0, number = 0;
  std::string summary, body;
  int urgency = -1, percent = -1, timeout = 0;
  bool has_image = false;
};

class NotificationDaemon : public Served {
 public:
  explicit NotificationDaemon(PrivateBus& bus, bool reads_markup = true) : Served(bus), reads_markup_(reads_markup) {
    static const sd_bus_vtable table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("GetCapabilities", "", "as", on_capabilities, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Notify", "susssasa{sv}i", "u", on_notify, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL("NotificationClosed", "uu", 0),
        SD_BUS_VTABLE_END,
    };
    REQUIRE(sd_bus_add_object_vtable(bus_, nullptr, kPath, kName, table, this) >= 0);
    own(kName);
  }
  std::vector<ShownNotification> shown;
  bool has(const std::string& summary) const {
    return std::any_of(shown.begin(), shown.end(), [&](const auto& one) { return one.summary == summary; });
  }
  void close(uint32_t number) {
    REQUIRE(sd_bus_emit_signal(bus_, kPath, kName, "NotificationClosed", "uu", number, 2u) >= 0);
    REQUIRE(sd_bus_flush(bus_) >= 0);
  }

 private:
  static constexpr const char* kName = "org.freedesktop.Notifications";
  static constexpr const char* kPath = "/org/freedesktop/Notifications";

  static int on_capabilities(sd_bus_message* call, void* self, sd_bus_error*) {
    if (static_cast<NotificationDaemon*>(self)->reads_markup_)
      return sd_bus_reply_method_return(call, "as", 2, "body", "body-markup");
    return sd_bus_reply_method_return(call, "as", 1, "body");
  }
  static int on_notify(sd_bus_message* call, void* self, sd_bus_error*) {
    auto& daemon = *static_cast<NotificationDaemon*>(self);
    ShownNotification one;
    const char *application = nullptr, *icon = nullptr, *summary = nullptr, *body = nullptr, *hint = nullptr;
    int read = sd_bus_message_read(call, "susss", &application, &one.replaces, &icon, &summary, &body);
    if (read >= 0) read = sd_bus_message_skip(call, "as");
    if (read >= 0) read = sd_bus_message_enter_container(call, 'a', "{sv}");
    while (read >= 0 && (read = sd_bus_message_enter_container(call, 'e', "sv")) > 0) {
      if (read = sd_bus_message_read(call, "s", &hint); read < 0) break;
      const std::string what = hint;
      uint8_t byte = 0;
      if (what == "urgency") {
        read = sd_bus_message_read(call, "v", "y", &byte);
        one.urgency = byte;
      } else if (what == "value") {
        read = sd_bus_message_read(call, "v", "i", &one.percent);
      } else {
        one.has_image |= what == "image-data";
        read = sd_bus_message_skip(call, "v");
      }
      if (read >= 0) read = sd_bus_message_exit_container(call);
    }
    if (read >= 0) read = sd_bus_message_exit_container(call);
    if (read >= 0) read = sd_bus_message_read(call, "i", &one.timeout);
    if (read < 0) return read;
    one.summary = summary;
    one.body = body;
    one.number = one.replaces ? one.replaces : ++daemon.last_;
    daemon.shown.push_back(one);
    return sd_bus_reply_method_return(call, "u", one.number);
  }

  bool reads_markup_;
  uint32_t last_ = 0;
};

}  // namespace tillsync::test
