// One client of the control socket. Only the server uses this.
//
// Threads: the loop's, except for the Channel methods, which post to it.
#pragma once

#include <atomic>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "agent/control/server.h"
#include "agent/control/unique_fd.h"

namespace tillsync {

class ControlSession : public Responder::Channel, public std::enable_shared_from_this<ControlSession> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;
  struct Callbacks {
    std::function<void(Request, Responder)> on_request;
    std::function<void(ControlSession*)> on_closed;
    std::function<bool(const Peer&)> has_room;  // for one more of this peer, which is counted already
  };
  // outgoing_bytes_all: what waits to be sent in all sessions together.
  ControlSession(Socket socket, const ControlOptions& options, std::shared_ptr<size_t> outgoing_bytes_all,
                 Callbacks callbacks);
  void start();
  void close();

  void send_answer(std::string line) override;
  void send_notification(std::string line) override;
  bool is_open() const override { return open_; }
  const Peer& peer() const { return peer_; }

 private:
  enum class Received { more, nothing, end, failed };
  void wait_to_read();
  void on_readable();
  Received receive();
  void handle_lines();
  void handle_line(std::string_view line);
  void enqueue(std::string line);
  void write_next();
  void expect_progress();
  void close_if_done();

  Socket socket_;
  boost::asio::any_io_executor loop_;
  boost::asio::steady_timer stall_;
  ControlOptions options_;
  std::shared_ptr<size_t> outgoing_bytes_all_;
  Callbacks callbacks_;
  Peer peer_;
  std::string incoming_;
  size_t searched_ = 0;  // incoming_ up to here has no newline
  UniqueFd fd_;          // came along, waits for its request to be complete
  std::deque<std::string> outgoing_;
  size_t outgoing_bytes_ = 0;
  size_t requests_running_ = 0;
  bool waiting_to_read_ = false;
  bool at_end_ = false;  // the client sends no more
  std::atomic<bool> open_{true};
};

}  // namespace tillsync
