#include "agent/control/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace tillsync {

namespace {

constexpr int kAgentAbsent = -32099;          // in Error::code
constexpr size_t kReplySizeMax = 256u << 20;  // an agent that sends more on one line is not ours
constexpr auto kLookAround = std::chrono::milliseconds(100);

Error absent(std::string text) { return Error{ErrorKind::offline, kAgentAbsent, std::move(text)}; }

Error not_running(const std::string& path) {
  return absent("the agent is not running (nobody answers on " + path +
                "): start it with `systemctl start tillsyncd`, or by hand with `tillsyncd --config FILE`");
}

}  // namespace

bool is_agent_absent(const Error& error) { return error.kind == ErrorKind::offline && error.code == kAgentAbsent; }

Result<ControlClient> ControlClient::connect(const std::string& path, std::function<bool()> is_cancelled) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error{ErrorKind::usage, ENAMETOOLONG, "control socket " + path + ": the path is longer than 107 bytes"};
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error{ErrorKind::internal, errno, "make a socket: " + std::generic_category().message(errno)};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int code = errno;
    if (code == ECONNREFUSED || code == ENOENT || code == ENOTDIR) return not_running(path);
    const std::string reason = path + ": " + std::generic_category().message(code);
    if (code == EACCES || code == EPERM)
      return Error{ErrorKind::denied, code,
                   "the agent's socket belongs to another user: run this as that user or as root (" + reason + ")"};
    return Error{ErrorKind::internal, code, "connect to the agent: " + reason};
  }
  return ControlClient(path, std::move(fd), std::move(is_cancelled));
}

Result<Json> ControlClient::call(const std::string& method, const Json& params) {
  return call(method, params, CallOptions());
}

Result<Json> ControlClient::call(const std::string& method, const Json& params, const CallOptions& options) {
  const int64_t id = ++last_id_;
  // An agent that refuses a connection says why and closes, which can fail our send: its answer is read first.
  auto sent = send(encode_request(id, method, params), options);
  if (!sent && !is_agent_absent(sent.error())) return std::move(sent).error();
  while (true) {
    TILLSYNC_LET(const std::string line, receive_line(options));
    auto message = decode_reply(line);
    if (!message) return std::move(message).error().with("what answers on " + path_ + " is no agent of ours");
    if (auto* notification = std::get_if<NotificationMessage>(&*message)) {
      if (options.on_notification) options.on_notification(notification->method, notification->params);
      continue;
    }
    auto& reply = std::get<ReplyMessage>(*message);
    if (reply.id == id || reply.id.is_null()) return std::move(reply.result);
  }
}

Result<void> ControlClient::wait_for(short events, const CallOptions& options) {
  while (true) {
    if (is_cancelled_ && is_cancelled_()) return Error{ErrorKind::cancelled, 0, "interrupted"};
    auto pause = kLookAround;
    if (options.deadline) {
      const auto left = *options.deadline - std::chrono::steady_clock::now();
      if (left <= left.zero()) return Error{ErrorKind::timeout, 0, "the time given is over; the agent goes on"};
      pause = std::min(pause, std::chrono::ceil<std::chrono::milliseconds>(left));
    }
    pollfd entry{fd_.get(), events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(pause.count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR)
      return Error{ErrorKind::internal, errno, "poll: " + std::generic_category().message(errno)};
  }
}

Result<void> ControlClient::send(const std::string& line, const CallOptions& options) {
  size_t sent = 0;
  while (sent < line.size()) {
    iovec part{const_cast<char*>(line.data()) + sent, line.size() - sent};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (options.fd >= 0 && sent == 0) {  // the descriptor goes with the first bytes of its request
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &options.fd, sizeof(int));
    }
    const ssize_t size = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0) {
      sent += static_cast<size_t>(size);
    } else if (errno == EAGAIN || errno == EINTR) {
      TILLSYNC_TRY(wait_for(POLLOUT, options));
    } else {
      return absent("the agent went away (" + path_ + ")");
    }
  }
  return {};
}

Result<std::string> ControlClient::receive_line(const CallOptions& options) {
  size_t searched = 0;
  while (true) {
    const size_t newline = incoming_.find('\n', searched);
    if (newline != std::string::npos) {
      std::string line = incoming_.substr(0, newline);
      incoming_.erase(0, newline + 1);
      return line;
    }
    searched = incoming_.size();
    if (searched > kReplySizeMax) return Error{ErrorKind::corrupt, 0, "the agent's answer has no end (" + path_ + ")"};
    TILLSYNC_TRY(wait_for(POLLIN, options));
    char buffer[65536];
    const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size > 0)
      incoming_.append(buffer, static_cast<size_t>(size));
    else if (size == 0 || (errno != EAGAIN && errno != EINTR))
      return absent("the agent went away before it answered (" + path_ + ")");
  }
}

}  // namespace tillsync
