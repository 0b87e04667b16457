#include "support/fault_proxy.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "crypto/hash.h"

namespace tillsync::test {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// A start line and headers, as they were, and by name.
struct Head {
  std::string raw, first_line;
  std::map<std::string, std::string> headers;

  std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
  uint64_t length() const { return std::strtoull(header("content-length").c_str(), nullptr, 10); }
};

// A connection and what was read ahead of it.
class Stream {
 public:
  explicit Stream(asio::io_context& io) : socket(io) {}
  tcp::socket socket;

  Head head() {
    const size_t size = asio::read_until(socket, buffer_, "\r\n\r\n");
    Head out;
    out.raw = take(size);
    size_t at = out.raw.find("\r\n");
    out.first_line = out.raw.substr(0, at);
    while (at + 2 < out.raw.size() - 2) {
      const size_t end = out.raw.find("\r\n", at + 2);
      const std::string line = out.raw.substr(at + 2, end - at - 2);
      const size_t colon = line.find(':');
      if (colon != line.npos) {
        const size_t value = line.find_first_not_of(' ', colon + 1);
        out.headers[lower(line.substr(0, colon))] = value == line.npos ? "" : line.substr(value);
      }
      at = end;
    }
    return out;
  }

  std::string bytes(uint64_t count) {
    if (buffer_.size() < count) asio::read(socket, buffer_, asio::transfer_exactly(count - buffer_.size()));
    return take(count);
  }

  std::string line() { return take(asio::read_until(socket, buffer_, "\r\n")); }

  std::string chunks() {
    std::string out;
    while (true) {
      const std::string size = line();
      const uint64_t count = std::strtoull(size.c_str(), nullptr, 16);
      out += size;
      out += bytes(count);
      out += line();
      if (count == 0) return out;
    }
  }

  std::string rest() {
    boost::system::error_code end;
    asio::read(socket, buffer_, end);
    return take(buffer_.size());
  }

 private:
  std::string take(size_t size) {
    std::string out(asio::buffers_begin(buffer_.data()), asio::buffers_begin(buffer_.data()) + static_cast<long>(size));
    buffer_.consume(size);
    return out;
  }
  asio::streambuf buffer_;
};

}  // namespace

Fault Fault::error(int status, const std::string& code, const std::string& more) {
  Fault fault;
  fault.kind = Kind::answer;
  fault.status = status;
  fault.body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code +
               "</Code><Message>Made up</Message>" + more + "</Error>";
  return fault;
}

Fault Fault::nothing_listed() {
  Fault fault;
  fault.kind = Kind::answer;
  fault.method = "GET";
  fault.target = "list-type=2";
  fault.status = 200;
  fault.body =
      "<?xml version=\"1.0\" "
      "encoding=\"UTF-8\"?>\n<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
  return fault;
}

class FaultProxy::Connection {
 public:
  Connection(FaultProxy& proxy, int fd) : proxy_(proxy), client_(io_), server_(io_) {
    client_.socket.assign(tcp::v4(), fd);
  }

  // Ends by an exception of Asio when a side is gone, or when the proxy stops.
  void run() {
    while (!proxy_.is_stopping_) one();
  }

 private:
  // Nothing more, and not politely: what the kernel still holds is dropped as well.
  [[noreturn]] void end() {
    client_.socket.set_option(asio::socket_base::linger(true, 0));
    throw std::runtime_error("ended");
  }

  void one() {
    Head head = client_.head();
    ProxiedRequest request;
    const size_t space = head.first_line.find(' ');
    request.method = head.first_line.substr(0, space);
    request.target = head.first_line.substr(space + 1, head.first_line.rfind(' ') - space - 1);
    request.path = request.target.substr(0, request.target.find('?'));
    request.headers = head.headers;
    const auto fault = proxy_.fault_for(request.method, request.target);
    const auto is = [&](Fault::Kind kind) { return fault && fault->kind == kind; };
    // Before the client can know that its request has ended, and once.
    struct Recorded {
      FaultProxy& proxy;
      ProxiedRequest& request;
      bool is_done = false;
      void now(int status) {
        request.status = status;
        proxy.record(request);
        is_done = true;
      }
      ~Recorded() {
        if (!is_done) proxy.record(request);
      }
    } recorded{proxy_, request};

    if (lower(head.header("expect")) == "100-continue")
      asio::write(client_.socket, asio::buffer(std::string("HTTP/1.1 100 Continue\r\n\r\n")));
    const bool drops = is(Fault::Kind::drop);
    std::string body;
    for (const uint64_t wanted = drops ? std::min(fault->at_byte, head.length()) : head.length();
         body.size() < wanted;) {
      body += client_.bytes(std::min<uint64_t>(256 << 10, wanted - body.size()));
      request.body_bytes = body.size();
    }
    if (drops) recorded.now(0);
    if (drops) end();
    request.body_sha256 = sha256(as_bytes(body));
    if (is(Fault::Kind::half_open)) {
      client_.bytes(1);
      end();
    }
    if (is(Fault::Kind::answer)) {
      const std::string answer = "HTTP/1.1 " + std::to_string(fault->status) +
                                 " Made up\r\nContent-Length: " + std::to_string(fault->body.size()) + "\r\n" +
                                 fault->headers + "\r\n" + (request.method == "HEAD" ? "" : fault->body);
      recorded.now(fault->status);
      asio::write(client_.socket, asio::buffer(answer));
      return;
    }
    if (is(Fault::Kind::delay)) std::this_thread::sleep_for(fault->pause);
    if (is(Fault::Kind::corrupt_body) && !body.empty()) body[body.size() / 2] ^= 1;
    const auto [answer, closes] = is(Fault::Kind::call) ? passed_on(head, body, request, fault->at_byte, fault->then)
                                                        : passed_on(head, body, request, 0, {});
    recorded.now(is(Fault::Kind::lose_answer) || is(Fault::Kind::truncate) ? 0 : request.upstream_status);
    if (is(Fault::Kind::lose_answer)) end();
    if (is(Fault::Kind::truncate)) {
      asio::write(client_.socket, asio::buffer(answer.substr(0, fault->at_byte)));
      client_.socket.shutdown(tcp::socket::shutdown_both);
      throw std::runtime_error("ended");
    }
    if (is(Fault::Kind::trickle)) {
      for (const char byte : answer) {
        if (proxy_.is_stopping_) end();
        asio::write(client_.socket, asio::buffer(&byte, 1));
        std::this_thread::sleep_for(fault->pause);
      }
    } else {
      asio::write(client_.socket, asio::buffer(answer));
    }
    if (closes) throw std::runtime_error("the server ends the connection");
  }

  std::pair<std::string, bool> passed_on(const Head& head, const std::string& body, ProxiedRequest& request,
                                         uint64_t first, const std::function<void()>& then) {
    std::string raw = head.raw;
    const size_t expect = lower(raw).find("\r\nexpect:");
    if (expect != raw.npos) raw.erase(expect, raw.find("\r\n", expect + 2) - expect);
    // A server may have closed what it kept; only a fresh connection tells for certain.
    server_.socket = tcp::socket(io_);
    server_.socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), proxy_.upstream_));
    const int fd = server_.socket.native_handle();
    {
      std::lock_guard lock(proxy_.mutex_);
      proxy_.sockets_.insert(fd);
    }
    struct Gone {
      FaultProxy& proxy;
      int number;
      ~Gone() {
        std::lock_guard lock(proxy.mutex_);
        proxy.sockets_.erase(number);
      }
    } gone{proxy_, fd};
    asio::write(server_.socket, asio::buffer(raw));
    first = std::min<uint64_t>(first, body.size());
    asio::write(server_.socket, asio::buffer(body.data(), first));
    if (then) then();
    request.is_passed_on = first == body.size();
    asio::write(server_.socket, asio::buffer(body.data() + first, body.size() - first));
    request.is_passed_on = true;
    Stream answer(io_);
    answer.socket = std::move(server_.socket);
    Head said = answer.head();
    while (said.first_line.find(" 100 ") != std::string::npos) said = answer.head();
    request.upstream_status = std::atoi(said.first_line.c_str() + said.first_line.find(' ') + 1);
    std::string out = said.raw;
    bool closes = lower(said.header("connection")) == "close";
    if (request.method == "HEAD" || request.upstream_status == 204 || request.upstream_status == 304) {
    } else if (lower(said.header("transfer-encoding")) == "chunked") {
      out += answer.chunks();
    } else if (said.headers.contains("content-length")) {
      out += answer.bytes(said.length());
    } else {
      out += answer.rest();
      closes = true;
    }
    return {out, closes};
  }

  FaultProxy& proxy_;
  asio::io_context io_;
  Stream client_, server_;
};

FaultProxy::FaultProxy(uint16_t upstream) : upstream_(upstream) {
  asio::io_context io;
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  port_ = acceptor.local_endpoint().port();
  listener_ = acceptor.release();
  acceptor_ = std::thread([this] { accept(); });
}

FaultProxy::~FaultProxy() {
  is_stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    std::lock_guard lock(mutex_);
    for (const int fd : sockets_) ::shutdown(fd, SHUT_RDWR);
  }
  for (auto& connection : connections_) connection.join();
}

void FaultProxy::accept() {
  while (!is_stopping_) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    std::lock_guard lock(mutex_);
    sockets_.insert(fd);
    connections_.emplace_back([this, fd] {
      {
        Connection connection(*this, fd);
        try {
          connection.run();
        } catch (const std::exception&) {
          // A side is gone: the usual end.
        }
        std::lock_guard gone(mutex_);
        sockets_.erase(fd);
      }
    });
  }
}

std::optional<Fault> FaultProxy::fault_for(const std::string& method, const std::string& target) {
  std::lock_guard lock(mutex_);
  for (auto it = faults_.begin(); it != faults_.end(); ++it) {
    if (!it->method.empty() && it->method != method) continue;
    if (target.find(it->target) == target.npos) continue;
    if (it->after > 0) {
      it->after--;
      continue;
    }
    const Fault fault = *it;
    if (--it->times == 0) faults_.erase(it);
    return fault;
  }
  return std::nullopt;
}

void FaultProxy::add(Fault fault) {
  std::lock_guard lock(mutex_);
  faults_.push_back(std::move(fault));
}
void FaultProxy::clear_faults() {
  std::lock_guard lock(mutex_);
  faults_.clear();
}
void FaultProxy::record(const ProxiedRequest& request) {
  std::lock_guard lock(mutex_);
  requests_.push_back(request);
}
std::vector<ProxiedRequest> FaultProxy::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}
size_t FaultProxy::count(const std::string& method, const std::string& target) const {
  std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::count_if(requests_.begin(), requests_.end(), [&](const ProxiedRequest& r) {
    return r.method == method && r.target.find(target) != r.target.npos;
  }));
}
uint64_t FaultProxy::bytes_received() const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const auto& request : requests_) sum += request.body_bytes;
  return sum;
}
void FaultProxy::forget_requests() {
  std::lock_guard lock(mutex_);
  requests_.clear();
}

std::vector<std::string> FaultProxy::overwritten() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, Digest> there;
  std::vector<std::string> out;
  for (const auto& request : requests_) {
    const bool is_lost = request.upstream_status == 0 && request.is_passed_on;
    if (!is_lost && (request.upstream_status < 200 || request.upstream_status >= 300)) continue;
    const bool has_query = request.target.size() != request.path.size();
    if (request.method == "DELETE" && !has_query) there.erase(request.path);
    // Complete is a POST with an upload id; its body names the parts.
    if ((request.method == "PUT" && !has_query) ||
        (request.method == "POST" && request.target.find("uploadId=") != std::string::npos)) {
      const auto [it, is_new] = there.emplace(request.path, request.body_sha256);
      if (!is_new && it->second != request.body_sha256) out.push_back(request.path);
    }
  }
  return out;
}

}  // namespace tillsync::test
