#include "agent/control/server.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <set>
#include <system_error>

#include "agent/control/session.h"
#include "agent/control/unix_socket.h"

namespace tillsync {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;

namespace {

Error errno_error(int code, const std::string& doing) {
  return Error{ErrorKind::internal, code, doing + ": " + std::generic_category().message(code)};
}

}  // namespace

struct ControlServer::Core : std::enable_shared_from_this<ControlServer::Core> {
  Core(asio::io_context& loop, ControlOptions given) : options(std::move(given)), acceptor(loop), pause(loop) {}
  ControlOptions options;
  Protocol::acceptor acceptor;
  asio::steady_timer pause;
  struct Method {
    Handler handler;
    Access access;
  };
  std::map<std::string, Method, std::less<>> handlers;
  std::set<std::shared_ptr<ControlSession>> sessions;
  std::shared_ptr<size_t> outgoing_bytes = std::make_shared<size_t>(0);
  dev_t device = 0;
  ino_t inode = 0;
  bool stopped = false;

  void accept();
  void begin_session(ControlSession::Socket socket);
  void dispatch(Request request, const Responder& responder);
  void stop();
};

void ControlServer::Core::accept() {
  acceptor.async_accept(
      [self = shared_from_this()](const boost::system::error_code& error, ControlSession::Socket socket) {
        if (self->stopped || error == asio::error::operation_aborted) return;
        if (!error) {
          self->begin_session(std::move(socket));
          return self->accept();
        }
        // Out of descriptors, most likely: the waiting client stays in the backlog.
        self->pause.expires_after(std::chrono::milliseconds(100));
        self->pause.async_wait([self](const boost::system::error_code& cancelled) {
          if (!cancelled && !self->stopped) self->accept();
        });
      });
}

void ControlServer::Core::begin_session(ControlSession::Socket socket) {
  if (sessions.size() >= options.connections_max) {
    const auto line =
        encode_error(Json(nullptr), Error{ErrorKind::throttled, 0, "the agent has too many connections: try again"});
    (void)::send(socket.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  std::weak_ptr<Core> weak = weak_from_this();
  ControlSession::Callbacks callbacks;
  callbacks.on_request = [weak](Request request, const Responder& responder) {
    if (auto core = weak.lock()) core->dispatch(std::move(request), responder);
  };
  callbacks.on_closed = [weak](ControlSession* session) {
    if (auto core = weak.lock()) core->sessions.erase(session->shared_from_this());
  };
  // One user of many must not keep out whoever comes to mend that.
  callbacks.has_room = [weak](const Peer& peer) {
    auto core = weak.lock();
    if (!core || is_allowed(peer, Access::administer, ::geteuid(), core->options.groups)) return core != nullptr;
    const auto same = [&](const auto& other) { return other->peer().uid == peer.uid; };
    return static_cast<size_t>(std::count_if(core->sessions.begin(), core->sessions.end(), same)) <=
           core->options.connections_of_one_max;
  };
  auto session = std::make_shared<ControlSession>(std::move(socket), options, outgoing_bytes, std::move(callbacks));
  sessions.insert(session);
  session->start();
}

void ControlServer::Core::dispatch(Request request, const Responder& responder) {
  const auto handler = handlers.find(request.method);
  if (handler == handlers.end())
    return responder.error(Error{ErrorKind::usage, 0, "this agent does not know the method " + request.method});
  const std::string method = request.method;
  if (!is_allowed(request.peer, handler->second.access, ::geteuid(), options.groups))
    return responder.error(
        Error{ErrorKind::denied, 0, method + " is for root, the agent's own user and the group tillsync-admin"});
  try {
    handler->second.handler(std::move(request), responder);
  } catch (const std::exception& bug) {  // of ours, or a param of another type than asked for
    responder.error(Error{ErrorKind::internal, 0, method + ": " + bug.what()});
  }
}

void ControlServer::Core::stop() {
  if (std::exchange(stopped, true)) return;
  struct stat info {};
  // Only what was made here: by now another agent's socket may lie under the name.
  if (::lstat(options.path.c_str(), &info) == 0 && info.st_dev == device && info.st_ino == inode)
    ::unlink(options.path.c_str());
  boost::system::error_code ignored;
  acceptor.close(ignored);
  pause.cancel();
  for (const auto& session : std::set(sessions)) session->close();
}

ControlServer::ControlServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}
ControlServer::~ControlServer() { stop(); }
void ControlServer::handle(const std::string& method, Handler handler, Access access) {
  core_->handlers[method] = {std::move(handler), access};
}
void ControlServer::stop() { core_->stop(); }
size_t ControlServer::connection_count() const { return core_->sessions.size(); }

Result<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context& loop, ControlOptions options) {
  TILLSYNC_LET(UniqueFd fd, listen_on_unix_socket(options.path, options.groups.any() ? 0666 : 0600));
  auto core = std::make_shared<Core>(loop, std::move(options));
  struct stat info {};
  if (::lstat(core->options.path.c_str(), &info) == 0) {
    core->device = info.st_dev;
    core->inode = info.st_ino;
  }
  boost::system::error_code failed;
  core->acceptor.assign(Protocol(), fd.get(), failed);
  if (failed) return errno_error(failed.value(), "listen on " + core->options.path);
  (void)fd.release();
  core->accept();
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(core)));
}

}  // namespace tillsync
