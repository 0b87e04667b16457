#include "store/s3/http_client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>

#include "base/checks.h"
#include "store/s3/upload_limit.h"

namespace tillsync::s3 {

namespace {

namespace asio = boost::asio;
using SteadyClock = std::chrono::steady_clock;

constexpr size_t kHeaderBytesMax = 64 << 10;
constexpr long kKeptConnections = 16;
constexpr auto kLookEvery = std::chrono::milliseconds(250);
constexpr auto kGivenWay = std::chrono::seconds(5);
constexpr auto kLookForTurn = std::chrono::milliseconds(50);

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// Locale-free: header names are ASCII.
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

struct Transfer {
  HttpRequest request;
  HttpResponse response;
  HttpClient::Handler handler;
  uint64_t number = 0;
  std::unique_ptr<CURL, EasyDeleter> easy;
  std::unique_ptr<curl_slist, ListDeleter> headers;
  char error[CURL_ERROR_SIZE] = "";
  uint64_t position = 0;  // in request.body
  uint64_t received = 0;  // of the body of the answer
  size_t header_bytes = 0;
  bool headers_ended = false;
  bool is_paused = false;   // for the upload limit
  bool has_enough = false;  // the sink is full
  bool is_too_large = false;
  uint64_t moved = 0;  // since window_start
  SteadyClock::time_point window_start = SteadyClock::now();

  void count(uint64_t bytes) {
    moved += bytes;
    if (moved < kStallBytes) return;
    moved = 0;
    window_start = SteadyClock::now();
  }
};

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
    static std::once_flag once;
    std::call_once(once, [] { TILLSYNC_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
    multi_ = curl_multi_init();
    TILLSYNC_CHECK(multi_ != nullptr);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Loop::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Loop::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kKeptConnections);
    thread_ = std::thread([this] {
      // OpenSSL writes without MSG_NOSIGNAL: a connection that the other side closed must not end the process.
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      io_.run();
    });
  }

  ~Loop() {
    stop();
    asio::post(io_, [this] {
      // Closes the kept connections, which calls on_close(): on this thread as ever.
      curl_multi_cleanup(multi_);
      work_.reset();
      io_.stop();
    });
    thread_.join();
    for (auto& [fd, socket] : sockets_) socket->descriptor.release();
  }

  void start(HttpRequest request, Handler handler) {
    auto transfer = std::make_unique<Transfer>();
    transfer->request = std::move(request);
    transfer->handler = std::move(handler);
    transfer->number = ++last_number_;
    // std::function must be copyable, hence shared.
    auto shared = std::make_shared<std::unique_ptr<Transfer>>(std::move(transfer));
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
    Socket(asio::io_context& io, curl_socket_t number) : descriptor(io, number), fd(number) {}
    asio::posix::stream_descriptor descriptor;
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
    return ::close(fd);
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
      socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                    [this, socket](boost::system::error_code error) {
                                      socket->is_reading = false;
                                      ready(socket, CURL_CSELECT_IN, error);
                                    });
    }
    if ((socket->wanted & CURL_POLL_OUT) && !socket->is_writing) {
      socket->is_writing = true;
      socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                    [this, socket](boost::system::error_code error) {
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
    curl_multi_socket_action(multi_, fd, what, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      void* pointer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
      auto& transfer = *static_cast<Transfer*>(pointer);
      const CURLcode code = message->data.result;
      const char* words = transfer.error[0] != 0 ? transfer.error : curl_easy_strerror(code);
      if (code == CURLE_WRITE_ERROR && transfer.has_enough) end(transfer.number, CURLE_OK, "");
      // libcurl takes an answer that is cut inside its headers for one with an empty body.
      else if (code == CURLE_OK && !transfer.headers_ended)
        end(transfer.number, CURLE_RECV_ERROR, "the answer ends inside its headers");
      else
        end(transfer.number, code, transfer.is_too_large ? "the answer is larger than any should be" : words);
    }
  }

  // ── one transfer ──

  void begin(std::unique_ptr<Transfer> owned) {
    Transfer& transfer = *owned;
    transfers_[transfer.number] = std::move(owned);
    if (is_stopped_) return end(transfer.number, CURLE_ABORTED_BY_CALLBACK, "stopped");
    transfer.window_start = SteadyClock::now();
    transfer.easy.reset(curl_easy_init());
    CURL* easy = transfer.easy.get();
    TILLSYNC_CHECK(easy != nullptr);
    set_up(easy, transfer);
    if (curl_multi_add_handle(multi_, easy) != CURLM_OK)
      return end(transfer.number, CURLE_FAILED_INIT, "libcurl takes no more transfers");
    look_after_all();
  }

  void set_up(CURL* easy, Transfer& transfer) {
    const HttpRequest& request = transfer.request;
    curl_slist* list = nullptr;
    for (const auto& [name, value] : request.headers)
      // A header without a value is written so; "name:" would take it out.
      list = curl_slist_append(list, (value.empty() ? name + ";" : name + ": " + value).c_str());
    list = curl_slist_append(list, "Content-Type:");
    list = curl_slist_append(list, "Accept:");
    transfer.headers.reset(list);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_PROXY, settings_.proxy.c_str());
    if (!settings_.ca_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, settings_.ca_file.c_str());
      curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    }
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.connect_timeout.count()));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request.fresh_connection ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &Loop::on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Loop::on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Loop::on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    if (request.method == "PUT") {
      curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Loop::on_read);
      reads_[&transfer] = {this, &transfer};
      curl_easy_setopt(easy, CURLOPT_READDATA, &reads_[&transfer]);
      curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &Loop::on_seek);
      curl_easy_setopt(easy, CURLOPT_SEEKDATA, &transfer);
    } else if (request.method == "POST") {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : as_text(request.body).data());
    } else if (request.method == "HEAD") {
      curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else {
      curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }

  static size_t on_header(char* bytes, size_t size, size_t count, void* pointer) {
    auto& transfer = *static_cast<Transfer*>(pointer);
    const std::string_view line(bytes, size * count);
    transfer.count(line.size());
    transfer.header_bytes += line.size();
    if (transfer.header_bytes > kHeaderBytesMax) {
      transfer.is_too_large = true;
      return 0;
    }
    // "100 Continue" and a proxy's answer have headers of their own: only the last ones count.
    if (line.starts_with("HTTP/")) {
      transfer.response.headers.clear();
      transfer.headers_ended = false;
    }
    if (line == "\r\n" || line == "\n") transfer.headers_ended = true;
    const size_t colon = line.find(':');
    if (colon == line.npos) return line.size();
    const size_t first = line.find_first_not_of(" \t", colon + 1);
    const size_t last = line.find_last_not_of(" \t\r\n");
    transfer.response.headers.emplace_back(
        lower(line.substr(0, colon)), first == line.npos || last < first ? "" : line.substr(first, last - first + 1));
    return line.size();
  }

  static size_t on_write(char* bytes, size_t size, size_t count, void* pointer) {
    auto& transfer = *static_cast<Transfer*>(pointer);
    auto& response = transfer.response;
    ByteView all(reinterpret_cast<const uint8_t*>(bytes), size * count);
    transfer.count(all.size());
    long status = 0;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    const bool is_sunk = status >= 200 && status < 300 && !transfer.request.sink.empty();
    if (!is_sunk) {
      if (response.body.size() + all.size() > transfer.request.body_bytes_max) {
        transfer.is_too_large = true;
        return 0;
      }
      append(response.body, all);
      return all.size();
    }
    ByteView wanted = all;
    if (status == 200 && transfer.received < transfer.request.sink_offset)
      wanted = all.subspan(std::min<uint64_t>(all.size(), transfer.request.sink_offset - transfer.received));
    transfer.received += all.size();
    const size_t room = transfer.request.sink.size() - response.sunk;
    const size_t taken = std::min(room, wanted.size());
    std::copy_n(wanted.begin(), taken, transfer.request.sink.begin() + static_cast<ptrdiff_t>(response.sunk));
    response.sunk += taken;
    if (wanted.size() <= room) return all.size();
    transfer.has_enough = true;
    return 0;
  }

  struct Read {
    Loop* loop = nullptr;
    Transfer* transfer = nullptr;
  };

  static size_t on_read(char* out, size_t size, size_t count, void* pointer) {
    auto& [loop, transfer] = *static_cast<Read*>(pointer);
    const ByteView left = transfer->request.body.subspan(transfer->position);
    const uint64_t wanted = std::min<uint64_t>(size * count, left.size());
    if (wanted == 0) return 0;
    if (!transfer->request.goes_first && loop->someone_goes_first()) {
      transfer->is_paused = true;
      loop->wait_for_turn();
      return CURL_READFUNC_PAUSE;
    }
    const uint64_t allowed = loop->limit_.take(wanted, SteadyClock::now());
    if (allowed == 0) {
      transfer->is_paused = true;
      loop->wait_for_limit();
      return CURL_READFUNC_PAUSE;
    }
    std::copy_n(left.begin(), allowed, reinterpret_cast<uint8_t*>(out));
    transfer->position += allowed;
    transfer->count(allowed);
    if (transfer->request.sent) transfer->request.sent->store(transfer->position);
    return allowed;
  }

  static int on_seek(void* pointer, curl_off_t offset, int origin) {
    auto& transfer = *static_cast<Transfer*>(pointer);
    if (origin != SEEK_SET || offset < 0 || static_cast<uint64_t>(offset) > transfer.request.body.size())
      return CURL_SEEKFUNC_CANTSEEK;
    transfer.position = static_cast<uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  // One that does not get on holds up nobody.
  bool someone_goes_first() const {
    const auto now = SteadyClock::now();
    for (auto& [number, transfer] : transfers_)
      if (transfer->request.goes_first && transfer->position < transfer->request.body.size() &&
          (transfer->is_paused || now - transfer->window_start < kGivenWay))
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
      if (it->second->is_paused) paused.push_back(it->first);
    for (auto it = transfers_.begin(); it != transfers_.upper_bound(last_to_go_on_); ++it)
      if (it->second->is_paused) paused.push_back(it->first);
    if (!paused.empty()) last_to_go_on_ = paused.front();
    for (const uint64_t number : paused) {
      const auto it = transfers_.find(number);
      if (it == transfers_.end()) continue;
      it->second->is_paused = false;
      it->second->window_start = SteadyClock::now();
      curl_easy_pause(it->second->easy.get(), CURLPAUSE_CONT);
    }
    if (!paused.empty()) act(CURL_SOCKET_TIMEOUT, 0);
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
        if (transfer->is_paused) transfer->window_start = now;
        const auto& request = transfer->request;
        if (request.cancelled && *request.cancelled)
          cancelled.push_back(number);
        else if (now - transfer->window_start > request.stall_timeout)
          stalled.push_back(number);
      }
      for (const uint64_t number : stalled) end(number, CURLE_OPERATION_TIMEDOUT, "nothing moved for too long");
      for (const uint64_t number : cancelled) end(number, CURLE_ABORTED_BY_CALLBACK, "cancelled");
      if (!transfers_.empty()) look_after_all();
    });
  }

  void end(uint64_t number, CURLcode code, std::string_view words) {
    const auto it = transfers_.find(number);
    if (it == transfers_.end()) return;
    std::unique_ptr<Transfer> transfer = std::move(it->second);
    transfers_.erase(it);
    auto& response = transfer->response;
    if (CURL* easy = transfer->easy.get()) {
      long status = 0, connects = 0;
      curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
      curl_off_t connected_us = 0;
      curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
      response.status = static_cast<int>(status);
      response.is_reused = connects == 0;
      response.was_connected = connects == 0 || connected_us > 0;
      curl_multi_remove_handle(multi_, easy);
    }
    reads_.erase(transfer.get());
    response.curl_code = code;
    response.detail = words;
    transfer->easy.reset();
    auto handler = std::move(transfer->handler);
    handler(std::move(response));
  }

  const HttpSettings settings_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer timer_{io_}, limit_timer_{io_}, turn_timer_{io_}, look_timer_{io_};
  CURLM* multi_ = nullptr;
  std::map<curl_socket_t, std::shared_ptr<Socket>> sockets_;
  std::map<uint64_t, std::unique_ptr<Transfer>> transfers_;
  std::map<Transfer*, Read> reads_;
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
