// Change notification, as a port: tells a capture thread that a followed file moved, or that someone wants it.
//
// Linux: inotify and an eventfd. Windows: a poll of the wal-index header.
// Threads: wait() by one thread; wake() from any.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"

namespace tillsync {

class ChangeNotifier {
 public:
  virtual ~ChangeNotifier() = default;
  enum class Event { timeout, changed, look, woken };
  // changed: the database file, its -wal or its journal was written, made, removed or replaced. A burst is one event.
  // look: from now on changes are noticed; of those since the last event nobody tells, so look, and wait again.
  // A wait of a few milliseconds may end with timeout whatever happens meanwhile: a watch costs the writer more.
  virtual Event wait(std::chrono::milliseconds timeout) = 0;
  virtual void wake() = 0;
};

class ChangeNotifierFactory {
 public:
  virtual ~ChangeNotifierFactory() = default;
  // database_path need not exist yet; its folder must. not_found otherwise.
  virtual Result<std::unique_ptr<ChangeNotifier>> watch(const std::string& database_path) = 0;
};

}  // namespace tillsync
