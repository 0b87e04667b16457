// Hears when a socket's file, or a folder above it, appears: an agent that starts is met at once, and nobody has to
// look again and again.
//
// Errors: none; where the kernel has no watch to give, nothing is heard. Threads: the event loop's.
#pragma once

#include <functional>
#include <string>

#include "agent/tray/linux/sd_bus_linux.h"

namespace tillsync {

class SocketWatch {
 public:
  SocketWatch(sd_event* loop, std::string path, std::function<void()> on_change)
      : loop_(loop), path_(std::move(path)), on_change_(std::move(on_change)) {}
  // Watches the deepest folder there is now. To be called again after each change.
  void arm();
  void disarm() { source_.reset(); }

 private:
  static int on_event(sd_event_source*, const struct inotify_event* event, void* self);
  sd_event* loop_;
  std::string path_;
  std::function<void()> on_change_;
  std::string awaited_;  // the name in the watched folder
  EventSource source_;
};

}  // namespace tillsync
