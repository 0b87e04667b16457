#include "agent/tray/linux/desktop_notifications_linux.h"

#include <cstdio>
#include <cstring>

#include "agent/tray/icon_images.h"
#include "agent/tray/linux/status_notifier_item_linux.h"

namespace tillsync {

namespace {

constexpr const char* kName = "org.freedesktop.Notifications";
constexpr const char* kPath = "/org/freedesktop/Notifications";
constexpr int kImageSize = 48;
constexpr size_t kWaitingMax = 16;  // behind a daemon that does not answer

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

// Width, height, bytes in a row, has alpha, bits, channels, and the pixels as red, green, blue, alpha.
void write_image(MessageWriter& out, TrayIcon icon) {
  std::vector<uint8_t> bytes;
  for (const Pixel& pixel : icon_image(icon, kImageSize).pixels)
    bytes.insert(bytes.end(), {pixel.red, pixel.green, pixel.blue, pixel.alpha});
  out.open('e', "sv").text("image-data").open('v', "(iiibiiay)").open('r', "iiibiiay");
  out.integer(kImageSize).integer(kImageSize).integer(4 * kImageSize).flag(true).integer(8).integer(4).bytes(bytes);
  out.close().close().close();
}

uint8_t urgency_byte(TrayNotification::Urgency urgency) {
  return urgency == TrayNotification::Urgency::low ? 0 : urgency == TrayNotification::Urgency::normal ? 1 : 2;
}

}  // namespace

DesktopNotifications::DesktopNotifications(sd_bus* bus) : bus_(bus), has_theme_icons_(has_theme_icons()) {}

Result<std::unique_ptr<DesktopNotifications>> DesktopNotifications::create(sd_bus* bus) {
  std::unique_ptr<DesktopNotifications> notifications(new DesktopNotifications(bus));
  TILLSYNC_TRY(notifications->listen());
  return notifications;
}

Result<void> DesktopNotifications::listen() {
  sd_bus_slot* slot = nullptr;
  int done = sd_bus_match_signal(bus_, &slot, kName, kPath, kName, "NotificationClosed", on_closed, this);
  if (done < 0) return bus_error(done, "listen to notifications");
  closed_match_.reset(slot);
  const std::string match =
      "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" +
      std::string(kName) + "'";
  if (done = sd_bus_add_match(bus_, &slot, match.c_str(), on_owner_changed, this); done < 0)
    return bus_error(done, "listen to notifications");
  owner_match_.reset(slot);
  return {};
}

void DesktopNotifications::show(TrayNotification notification) {
  if (waiting_.size() >= kWaitingMax) waiting_.pop_front();
  waiting_.push_back(std::move(notification));
  send_next();
}

void DesktopNotifications::send_next() {
  while (!call_ && !waiting_.empty()) {
    if (!reads_markup_) return ask_for_capabilities();
    const TrayNotification next = std::move(waiting_.front());
    waiting_.pop_front();
    // What the person closed does not come back with every percent.
    if (!next.is_update || on_screen_.contains(next.topic)) send(next);
  }
}

void DesktopNotifications::ask_for_capabilities() {
  sd_bus_slot* slot = nullptr;
  const int sent =
      sd_bus_call_method_async(bus_, &slot, kName, kPath, kName, "GetCapabilities", on_capabilities, this, "");
  if (sent >= 0) call_.reset(slot);
}

int DesktopNotifications::on_capabilities(sd_bus_message* answer, void* self, sd_bus_error*) {
  auto& notifications = *static_cast<DesktopNotifications*>(self);
  const BusSlot ended = std::move(notifications.call_);
  if (const sd_bus_error* error = sd_bus_message_get_error(answer)) {
    std::fprintf(stderr, "tillsync-tray: no notifications: %s\n", error->message ? error->message : error->name);
    notifications.waiting_.clear();  // shown later they would be news no more
    return 0;
  }
  bool reads_markup = false;
  const char* capability = nullptr;
  if (sd_bus_message_enter_container(answer, 'a', "s") >= 0)
    while (sd_bus_message_read(answer, "s", &capability) > 0) reads_markup |= !std::strcmp(capability, "body-markup");
  notifications.reads_markup_ = reads_markup;
  notifications.send_next();
  return 0;
}

void DesktopNotifications::send(const TrayNotification& notification) {
  sd_bus_message* raw = nullptr;
  if (sd_bus_message_new_method_call(bus_, &raw, kName, kPath, kName, "Notify") < 0) return;
  const BusMessage message(raw);
  const auto before = on_screen_.find(notification.topic);
  MessageWriter out(message.get());
  out.text("tillsync").number(before == on_screen_.end() ? 0 : before->second);
  out.text(has_theme_icons_ ? std::string(icon_name(notification.icon)) : "").text(notification.summary);
  out.text(*reads_markup_ ? escaped(notification.body) : notification.body);
  out.open('a', "s").close().open('a', "{sv}");
  out.property("urgency", urgency_byte(notification.urgency)).property("desktop-entry", "tillsync-tray");
  if (notification.percent) out.property("value", static_cast<int32_t>(*notification.percent));
  write_image(out, notification.icon);
  out.close().integer(notification.stays ? 0 : -1);
  sd_bus_slot* slot = nullptr;
  if (out.result() < 0 || sd_bus_call_async(bus_, &slot, message.get(), on_sent, this, 0) < 0) return;
  call_.reset(slot);
  topic_of_call_ = notification.topic;
}

int DesktopNotifications::on_sent(sd_bus_message* answer, void* self, sd_bus_error*) {
  auto& notifications = *static_cast<DesktopNotifications*>(self);
  const BusSlot ended = std::move(notifications.call_);
  uint32_t number = 0;
  if (!sd_bus_message_get_error(answer) && sd_bus_message_read(answer, "u", &number) >= 0)
    notifications.on_screen_[notifications.topic_of_call_] = number;
  notifications.send_next();
  return 0;
}

int DesktopNotifications::on_closed(sd_bus_message* signal, void* self, sd_bus_error*) {
  auto& notifications = *static_cast<DesktopNotifications*>(self);
  uint32_t number = 0, reason = 0;
  const int read = sd_bus_message_read(signal, "uu", &number, &reason);
  if (read < 0) return read;
  std::erase_if(notifications.on_screen_, [&](const auto& shown) { return shown.second == number; });
  return 0;
}

int DesktopNotifications::on_owner_changed(sd_bus_message*, void* self, sd_bus_error*) {
  auto& notifications = *static_cast<DesktopNotifications*>(self);
  notifications.on_screen_.clear();
  notifications.reads_markup_.reset();
  return 0;
}

}  // namespace tillsync
