#include "agent/daemon/metrics_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <set>
#include <system_error>

#include "agent/control/unix_socket.h"

namespace tillsync {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Protocol>;

namespace {

constexpr size_t kConnectionsMax = 8, kHeaderMax = 8 << 10;
constexpr std::chrono::seconds kPatience{10};
constexpr std::string_view kUnix = "unix:";

Error errno_error(const std::string& address) {
  return Error{errno == EACCES ? ErrorKind::denied : ErrorKind::conflict, errno,
               "[metrics] listen " + address + ": " + std::generic_category().message(errno)};
}

Result<UniqueFd> listen_on_port(const std::string& address, std::string& bound) {
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = port;
  const bool is_v4 = ::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && ::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1)
    return Error{ErrorKind::usage, 0, "[metrics] listen " + address + ": a numeric address was expected"};
  auto* where = is_v4 ? reinterpret_cast<sockaddr*>(&v4) : reinterpret_cast<sockaddr*>(&v6);
  socklen_t size = is_v4 ? sizeof v4 : sizeof v6;
  UniqueFd fd(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), where, size) != 0 || ::listen(fd.get(), 16) != 0 || ::getsockname(fd.get(), where, &size) != 0)
    return errno_error(address);
  bound = address.substr(0, colon + 1) + std::to_string(ntohs(is_v4 ? v4.sin_port : v6.sin6_port));
  return fd;
}

}  // namespace

struct MetricsServer::Core : std::enable_shared_from_this<MetricsServer::Core> {
  Core(asio::io_context& loop, Look given) : look(std::move(given)), acceptor(loop), pause(loop) {}
  const Look look;
  asio::basic_socket_acceptor<Protocol> acceptor;
  asio::steady_timer pause;
  std::string address, unix_path;
  bool stopped = false;
  struct Connection;
  std::set<std::shared_ptr<Connection>> connections;
  void accept();
};

struct MetricsServer::Core::Connection : std::enable_shared_from_this<Connection> {
  Connection(std::weak_ptr<Core> of, Protocol::socket socket) : core(std::move(of)), stream(std::move(socket)) {
    parser.header_limit(kHeaderMax);
    parser.body_limit(0);
  }
  const std::weak_ptr<Core> core;
  Stream stream;
  beast::flat_buffer buffer;
  http::request_parser<http::empty_body> parser;
  http::response<http::string_body> response;

  void start() {
    stream.expires_after(kPatience);
    http::async_read(stream, buffer, parser, [self = shared_from_this()](beast::error_code failed, size_t) {
      if (failed) return self->end();
      self->answer();
    });
  }

  void answer() {
    const auto& request = parser.get();
    if (request.method() != http::verb::get && request.method() != http::verb::head)
      return send(http::status::method_not_allowed, "only GET\n");
    if (request.target() != "/metrics") return send(http::status::not_found, "GET /metrics\n");
    auto owner = core.lock();
    if (!owner) return end();
    owner->look([self = shared_from_this()](Result<std::string> text) {
      if (text)
        self->send(http::status::ok, std::move(*text));
      else
        self->send(http::status::service_unavailable, text.error().context + "\n");
    });
  }

  void send(http::status status, std::string body) {
    response.result(status);
    response.version(11);
    response.keep_alive(false);
    response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
    const bool head = parser.get().method() == http::verb::head;
    const auto size = body.size();
    if (!head) response.body() = std::move(body);
    response.content_length(size);
    stream.expires_after(kPatience);
    http::async_write(stream, response, [self = shared_from_this()](beast::error_code, size_t) { self->end(); });
  }

  void end() {
    beast::error_code ignored;
    stream.socket().shutdown(asio::socket_base::shutdown_both, ignored);
    stream.close();
    if (auto owner = core.lock()) owner->connections.erase(shared_from_this());
  }
};

void MetricsServer::Core::accept() {
  acceptor.async_accept([self = shared_from_this()](boost::system::error_code failed, Protocol::socket socket) {
    if (self->stopped || failed == asio::error::operation_aborted) return;
    if (failed) {
      // Out of descriptors, most likely.
      self->pause.expires_after(std::chrono::seconds(1));
      self->pause.async_wait([self](boost::system::error_code cancelled) {
        if (!cancelled && !self->stopped) self->accept();
      });
      return;
    }
    // One too many is let go at once.
    if (self->connections.size() < kConnectionsMax) {
      auto connection = std::make_shared<Connection>(self->weak_from_this(), std::move(socket));
      self->connections.insert(connection);
      connection->start();
    }
    self->accept();
  });
}

MetricsServer::MetricsServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}
MetricsServer::~MetricsServer() { stop(); }
const std::string& MetricsServer::address() const { return core_->address; }

void MetricsServer::stop() {
  if (std::exchange(core_->stopped, true)) return;
  boost::system::error_code ignored;
  core_->acceptor.close(ignored);
  core_->pause.cancel();
  if (!core_->unix_path.empty()) ::unlink(core_->unix_path.c_str());
  for (const auto& connection : std::set(core_->connections)) connection->end();
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::listen(asio::io_context& loop, const std::string& address,
                                                             Look look) {
  auto core = std::make_shared<Core>(loop, std::move(look));
  core->address = address;
  UniqueFd fd;
  int family = AF_UNIX;
  if (address.starts_with(kUnix)) {
    core->unix_path = address.substr(kUnix.size());
    // As a loopback port: for everybody on this machine.
    TILLSYNC_LET(fd, listen_on_unix_socket(core->unix_path, 0666));
  } else {
    TILLSYNC_LET(fd, listen_on_port(address, core->address));
    family = address.starts_with('[') ? AF_INET6 : AF_INET;
  }
  boost::system::error_code failed;
  core->acceptor.assign(Protocol(family, 0), fd.get(), failed);
  if (failed)
    return Error{ErrorKind::internal, failed.value(), "[metrics] listen " + address + ": " + failed.message()};
  (void)fd.release();
  core->accept();
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(core)));
}

}  // namespace tillsync
