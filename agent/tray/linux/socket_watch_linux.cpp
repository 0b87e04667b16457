#include "agent/tray/linux/socket_watch_linux.h"

#include <sys/inotify.h>

#include <filesystem>

namespace tillsync {

void SocketWatch::arm() {
  // IN_ATTRIB: a socket is made for its owner alone and opened to others afterwards.
  constexpr uint32_t kEvents = IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  source_.reset();
  std::filesystem::path below = path_;
  while (below.has_relative_path()) {
    const std::filesystem::path folder = below.parent_path();
    awaited_ = below.filename().string();
    sd_event_source* source = nullptr;
    if (sd_event_add_inotify(loop_, &source, folder.c_str(), kEvents, on_event, this) >= 0) {
      source_.reset(source);
      return;
    }
    below = folder;
  }
}

int SocketWatch::on_event(sd_event_source*, const inotify_event* event, void* self) {
  auto& watch = *static_cast<SocketWatch*>(self);
  if (event->len == 0 || watch.awaited_ == event->name) watch.on_change_();
  return 0;
}

}  // namespace tillsync
