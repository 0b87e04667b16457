// Tells the service manager how the agent does: ready, a line of status when it changes, and that it is alive.
//
// Purpose: `systemctl status` says what the till's owner wants to know. alive() is told from the loop of the agent, so
// only while that loop turns. Errors: none. Threads: the loop's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "ports/service_manager.h"

namespace tillsync {

class ServiceWatch {
 public:
  // look: has somebody find out how things are, who then says it with say(); it must not wait itself.
  ServiceWatch(boost::asio::io_context& loop, ServiceManager* manager, std::function<void()> look)
      : manager_(manager), look_(std::move(look)), timer_(loop) {}
  // Everything runs.
  void start(const std::string& status);
  void say(const std::string& status);
  void reloading();
  void reloaded();
  // for_good: the process ends.
  void stop(bool for_good);

 private:
  void tick();
  ServiceManager* manager_;  // nullptr: nobody
  std::function<void()> look_;
  boost::asio::steady_timer timer_;
  std::string told_;
  bool asked_ = false;
  std::chrono::steady_clock::time_point look_due_{};
};

}  // namespace tillsync
