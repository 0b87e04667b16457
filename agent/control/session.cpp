#include "agent/control/session.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstring>

#include "platform/linux/file_system_linux.h"

namespace tillsync {

namespace asio = boost::asio;

namespace {
std::vector<gid_t> groups_of_peer(int socket) {
  std::vector<gid_t> groups(16);
  while (true) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      return groups;
    }
    // The kernel says how much room it needs.
    if (errno != ERANGE || size <= groups.size() * sizeof(gid_t)) return {};
    groups.resize(size / sizeof(gid_t));
  }
}
}  // namespace

ControlSession::ControlSession(Socket socket, const ControlOptions& options, std::shared_ptr<size_t> outgoing_bytes_all,
                               Callbacks callbacks)
    : socket_(std::move(socket)),
      loop_(socket_.get_executor()),
      stall_(loop_),
      options_(options),
      outgoing_bytes_all_(std::move(outgoing_bytes_all)),
      callbacks_(std::move(callbacks)) {}

void ControlSession::start() {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return close();
  peer_ = Peer{credentials.uid, credentials.gid, credentials.pid, groups_of_peer(socket_.native_handle())};
  if (!is_allowed(peer_, Access::operate, ::geteuid(), options_.groups)) {
    const auto line = encode_error(
        Json(nullptr),
        Error{ErrorKind::denied, 0, "the agent answers root, its own user and the groups tillsync and tillsync-admin"});
    (void)::send(socket_.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return close();
  }
  if (!callbacks_.has_room(peer_)) {
    const auto line = encode_error(
        Json(nullptr), Error{ErrorKind::throttled, 0, "this user has too many connections to the agent: try again"});
    (void)::send(socket_.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return close();
  }
  wait_to_read();
}

void ControlSession::close() {
  if (!open_.exchange(false)) return;
  boost::system::error_code ignored;
  socket_.close(ignored);
  stall_.cancel();
  outgoing_.clear();
  *outgoing_bytes_all_ -= outgoing_bytes_;
  outgoing_bytes_ = 0;
  fd_.reset();
  callbacks_.on_closed(this);
}

void ControlSession::send_answer(std::string line) {
  asio::post(loop_, [self = shared_from_this(), line = std::move(line)]() mutable {
    --self->requests_running_;
    self->enqueue(std::move(line));
    self->handle_lines();
    self->wait_to_read();
    self->close_if_done();
  });
}

void ControlSession::send_notification(std::string line) {
  asio::post(loop_, [self = shared_from_this(), line = std::move(line)]() mutable { self->enqueue(std::move(line)); });
}

void ControlSession::wait_to_read() {
  if (!open_ || at_end_ || waiting_to_read_ || requests_running_ >= options_.requests_at_a_time) return;
  waiting_to_read_ = true;
  // Not async_read: a descriptor that comes along is only seen by recvmsg.
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
    self->waiting_to_read_ = false;
    if (error) return self->close();
    self->on_readable();
  });
}

void ControlSession::on_readable() {
  if (!open_) return;
  switch (receive()) {
    case Received::failed: return close();
    case Received::end:
      at_end_ = true;  // what was asked before is still answered; half a request is not
      incoming_.resize(incoming_.rfind('\n') + 1);
      break;
    case Received::more:
    case Received::nothing: break;
  }
  handle_lines();
  wait_to_read();
  close_if_done();
}

ControlSession::Received ControlSession::receive() {
  char buffer[65536];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)];
  iovec part{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) return errno == EAGAIN || errno == EINTR ? Received::nothing : Received::failed;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fd_.reset(fd);  // the last one counts, the others are closed
    }
  }
  if (size == 0) return Received::end;
  incoming_.append(buffer, static_cast<size_t>(size));
  return Received::more;
}

void ControlSession::handle_lines() {
  while (open_ && requests_running_ < options_.requests_at_a_time) {
    const size_t newline = incoming_.find('\n', searched_);
    if (newline == std::string::npos) {
      searched_ = incoming_.size();
      break;
    }
    const std::string line = incoming_.substr(0, newline);
    incoming_.erase(0, newline + 1);
    searched_ = 0;
    if (line.size() <= options_.request_size_max) {
      handle_line(line);
      continue;
    }
    incoming_.assign(options_.request_size_max + 1, ' ');
    searched_ = incoming_.size();
    break;
  }
  // Complete lines may wait for their turn, but nothing is read meanwhile; so this is one line that is too long.
  if (searched_ > options_.request_size_max && !at_end_) {
    at_end_ = true;
    incoming_.clear();
    searched_ = 0;
    enqueue(encode_error(BadRequest{nullptr, -32600, "the request is larger than the agent takes"}));
  }
}

void ControlSession::handle_line(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == line.npos) return;
  auto decoded = decode_request(line);
  std::unique_ptr<File> file;
  if (fd_) file = adopt_file(fd_.release(), "the file that came with the request");
  if (auto* bad = std::get_if<BadRequest>(&decoded)) return enqueue(encode_error(*bad));
  auto& message = std::get<RequestMessage>(decoded);
  ++requests_running_;
  callbacks_.on_request(Request{std::move(message.method), std::move(message.params), peer_, std::move(file)},
                        Responder(shared_from_this(), std::move(message.id)));
}

void ControlSession::enqueue(std::string line) {
  if (!open_) return;
  // The first message may be of any size; a client that reads gets it.
  if (outgoing_bytes_ > options_.outgoing_bytes_max) return close();
  if (outgoing_bytes_ > 0 && *outgoing_bytes_all_ > options_.outgoing_bytes_all_max) return close();
  outgoing_bytes_ += line.size();
  *outgoing_bytes_all_ += line.size();
  outgoing_.push_back(std::move(line));
  if (outgoing_.size() == 1) write_next();
}

void ControlSession::expect_progress() {
  stall_.expires_after(options_.send_stall_max);
  stall_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (error) return;
    if (auto self = weak.lock()) self->close();
  });
}

void ControlSession::write_next() {
  constexpr size_t kChunk = 64 << 10;
  // Held by the handler, not by outgoing_: close() may clear that while the write is under way.
  auto line = std::make_shared<const std::string>(std::move(outgoing_.front()));
  asio::async_write(
      socket_, asio::buffer(*line),
      [self = shared_from_this()](const boost::system::error_code& error, size_t) -> size_t {
        if (error || !self->open_) return 0;
        self->expect_progress();  // asked again after each chunk that the client took
        return kChunk;
      },
      [self = shared_from_this(), line](const boost::system::error_code& error, size_t) {
        self->stall_.cancel();
        if (!self->open_) return;
        if (error) return self->close();
        self->outgoing_bytes_ -= line->size();
        *self->outgoing_bytes_all_ -= line->size();
        self->outgoing_.pop_front();
        if (!self->outgoing_.empty()) self->write_next();
        self->close_if_done();
      });
}

void ControlSession::close_if_done() {
  const bool more_to_do = requests_running_ > 0 || !outgoing_.empty() || incoming_.find('\n') != std::string::npos;
  if (open_ && at_end_ && !more_to_do) close();
}

}  // namespace tillsync
