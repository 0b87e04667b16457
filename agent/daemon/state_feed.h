// Tells those who watch how the terminal is: at once, and whenever that changes.
//
// Purpose: a tray shows it all day long, and must cost an idle till nothing. While nobody watches, nothing is done;
// while somebody does, the state is looked at when something happened, at most once a second, and every kIdleLook.
// Threads: watch(), stop() on the loop; poke() from any.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <vector>

#include "agent/control/server.h"

namespace tillsync {

class StateFeed {
 public:
  static constexpr std::chrono::seconds kBusyLook{1}, kIdleLook{10};
  // look: finds out how things are on a thread that may wait, and hands it to `told` on the loop.
  using Told = std::function<void(Result<Json> state)>;
  using Look = std::function<void(Told told)>;
  StateFeed(boost::asio::io_context& loop, Look look) : loop_(loop), look_(std::move(look)), timer_(loop) {}
  void watch(Responder watcher);
  // Something may have changed.
  void poke();
  void stop();

 private:
  void look_soon();
  void look();
  void told(Result<Json> state);
  boost::asio::io_context& loop_;
  const Look look_;
  boost::asio::steady_timer timer_;
  std::vector<Responder> watchers_, new_watchers_;
  Json last_;
  bool looking_ = false, again_ = false, stopped_ = false;
  std::chrono::steady_clock::time_point looked_at_{};
  std::atomic<bool> watched_ = false, poked_ = false;
};

// What a person at the till wants to know, out of the document of `status`.
Json terminal_state(const Json& status);

}  // namespace tillsync
