// Tells the service manager how the agent does: ready, a line of status when it changes, and that it is alive.
//
// Purpose: `systemctl status` says what the till's owner wants to know. alive() is told from the loop of the agent, so
// only while that loop turns, and only while capture goes on: a thread of it that shows no progress for kHungAfter
// times the manager's patience hangs, and the manager ends the agent and starts it again. Errors: none. Threads: the
// loop's.
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
  // hung: names what has not gone on for this long; empty: all does. It must not wait either.
  static constexpr int kHungAfter = 2;
  ServiceWatch(boost::asio::io_context& loop, ServiceManager* manager, std::function<void()> look,
               std::function<std::string(std::chrono::milliseconds)> hung)
      : manager_(manager), look_(std::move(look)), hung_(std::move(hung)), timer_(loop) {}
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
  std::function<std::string(std::chrono::milliseconds)> hung_;
  boost::asio::steady_timer timer_;
  std::string told_;
  bool asked_ = false, told_hung_ = false;
  std::chrono::steady_clock::time_point look_due_{};
};

}  // namespace tillsync
