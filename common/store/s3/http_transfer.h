// One request and its answer, as libcurl's easy handle: what goes up, what comes down, and how far it has come.
//
// Threads: that of the client, whose loop drives it.
#pragma once

#include "store/s3/http_client.h"
#include "store/s3/libcurl.h"

namespace tillsync::s3 {

class HttpTransfer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // How many of the wanted bytes of the body may go up now; 0: it pauses until go_on().
  using Allowance = std::function<uint64_t(const HttpTransfer&, uint64_t wanted)>;

  HttpTransfer(uint64_t number, HttpRequest request, HttpClient::Handler handler, Allowance allowance);

  // Makes the easy handle, for its loop to add.
  CURL* set_up(const HttpSettings& settings);
  void go_on();
  // Calls the handler: nothing more comes. code, words: libcurl's.
  void end(CURLcode code, std::string_view words);

  uint64_t number() const { return number_; }
  const HttpRequest& request() const { return request_; }
  CURL* easy() const { return easy_.get(); }  // nullptr before set_up()
  bool is_paused() const { return is_paused_; }
  bool has_body_left() const { return position_ < request_.body_size(); }
  // Since when fewer than kStallBytes moved; while it is paused, nothing has to.
  Time quiet_since() const { return quiet_since_; }
  void nothing_had_to_move(Time now) { quiet_since_ = now; }
  // libcurl said that it is done, with this code: what it comes to.
  CURLcode outcome(CURLcode code, std::string_view& words) const;

 private:
  struct EasyDeleter {
    void operator()(CURL* easy) const { libcurl().easy_cleanup(easy); }
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const { libcurl().slist_free_all(list); }
  };
  static HttpTransfer& self(void* pointer) { return *static_cast<HttpTransfer*>(pointer); }
  static size_t on_header(char* bytes, size_t size, size_t count, void* pointer);
  static size_t on_write(char* bytes, size_t size, size_t count, void* pointer);
  static size_t on_read(char* out, size_t size, size_t count, void* pointer);
  static int on_seek(void* pointer, curl_off_t offset, int origin);
  void count(uint64_t bytes);

  const uint64_t number_;
  const HttpRequest request_;
  HttpResponse response_;
  HttpClient::Handler handler_;
  Allowance allowance_;
  std::unique_ptr<CURL, EasyDeleter> easy_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  char error_[CURL_ERROR_SIZE] = "";
  uint64_t position_ = 0;  // in the body that goes up
  uint64_t received_ = 0;  // of the body of the answer
  size_t header_bytes_ = 0;
  bool headers_ended_ = false;
  bool is_paused_ = false;
  bool has_enough_ = false;  // the sink is full
  bool is_too_large_ = false;
  uint64_t moved_ = 0;  // since quiet_since_
  Time quiet_since_ = std::chrono::steady_clock::now();
};

}  // namespace tillsync::s3
