#include "store/s3/http_client.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>

#include "base/checks.h"
#include "store/s3/curl_socket.h"
#include "store/s3/http_transfer.h"
#include "store/s3/upload_limit.h"

namespace tillsync::s3 {

namespace {

namespace asio = boost::asio;
using SteadyClock = std::chrono::steady_clock;

constexpr long kKeptConnections = 16;
constexpr auto kLookEvery = std::chrono::milliseconds(250);
constexpr auto kGivenWay = std::chrono::seconds(5);
constexpr auto kLookForTurn = std::chrono::milliseconds(50);

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [n, value] : headers)
    if (n == name) return value;
  return {};
}

// All members but the mutex and what it guards belong to the thread that runs io_.
class HttpClient::Loop {
 public:
  explicit Loop(HttpSettings settings) : settings_(std::move(settings)) {
    multi_ = libcurl().multi_init();
    TILLSYNC_CHECK(multi_ != nullptr);
    libcurl().multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Loop::on_socket);
    libcurl().multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    libcurl().multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Loop::on_timer);
    libcurl().multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    libcurl().multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kKeptConnections);
    thread_ = std::thread([this] {
    // OpenSSL writes without MSG_NOSIGNAL: a connection that the other side closed must not end the process.
#ifndef _WIN32
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
#endif
      io_.run();
    });
  }

  ~Loop() {
    stop();
    asio::post(io_, [this] {
      // Closes the kept connections, which calls on_close(): on this thread as ever.
      libcurl().multi_cleanup(multi_);
      work_.reset();
      io_.stop();
    });
    thread_.join();
    for (auto& [fd, socket] : sockets_) socket->descriptor.release();
  }

  void start(HttpRequest request, Handler handler) {
    auto transfer = std::make_unique<HttpTransfer>(
        ++last_number_, std::move(request), std::move(handler),
        [this](const HttpTransfer& asking, uint64_t wanted) { return allowance(asking, wanted); });
    // std::function must be copyable, hence shared.
    auto shared = std::make_shared<std::unique_ptr<HttpTransfer>>(std::move(transfer));
    asio::post(io_, [this, shared] { begin(std::move(*shared)); });
  }

  void set_upload_limit(uint64_t bytes_per_second) {
    asio::post(io_, [this, bytes_per_second] {
      limit_.set_rate(bytes_per_second, SteadyClock::now());
      go_on();
    });
  }

  void stop() {
    is_stopped_ = true;
    asio::post(io_, [this] {
      while (!transfers_.empty()) end(transfers_.begin()->first, CURLE_ABORTED_BY_CALLBACK, "stopped");
    });
  }

 private:
  struct Socket {
    Socket(asio::io_context& io, curl_socket_t number) : descriptor(watched(io, number)), fd(number) {}
    CurlSocket descriptor;
    curl_socket_t fd;
    int wanted = 0;  // CURL_POLL_IN, _OUT, _INOUT
    bool is_reading = false, is_writing = false;
  };

  static Loop& self(void* pointer) { return *static_cast<Loop*>(pointer); }

  // ── sockets and time, as libcurl asks for them ──

  static int on_socket(CURL*, curl_socket_t fd, int what, void* pointer, void*) {
    auto& loop = self(pointer);
    if (what == CURL_POLL_REMOVE) {
      loop.forget(fd);
      return 0;
    }
    auto& socket = loop.sockets_[fd];
    if (!socket) socket = std::make_shared<Socket>(loop.io_, fd);
    socket->wanted = what;
    loop.watch(socket);
    return 0;
  }

  // The descriptor must leave the reactor before its number is given to another.
  static int on_close(void* pointer, curl_socket_t fd) {
    self(pointer).forget(fd);
    return close_socket(fd);
  }

  void forget(curl_socket_t fd) {
    const auto it = sockets_.find(fd);
    if (it == sockets_.end()) return;
    it->second->wanted = 0;
    it->second->descriptor.release();  // libcurl closes it, not we; waits end as cancelled
    sockets_.erase(it);
  }

  void watch(const std::shared_ptr<Socket>& socket) {
    if ((socket->wanted & CURL_POLL_IN) && !socket->is_reading) {
      socket->is_reading = true;
      socket->descriptor.async_wait(CurlSocket::wait_read, [this, socket](boost::system::error_code error) {
        socket->is_reading = false;
        ready(socket, CURL_CSELECT_IN, error);
      });
    }
    if ((socket->wanted & CURL_POLL_OUT) && !socket->is_writing) {
      socket->is_writing = true;
      socket->descriptor.async_wait(CurlSocket::wait_write, [this, socket](boost::system::error_code error) {
        socket->is_writing = false;
        ready(socket, CURL_CSELECT_OUT, error);
      });
    }
  }

  void ready(const std::shared_ptr<Socket>& socket, int what, boost::system::error_code error) {
    if (error == asio::error::operation_aborted || socket->wanted == 0) return;
    int wanted = what == CURL_CSELECT_IN ? CURL_POLL_IN : CURL_POLL_OUT;
    if (!(socket->wanted & wanted)) return;
    act(socket->fd, error ? CURL_CSELECT_ERR : what);
    if (socket->wanted != 0) watch(socket);
  }

  static int on_timer(CURLM*, long timeout_ms, void* pointer) {
    auto& loop = self(pointer);
    loop.timer_.cancel();
    if (timeout_ms < 0) return 0;
    // Never acted on from within: libcurl's functions are not to be called from its callbacks.
    loop.timer_.expires_after(std::chrono::milliseconds(timeout_ms));
    loop.timer_.async_wait([&loop](boost::system::error_code error) {
      if (!error) loop.act(CURL_SOCKET_TIMEOUT, 0);
    });
    return 0;
  }

  void act(curl_socket_t fd, int what) {
    int running = 0;
    libcurl().multi_socket_action(multi_, fd, what, &running);
    int left = 0;
    while (CURLMsg* message = libcurl().multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      void* pointer = nullptr;
      libcurl().easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
      const auto& transfer = *static_cast<const HttpTransfer*>(pointer);
      std::string_view words;
      const CURLcode code = transfer.outcome(message->data.result, words);
      end(transfer.number(), code, words);
    }
  }

  // ── transfers ──

  void begin(std::unique_ptr<HttpTransfer> owned) {
    HttpTransfer& transfer = *owned;
    transfers_[transfer.number()] = std::move(owned);
    if (is_stopped_) return end(transfer.number(), CURLE_ABORTED_BY_CALLBACK, "stopped");
    CURL* easy = transfer.set_up(settings_);
    libcurl().easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &Loop::on_close);
    libcurl().easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
    if (libcurl().multi_add_handle(multi_, easy) != CURLM_OK)
      return end(transfer.number(), CURLE_FAILED_INIT, "libcurl takes no more transfers");
    look_after_all();
  }

  void end(uint64_t number, CURLcode code, std::string_view words) {
    const auto it = transfers_.find(number);
    if (it == transfers_.end()) return;
    const std::unique_ptr<HttpTransfer> transfer = std::move(it->second);
    transfers_.erase(it);
    if (transfer->easy() != nullptr) libcurl().multi_remove_handle(multi_, transfer->easy());
    transfer->end(code, words);
  }

  void look_after_all() {
    if (is_looking_) return;
    is_looking_ = true;
    look_timer_.expires_after(kLookEvery);
    look_timer_.async_wait([this](boost::system::error_code) {
      is_looking_ = false;
      const auto now = SteadyClock::now();
      std::vector<uint64_t> stalled, cancelled;
      for (auto& [number, transfer] : transfers_) {
        if (transfer->is_paused()) transfer->nothing_had_to_move(now);
        const auto& request = transfer->request();
        if (request.cancelled && *request.cancelled)
          cancelled.push_back(number);
        else if (now - transfer->quiet_since() > request.stall_timeout)
          stalled.push_back(number);
      }
      for (const uint64_t number : stalled) end(number, CURLE_OPERATION_TIMEDOUT, "nothing moved for too long");
      for (const uint64_t number : cancelled) end(number, CURLE_ABORTED_BY_CALLBACK, "cancelled");
      if (!transfers_.empty()) look_after_all();
    });
  }

  // ── who may send now ──

  uint64_t allowance(const HttpTransfer& transfer, uint64_t wanted) {
    if (!transfer.request().goes_first && someone_goes_first()) {
      wait_for_turn();
      return 0;
    }
    const uint64_t allowed = limit_.take(wanted, SteadyClock::now());
    if (allowed == 0) wait_for_limit();
    return allowed;
  }

  // One that does not get on holds up nobody.
  bool someone_goes_first() const {
    const auto now = SteadyClock::now();
    for (auto& [number, transfer] : transfers_)
      if (transfer->request().goes_first && transfer->has_body_left() &&
          (transfer->is_paused() || now - transfer->quiet_since() < kGivenWay))
        return true;
    return false;
  }

  void wait_for_turn() {
    if (is_turn_awaited_) return;
    is_turn_awaited_ = true;
    turn_timer_.expires_after(kLookForTurn);
    turn_timer_.async_wait([this](boost::system::error_code) {
      is_turn_awaited_ = false;
      go_on();
    });
  }

  void wait_for_limit() {
    if (is_limit_awaited_) return;
    is_limit_awaited_ = true;
    limit_timer_.expires_after(limit_.wait());
    limit_timer_.async_wait([this](boost::system::error_code) {
      is_limit_awaited_ = false;
      go_on();
    });
  }

  // Those that wait take turns: the one that went on last is asked last.
  void go_on() {
    std::vector<uint64_t> paused;
    for (auto it = transfers_.upper_bound(last_to_go_on_); it != transfers_.end(); ++it)
      if (it->second->is_paused()) paused.push_back(it->first);
    for (auto it = transfers_.begin(); it != transfers_.upper_bound(last_to_go_on_); ++it)
      if (it->second->is_paused()) paused.push_back(it->first);
    if (!paused.empty()) last_to_go_on_ = paused.front();
    for (const uint64_t number : paused) {
      const auto it = transfers_.find(number);
      if (it != transfers_.end()) it->second->go_on();
    }
    if (!paused.empty()) act(CURL_SOCKET_TIMEOUT, 0);
  }

  const HttpSettings settings_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer timer_{io_}, limit_timer_{io_}, turn_timer_{io_}, look_timer_{io_};
  CURLM* multi_ = nullptr;
  std::map<curl_socket_t, std::shared_ptr<Socket>> sockets_;
  std::map<uint64_t, std::unique_ptr<HttpTransfer>> transfers_;
  UploadLimit limit_;
  uint64_t last_to_go_on_ = 0;
  bool is_limit_awaited_ = false, is_turn_awaited_ = false, is_looking_ = false;
  std::atomic<uint64_t> last_number_{0};
  std::atomic<bool> is_stopped_{false};
  std::thread thread_;
};

HttpClient::HttpClient(HttpSettings settings) : loop_(std::make_unique<Loop>(std::move(settings))) {}
HttpClient::~HttpClient() = default;
void HttpClient::start(HttpRequest request, Handler handler) { loop_->start(std::move(request), std::move(handler)); }
void HttpClient::set_upload_limit(uint64_t bytes_per_second) { loop_->set_upload_limit(bytes_per_second); }
void HttpClient::stop() { loop_->stop(); }

}  // namespace tillsync::s3
