#include "agent/tray/linux/status_notifier_item_linux.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "agent/tray/icon_images.h"

namespace tillsync {

namespace {

constexpr const char* kPath = "/StatusNotifierItem";
constexpr const char* kInterface = "org.kde.StatusNotifierItem";
constexpr const char* kWatcher = "org.kde.StatusNotifierWatcher";
// A panel takes the one that fits best; small panels of tills, and screens with many dots.
constexpr std::array kSizes{16, 22, 24, 32, 48};

void write_pixmaps(MessageWriter& out, bool is_there, TrayIcon icon) {
  out.open('a', "(iiay)");
  for (const int size : kSizes) {
    if (!is_there) break;
    out.open('r', "iiay").integer(size).integer(size).bytes(argb_bytes(icon, size)).close();
  }
  out.close();
}

}  // namespace

bool has_theme_icons() {
  const char* variable = std::getenv("XDG_DATA_DIRS");
  std::string folders = variable && *variable ? variable : "/usr/local/share:/usr/share";
  const std::string file = "/icons/hicolor/scalable/status/" + std::string(icon_name(TrayIcon::ok)) + ".svg";
  for (size_t begin = 0; begin <= folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    std::error_code unreadable;
    if (end > begin && std::filesystem::exists(folders.substr(begin, end - begin) + file, unreadable)) return true;
    begin = end + 1;
  }
  return false;
}

std::vector<uint8_t> argb_bytes(TrayIcon icon, int size) {
  std::vector<uint8_t> bytes;
  for (const Pixel& pixel : icon_image(icon, size).pixels)
    bytes.insert(bytes.end(), {pixel.alpha, pixel.red, pixel.green, pixel.blue});
  return bytes;
}

const sd_bus_vtable StatusNotifierItem::kTable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Category", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("Id", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("Title", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("Status", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("WindowId", "i", get_property, 0, 0),
    SD_BUS_PROPERTY("IconThemePath", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("IconName", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("IconPixmap", "a(iiay)", get_property, 0, 0),
    SD_BUS_PROPERTY("OverlayIconName", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("OverlayIconPixmap", "a(iiay)", get_property, 0, 0),
    SD_BUS_PROPERTY("AttentionIconName", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("AttentionIconPixmap", "a(iiay)", get_property, 0, 0),
    SD_BUS_PROPERTY("AttentionMovieName", "s", get_property, 0, 0),
    SD_BUS_PROPERTY("ToolTip", "(sa(iiay)ss)", get_property, 0, 0),
    SD_BUS_PROPERTY("ItemIsMenu", "b", get_property, 0, 0),
    SD_BUS_PROPERTY("Menu", "o", get_property, 0, 0),
    SD_BUS_METHOD("Activate", "ii", "", on_activate, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("SecondaryActivate", "ii", "", on_ignored, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("ContextMenu", "ii", "", on_ignored, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Scroll", "is", "", on_ignored, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("NewTitle", "", 0),
    SD_BUS_SIGNAL("NewIcon", "", 0),
    SD_BUS_SIGNAL("NewAttentionIcon", "", 0),
    SD_BUS_SIGNAL("NewOverlayIcon", "", 0),
    SD_BUS_SIGNAL("NewToolTip", "", 0),
    SD_BUS_SIGNAL("NewStatus", "s", 0),
    SD_BUS_VTABLE_END,
};

StatusNotifierItem::StatusNotifierItem(sd_bus* bus, const char* menu_path, TrayView view,
                                       std::function<void()> on_activated)
    : bus_(bus),
      menu_path_(menu_path),
      name_("org.kde.StatusNotifierItem-" + std::to_string(::getpid()) + "-1"),
      view_(std::move(view)),
      on_activated_(std::move(on_activated)),
      has_theme_icons_(has_theme_icons()) {}

Result<std::unique_ptr<StatusNotifierItem>> StatusNotifierItem::create(sd_bus* bus, const char* menu_path,
                                                                       TrayView view,
                                                                       std::function<void()> on_activated) {
  std::unique_ptr<StatusNotifierItem> item(
      new StatusNotifierItem(bus, menu_path, std::move(view), std::move(on_activated)));
  TILLSYNC_TRY(item->put_on_bus());
  return item;
}

Result<void> StatusNotifierItem::put_on_bus() {
  sd_bus_slot* slot = nullptr;
  int done = sd_bus_add_object_vtable(bus_, &slot, kPath, kInterface, kTable, this);
  if (done < 0) return bus_error(done, "offer the icon on the session bus");
  object_.reset(slot);
  if (done = sd_bus_request_name(bus_, name_.c_str(), 0); done < 0) return bus_error(done, "take the name " + name_);
  const std::string match =
      "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" +
      std::string(kWatcher) + "'";
  if (done = sd_bus_add_match(bus_, &slot, match.c_str(), on_owner_changed, this); done < 0)
    return bus_error(done, "wait for a panel");
  watch_.reset(slot);
  register_with_watcher();
  return {};
}

void StatusNotifierItem::register_with_watcher() {
  sd_bus_slot* slot = nullptr;
  const int sent = sd_bus_call_method_async(bus_, &slot, kWatcher, "/StatusNotifierWatcher", kWatcher,
                                            "RegisterStatusNotifierItem", on_registered, this, "s", name_.c_str());
  if (sent >= 0) registration_.reset(slot);
}

int StatusNotifierItem::on_registered(sd_bus_message* answer, void*, sd_bus_error*) {
  const sd_bus_error* error = sd_bus_message_get_error(answer);
  // No watcher: one that comes is heard of.
  if (error && !sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) &&
      !sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
    std::fprintf(stderr, "tillsync-tray: the panel does not take the icon: %s\n",
                 error->message ? error->message : error->name);
  return 0;
}

int StatusNotifierItem::on_owner_changed(sd_bus_message* signal, void* self, sd_bus_error*) {
  const char *name = nullptr, *before = nullptr, *after = nullptr;
  const int read = sd_bus_message_read(signal, "sss", &name, &before, &after);
  if (read < 0) return read;
  if (*after != '\0') static_cast<StatusNotifierItem*>(self)->register_with_watcher();
  return 0;
}

int StatusNotifierItem::on_activate(sd_bus_message* call, void* self, sd_bus_error*) {
  const int replied = sd_bus_reply_method_return(call, "");
  static_cast<StatusNotifierItem*>(self)->on_activated_();
  return replied < 0 ? replied : 1;
}

int StatusNotifierItem::on_ignored(sd_bus_message* call, void*, sd_bus_error*) {
  return sd_bus_reply_method_return(call, "");
}

std::string StatusNotifierItem::status() const { return is_attention() ? "NeedsAttention" : "Active"; }

int StatusNotifierItem::get_property(sd_bus*, const char*, const char*, const char* name, sd_bus_message* reply,
                                     void* self, sd_bus_error*) {
  const auto& item = *static_cast<StatusNotifierItem*>(self);
  const std::string_view asked = name;
  const std::string theme_icon = item.has_theme_icons_ ? std::string(icon_name(item.view_.icon)) : "";
  MessageWriter out(reply);
  if (asked == "Category") {
    out.text("ApplicationStatus");
  } else if (asked == "Id" || asked == "Title") {
    out.text(asked == "Id" ? "tillsync-tray" : "tillsync");
  } else if (asked == "Status") {
    out.text(item.status());
  } else if (asked == "IconName") {
    out.text(theme_icon);
  } else if (asked == "AttentionIconName") {
    out.text(item.is_attention() ? theme_icon : "");
  } else if (asked == "IconPixmap") {
    write_pixmaps(out, true, item.view_.icon);
  } else if (asked == "AttentionIconPixmap") {
    write_pixmaps(out, item.is_attention(), item.view_.icon);
  } else if (asked == "OverlayIconPixmap") {
    write_pixmaps(out, false, item.view_.icon);
  } else if (asked == "ToolTip") {
    out.open('r', "sa(iiay)ss").text("");
    write_pixmaps(out, false, item.view_.icon);
    // Some panels show the first of the two alone, so it says what matters.
    out.text(item.view_.line).text(item.view_.details).close();
  } else if (asked == "ItemIsMenu") {
    out.flag(false);
  } else if (asked == "Menu") {
    out.path(item.menu_path_);
  } else if (asked == "WindowId") {
    out.integer(0);
  } else {  // OverlayIconName, AttentionMovieName, IconThemePath
    out.text("");
  }
  return out.result();
}

void StatusNotifierItem::emit(const char* signal) { (void)sd_bus_emit_signal(bus_, kPath, kInterface, signal, ""); }

void StatusNotifierItem::show(const TrayView& view) {
  const TrayView before = std::exchange(view_, view);
  if (before.icon != view.icon) {
    emit("NewIcon");
    emit("NewAttentionIcon");
    (void)sd_bus_emit_signal(bus_, kPath, kInterface, "NewStatus", "s", status().c_str());
  }
  if (before.line != view.line || before.details != view.details) emit("NewToolTip");
}

}  // namespace tillsync
