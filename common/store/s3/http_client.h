// HTTP/1.1 requests, many at once, over connections that are kept: libcurl's multi interface, driven by Boost.Asio on a
// thread of its own.
//
// Redirects are never followed, and nothing is retried but what libcurl itself does with a kept connection that turns
// out to be closed before the first byte of an answer.
// Errors: HttpResponse::curl_code is CURLE_OK (0) where there is a whole answer of any status;
// CURLE_ABORTED_BY_CALLBACK when it was cancelled or stop() was called. Time: a request ends with
// CURLE_OPERATION_TIMEDOUT when less than kStallBytes moved during its stall_timeout. Waiting for the upload limit does
// not count. Threads: any may call; handlers run on the client's own thread and must not wait.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "store/s3/sigv4.h"

namespace tillsync::s3 {

inline constexpr uint64_t kStallBytes = 512;

struct HttpSettings {
  std::string ca_file;  // "": the system's
  std::string proxy;    // "": none, also not from the environment
  std::chrono::milliseconds connect_timeout{10'000};
};

// A body that is read as the connection takes it. Threads: the client's, one call at a time, and none once the handler
// was called.
class StreamedBody {
 public:
  virtual ~StreamedBody() = default;
  virtual uint64_t size() const = 0;
  // The next bytes are the first ones. Called before each try.
  virtual void rewind() = 0;
  // All of out, which never reaches beyond size(). false: the request is to end, as CURLE_ABORTED_BY_CALLBACK; why is
  // the body's to tell. Must not throw.
  virtual bool next(MutableBytes out) = 0;
};

struct HttpRequest {
  std::string method;
  std::string url;  // encoded
  Pairs headers;
  ByteView body;                           // stays where it is until the handler was called
  std::shared_ptr<StreamedBody> streamed;  // of a PUT, instead of body
  // Where the body of a 2xx answer goes; what comes beyond it is not read. Stays where it is, too. Empty: into
  // HttpResponse::body.
  MutableBytes sink;
  uint64_t sink_offset = 0;  // bytes before it are dropped when the answer is 200, that is the whole object
  size_t body_bytes_max = 4 << 20;
  std::chrono::milliseconds stall_timeout{30'000};
  bool fresh_connection = false;
  // While the body of such a one moves, those of others wait.
  bool goes_first = false;
  std::shared_ptr<std::atomic<uint64_t>> sent = {};         // bytes of the body that were given to the connection
  std::shared_ptr<const std::atomic<bool>> cancelled = {};  // looked at every quarter of a second

  uint64_t body_size() const { return streamed ? streamed->size() : body.size(); }
};

struct HttpResponse {
  int status = 0;  // 0: no answer
  Pairs headers;   // names in lower case
  Bytes body;
  size_t sunk = 0;
  int curl_code = 0;
  std::string detail;          // libcurl's words for curl_code
  bool was_connected = false;  // a connection was there, new or kept
  bool is_reused = false;      // over a connection that was kept

  std::string_view header(std::string_view name) const;
};

class HttpClient {
 public:
  using Handler = std::function<void(HttpResponse)>;

  explicit HttpClient(HttpSettings settings);
  ~HttpClient();  // stops
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // The handler is called once, always.
  void start(HttpRequest request, Handler handler);
  void set_upload_limit(uint64_t bytes_per_second);
  // Everything under way, and what is started from now on, ends as cancelled.
  void stop();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace tillsync::s3
