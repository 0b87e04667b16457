// A control server on a thread of its own, in a folder of its own; and a raw socket for what no client of ours would
// do.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>

#include "agent/control/client.h"
#include "agent/control/server.h"

namespace tillsync {

struct TemporaryFolder {
  TemporaryFolder() {
    char name[] = "/tmp/tillsync-test.XXXXXX";
    path = ::mkdtemp(name);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

class TestServer {
 public:
  explicit TestServer(const std::string& path, ControlOptions options = {}) {
    options.path = path;
    auto server = ControlServer::listen(loop_, options);
    if (!server) throw std::runtime_error(server.error().context);
    server_ = std::move(*server);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~TestServer() { stop(); }
  // No handler runs any more, and no request comes. Those that are still kept are given up before the server goes.
  void stop() {
    if (!thread_.joinable()) return;
    on_loop([this] { server_.reset(); });
    guard_.reset();
    thread_.join();
  }
  void handle(const std::string& method, Handler handler) {
    on_loop([&] { server_->handle(method, std::move(handler)); });
  }
  size_t connection_count() {
    size_t count = 0;
    on_loop([&] { count = server_->connection_count(); });
    return count;
  }

 private:
  template <class F>
  void on_loop(F function) {
    std::promise<void> done;
    boost::asio::post(loop_, [&] {
      function();
      done.set_value();
    });
    done.get_future().wait();
  }
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_ = boost::asio::make_work_guard(loop_);
  std::unique_ptr<ControlServer> server_;
  std::thread thread_;
};

class RawClient {
 public:
  explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool is_connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  bool send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const auto size = ::send(fd_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) return false;
      sent += static_cast<size_t>(size);
    }
    return true;
  }
  void end() { ::shutdown(fd_.get(), SHUT_WR); }
  // One line without its newline; empty at the end or after five seconds.
  std::string line() {
    while (true) {
      const auto newline = incoming_.find('\n');
      if (newline != std::string::npos) {
        std::string out = incoming_.substr(0, newline);
        incoming_.erase(0, newline + 1);
        return out;
      }
      pollfd entry{fd_.get(), POLLIN, 0};
      if (::poll(&entry, 1, 5000) <= 0) return "";
      char buffer[4096];
      const auto size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (size <= 0) return "";
      incoming_.append(buffer, static_cast<size_t>(size));
    }
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
  std::string incoming_;
};

}  // namespace tillsync
