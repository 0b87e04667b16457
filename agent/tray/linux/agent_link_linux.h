// The connection to the agent, made again and again, on the tray's event loop.
//
// Purpose: lines of the control protocol in and out, without ever waiting. While there is no agent it listens for its
// socket, and looks every 30 seconds besides.
// Errors: lost() with denied where the agent does not let this user in, else offline or what answers instead of it.
// Threads: the event loop's. Handlers are called from it, never from within a call of request().
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "agent/control/message.h"
#include "agent/control/unique_fd.h"
#include "agent/tray/linux/sd_bus_linux.h"
#include "agent/tray/linux/socket_watch_linux.h"

namespace tillsync {

class AgentLink {
 public:
  struct Handlers {
    std::function<void()> connected;
    std::function<void(const Error& why)> lost;  // also: could not be made
    std::function<void(const std::string& method, const Json& params)> notified;
    std::function<void(uint64_t request, const Result<Json>& answer)> answered;
  };
  AgentLink(sd_event* loop, std::string path, Handlers handlers);
  AgentLink(const AgentLink&) = delete;
  void start() { attempt(); }
  // Dropped where there is no connection: lost() has been called for it.
  void request(uint64_t id, const std::string& method, const Json& params);

 private:
  void attempt();
  Result<void> connect();
  void drop(const Error& why);
  void attempt_after(std::chrono::milliseconds delay);
  void flush();
  void receive();
  void handle_lines();
  void handle_line(std::string_view line);
  static int on_io(sd_event_source*, int fd, uint32_t events, void* self);
  static int on_timer(sd_event_source*, uint64_t, void* self);

  sd_event* loop_;
  std::string path_;
  Handlers handlers_;
  SocketWatch watch_;
  UniqueFd socket_;
  EventSource io_, timer_;
  std::string incoming_, outgoing_;
  std::chrono::milliseconds delay_;
};

}  // namespace tillsync
