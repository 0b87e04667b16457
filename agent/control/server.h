// The agent's end of local control: JSON-RPC 2.0 over a Unix socket, see docs/control-protocol.md.
//
// Purpose: reads requests, calls handlers on the loop's thread, sends what they answer, in bounds that a bad client
// can't leave: request size, connections, requests at a time, bytes that wait to be sent, seconds without progress.
// Errors: listen(): conflict when another agent answers there or the path is no socket; denied, internal.
// Threads: everything here belongs to the thread that runs the io_context; a Responder may be used from any thread.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/control/access.h"
#include "agent/control/message.h"
#include "base/result.h"
#include "ports/files.h"

namespace tillsync {

struct Request {
  std::string method;
  Json params;  // an object
  Peer peer;
  std::unique_ptr<File> file;  // by the descriptor that came along, open as its sender has it; or none
};

// Answers one request, once: later answers are dropped. Copies share that; when the last copy goes without an answer,
// the client gets an internal error rather than waiting for ever. Must not outlive the io_context.
class Responder {
 public:
  class Channel {  // what a connection offers; implemented by the server
   public:
    virtual ~Channel() = default;
    virtual void send_answer(std::string line) = 0;        // from any thread
    virtual void send_notification(std::string line) = 0;  // from any thread
    virtual bool is_open() const = 0;
  };
  Responder(std::shared_ptr<Channel> channel, Json id);
  void result(const Json& document) const;
  void error(const Error& error) const;
  void reply(const Result<Json>& outcome) const;
  // Before the answer only; dropped after it.
  void notify(std::string_view method, const Json& params) const;
  // False: the client has gone, nobody waits for this answer.
  bool is_wanted() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

using Handler = std::function<void(Request, Responder)>;

struct ControlOptions {
  std::string path;
  ControlGroups groups = {};  // none: only the agent's user and root get in
  size_t request_size_max = 256 << 10;
  size_t connections_max = 64;
  size_t requests_at_a_time = 16;            // per connection; further ones wait unread
  size_t outgoing_bytes_max = 4 << 20;       // waiting when a further message comes: that client is dropped
  size_t outgoing_bytes_all_max = 16 << 20;  // of all clients together: then likewise
  size_t connections_of_one_max = 32;        // of one user who may not administer
  std::chrono::milliseconds send_stall_max = std::chrono::seconds(30);
};

class ControlServer {
 public:
  // Makes the socket's folder and the socket, mode 0600, or 0666 where there are groups: who is in none of them is let
  // go at once. A socket nobody answers on is replaced.
  static Result<std::unique_ptr<ControlServer>> listen(boost::asio::io_context& loop, ControlOptions options);
  ~ControlServer();  // as stop()
  // denied for whoever has less than that access.
  void handle(const std::string& method, Handler handler, Access access = Access::administer);
  // Closes everything and removes the socket.
  void stop();
  size_t connection_count() const;

 private:
  struct Core;
  explicit ControlServer(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace tillsync
