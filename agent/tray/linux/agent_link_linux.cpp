#include "agent/tray/linux/agent_link_linux.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace tillsync {

using namespace std::chrono_literals;

namespace {

constexpr auto kDelayMin = 20ms, kDelayMax = 30'000ms;
constexpr int kDelayGrowth = 4;
constexpr size_t kLineMax = 16u << 20;  // an agent that sends more on one line is not ours

Error gone() { return {ErrorKind::offline, 0, "the agent went away"}; }

uint64_t microseconds(std::chrono::milliseconds time) { return static_cast<uint64_t>(time.count()) * 1000; }

}  // namespace

AgentLink::AgentLink(sd_event* loop, std::string path, Handlers handlers)
    : loop_(loop),
      path_(std::move(path)),
      handlers_(std::move(handlers)),
      watch_(loop, path_,
             [this] {
               delay_ = kDelayMin;
               attempt_after(delay_);
             }),
      delay_(kDelayMin) {}

void AgentLink::attempt() {
  timer_.reset();
  watch_.arm();  // first: what changes from here on is heard
  if (auto connected = connect(); !connected) return drop(connected.error());
  watch_.disarm();
  handlers_.connected();
}

Result<void> AgentLink::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path)
    return Error{ErrorKind::usage, ENAMETOOLONG, "control socket " + path_ + ": the path is longer than 107 bytes"};
  std::memcpy(address.sun_path, path_.data(), path_.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error{ErrorKind::internal, errno, "make a socket: " + std::generic_category().message(errno)};
  // EAGAIN: it has no room for one more connection yet; like all else that is no permission, it is tried again.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int code = errno;
    const ErrorKind kind = code == EACCES || code == EPERM ? ErrorKind::denied : ErrorKind::offline;
    return Error{kind, code, path_ + ": " + std::generic_category().message(code)};
  }
  sd_event_source* source = nullptr;
  const int added = sd_event_add_io(loop_, &source, fd.get(), EPOLLIN, on_io, this);
  if (added < 0) return bus_error(added, "listen to the agent");
  io_.reset(source);
  socket_ = std::move(fd);
  incoming_.clear();
  outgoing_.clear();
  return {};
}

void AgentLink::drop(const Error& why) {
  io_.reset();
  socket_.reset();
  watch_.arm();
  attempt_after(delay_);
  delay_ = std::min<std::chrono::milliseconds>(delay_ * kDelayGrowth, kDelayMax);
  handlers_.lost(why);
}

void AgentLink::attempt_after(std::chrono::milliseconds delay) {
  sd_event_source* source = nullptr;
  timer_.reset();
  if (sd_event_add_time_relative(loop_, &source, CLOCK_MONOTONIC, microseconds(delay), microseconds(delay) / 10 + 1000,
                                 on_timer, this) >= 0)
    timer_.reset(source);
}

int AgentLink::on_timer(sd_event_source*, uint64_t, void* self) {
  static_cast<AgentLink*>(self)->attempt();
  return 0;
}

void AgentLink::request(uint64_t id, const std::string& method, const Json& params) {
  if (!socket_) return;
  outgoing_ += encode_request(static_cast<int64_t>(id), method, params);
  flush();
}

void AgentLink::flush() {
  while (!outgoing_.empty()) {
    const ssize_t sent = ::send(socket_.get(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      outgoing_.erase(0, static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      outgoing_.clear();  // an agent that lets us go says why: that is read before its end
    }
  }
  (void)sd_event_source_set_io_events(io_.get(), outgoing_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

int AgentLink::on_io(sd_event_source*, int, uint32_t events, void* self) {
  auto& link = *static_cast<AgentLink*>(self);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
    link.receive();
  else if (events & EPOLLOUT)
    link.flush();
  return 0;
}

void AgentLink::receive() {
  char buffer[16384];
  const ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return drop(gone());
  incoming_.append(buffer, static_cast<size_t>(size));
  handle_lines();
  if (socket_ && incoming_.size() > kLineMax)
    drop({ErrorKind::offline, 0, "what answers on " + path_ + " is no agent of ours"});
}

void AgentLink::handle_lines() {
  size_t begin = 0;
  // A handler may lead to the end of the connection.
  for (size_t end; socket_ && (end = incoming_.find('\n', begin)) != std::string::npos; begin = end + 1)
    handle_line(std::string_view(incoming_).substr(begin, end - begin));
  if (socket_) incoming_.erase(0, begin);
}

void AgentLink::handle_line(std::string_view line) {
  auto message = decode_reply(line);
  if (!message) return drop({ErrorKind::offline, 0, "what answers on " + path_ + " is no agent of ours"});
  if (const auto* notification = std::get_if<NotificationMessage>(&*message)) {
    delay_ = kDelayMin;  // it talks to us: when it goes, its next start is awaited
    return handlers_.notified(notification->method, notification->params);
  }
  const auto& reply = std::get<ReplyMessage>(*message);
  if (reply.id.is_number_integer()) return handlers_.answered(reply.id.get<uint64_t>(), reply.result);
  if (!reply.result) drop(reply.result.error());  // the agent lets us go, and says why
}

}  // namespace tillsync
