// Stands between a client and an HTTP server on loopback, does what networks and servers do on bad days, and keeps a
// record of every request.
//
// Fault model: a fault applies to the next requests of a method whose target contains a text, after some were let
// through, so many times. What it does not touch is passed on byte for byte, the Host header included: signatures hold.
// Limits: HTTP/1.1 without TLS; a body is held in memory; `Expect: 100-continue` is answered here.
// Threads: any; a thread of its own for each connection.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/ids.h"

namespace tillsync::test {

struct ProxiedRequest {
  std::string method, target;  // target: path and query, as sent
  std::string path;            // without the query
  uint64_t body_bytes = 0;     // that arrived from the client
  Digest body_sha256;
  int status = 0;                              // what the client was answered; 0: nothing whole
  int upstream_status = 0;                     // 0: not passed on, or no answer came
  bool is_passed_on = false;                   // all of it
  std::map<std::string, std::string> headers;  // names in lower case
  bool is_part() const { return target.find("partNumber=") != std::string::npos; }
};

struct Fault {
  enum class Kind {
    drop,          // the connection ends after at_byte bytes of the body
    answer,        // status, headers and body of ours; nothing is passed on
    lose_answer,   // passed on and carried out; then the connection ends
    delay,         // passed on after `pause`
    truncate,      // of the answer only at_byte bytes arrive
    trickle,       // the answer arrives byte by byte, `pause` between them
    half_open,     // nothing happens, and the connection stays
    corrupt_body,  // a byte of the body is flipped on the way
    call,          // `then` is called when at_byte bytes of the body (or all there are) went on to the server
  };
  Kind kind = Kind::drop;
  std::string method = {}, target = {};  // "": any
  int after = 0, times = 1;
  int status = 0;
  std::string headers = {}, body = {};  // headers: whole lines with \r\n
  uint64_t at_byte = 0;
  std::chrono::milliseconds pause{0};
  std::function<void()> then = {};  // in the connection's thread

  // An answer as S3 writes it.
  static Fault error(int status, const std::string& code, const std::string& more = "");
  // A listing that does not show what is there.
  static Fault nothing_listed();
  Fault on(std::string m, std::string t = "") && {
    method = std::move(m);
    target = std::move(t);
    return std::move(*this);
  }
  Fault letting(int first) && {
    after = first;
    return std::move(*this);
  }
  Fault so_often(int n) && {
    times = n;
    return std::move(*this);
  }
};

class FaultProxy {
 public:
  // upstream: the server's port on 127.0.0.1.
  explicit FaultProxy(uint16_t upstream);
  ~FaultProxy();

  uint16_t port() const { return port_; }
  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  void add(Fault fault);
  void clear_faults();

  std::vector<ProxiedRequest> requests() const;
  size_t count(const std::string& method, const std::string& target = "") const;
  // Of bodies, from the client.
  uint64_t bytes_received() const;
  void forget_requests();
  // Paths whose content the server replaced by another: a put with other bytes where one had succeeded, or had arrived
  // at a server that died before it answered, no delete between them.
  std::vector<std::string> overwritten() const;

 private:
  class Connection;
  void accept();
  std::optional<Fault> fault_for(const std::string& method, const std::string& target);
  void record(const ProxiedRequest& request);

  const uint16_t upstream_;
  uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> is_stopping_{false};
  mutable std::mutex mutex_;
  std::vector<Fault> faults_;
  std::vector<ProxiedRequest> requests_;
  std::set<int> sockets_;  // of connections that are alive
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace tillsync::test
