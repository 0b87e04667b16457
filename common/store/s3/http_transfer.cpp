#include "store/s3/http_transfer.h"

#include <algorithm>

#include "base/checks.h"

namespace tillsync::s3 {

namespace {

constexpr size_t kHeaderBytesMax = 64 << 10;

// Locale-free: header names are ASCII.
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

HttpTransfer::HttpTransfer(uint64_t number, HttpRequest request, HttpClient::Handler handler, Allowance allowance)
    : number_(number), request_(std::move(request)), handler_(std::move(handler)), allowance_(std::move(allowance)) {}

void HttpTransfer::count(uint64_t bytes) {
  moved_ += bytes;
  if (moved_ < kStallBytes) return;
  moved_ = 0;
  quiet_since_ = std::chrono::steady_clock::now();
}

CURL* HttpTransfer::set_up(const HttpSettings& settings) {
  quiet_since_ = std::chrono::steady_clock::now();
  easy_.reset(libcurl().easy_init());
  CURL* easy = easy_.get();
  TILLSYNC_CHECK(easy != nullptr);
  curl_slist* list = nullptr;
  for (const auto& [name, value] : request_.headers)
    // A header without a value is written so; "name:" would take it out.
    list = libcurl().slist_append(list, (value.empty() ? name + ";" : name + ": " + value).c_str());
  list = libcurl().slist_append(list, "Content-Type:");
  list = libcurl().slist_append(list, "Accept:");
  headers_.reset(list);
  libcurl().easy_setopt(easy, CURLOPT_PRIVATE, this);
  libcurl().easy_setopt(easy, CURLOPT_URL, request_.url.c_str());
  libcurl().easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  libcurl().easy_setopt(easy, CURLOPT_ERRORBUFFER, error_);
  libcurl().easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  libcurl().easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  libcurl().easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  libcurl().easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  libcurl().easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  libcurl().easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  libcurl().easy_setopt(easy, CURLOPT_PROXY, settings.proxy.c_str());
  if (!settings.ca_file.empty()) {
    libcurl().easy_setopt(easy, CURLOPT_CAINFO, settings.ca_file.c_str());
    libcurl().easy_setopt(easy, CURLOPT_CAPATH, nullptr);
  }
  libcurl().easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings.connect_timeout.count()));
  libcurl().easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  libcurl().easy_setopt(easy, CURLOPT_FRESH_CONNECT, request_.fresh_connection ? 1L : 0L);
  libcurl().easy_setopt(easy, CURLOPT_HEADERFUNCTION, &HttpTransfer::on_header);
  libcurl().easy_setopt(easy, CURLOPT_HEADERDATA, this);
  libcurl().easy_setopt(easy, CURLOPT_WRITEFUNCTION, &HttpTransfer::on_write);
  libcurl().easy_setopt(easy, CURLOPT_WRITEDATA, this);
  if (request_.method == "PUT") {
    if (request_.streamed) request_.streamed->rewind();
    libcurl().easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    libcurl().easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body_size()));
    libcurl().easy_setopt(easy, CURLOPT_READFUNCTION, &HttpTransfer::on_read);
    libcurl().easy_setopt(easy, CURLOPT_READDATA, this);
    libcurl().easy_setopt(easy, CURLOPT_SEEKFUNCTION, &HttpTransfer::on_seek);
    libcurl().easy_setopt(easy, CURLOPT_SEEKDATA, this);
  } else if (request_.method == "POST") {
    libcurl().easy_setopt(easy, CURLOPT_POST, 1L);
    libcurl().easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    libcurl().easy_setopt(easy, CURLOPT_POSTFIELDS, request_.body.empty() ? "" : as_text(request_.body).data());
  } else if (request_.method == "HEAD") {
    libcurl().easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else {
    libcurl().easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    libcurl().easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
  return easy;
}

void HttpTransfer::go_on() {
  is_paused_ = false;
  quiet_since_ = std::chrono::steady_clock::now();
  libcurl().easy_pause(easy_.get(), CURLPAUSE_CONT);
}

CURLcode HttpTransfer::outcome(CURLcode code, std::string_view& words) const {
  words = error_[0] != 0 ? error_ : libcurl().easy_strerror(code);
  if (code == CURLE_WRITE_ERROR && has_enough_) {
    words = "";
    return CURLE_OK;
  }
  // libcurl takes an answer that is cut inside its headers for one with an empty body.
  if (code == CURLE_OK && !headers_ended_) {
    words = "the answer ends inside its headers";
    return CURLE_RECV_ERROR;
  }
  if (is_too_large_) words = "the answer is larger than any should be";
  return code;
}

void HttpTransfer::end(CURLcode code, std::string_view words) {
  response_.curl_code = code;
  response_.detail = words;
  if (CURL* easy = easy_.get()) {
    long status = 0, connects = 0;
    libcurl().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    libcurl().easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_off_t connected_us = 0;
    libcurl().easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    response_.status = static_cast<int>(status);
    response_.is_reused = connects == 0;
    response_.was_connected = connects == 0 || connected_us > 0;
    easy_.reset();
  }
  auto handler = std::move(handler_);
  handler(std::move(response_));
}

size_t HttpTransfer::on_header(char* bytes, size_t size, size_t count, void* pointer) {
  auto& transfer = self(pointer);
  const std::string_view line(bytes, size * count);
  transfer.count(line.size());
  transfer.header_bytes_ += line.size();
  if (transfer.header_bytes_ > kHeaderBytesMax) {
    transfer.is_too_large_ = true;
    return 0;
  }
  // "100 Continue" and a proxy's answer have headers of their own: only the last ones count.
  if (line.starts_with("HTTP/")) {
    transfer.response_.headers.clear();
    transfer.headers_ended_ = false;
  }
  if (line == "\r\n" || line == "\n") transfer.headers_ended_ = true;
  const size_t colon = line.find(':');
  if (colon == line.npos) return line.size();
  const size_t first = line.find_first_not_of(" \t", colon + 1);
  const size_t last = line.find_last_not_of(" \t\r\n");
  transfer.response_.headers.emplace_back(
      lower(line.substr(0, colon)), first == line.npos || last < first ? "" : line.substr(first, last - first + 1));
  return line.size();
}

size_t HttpTransfer::on_write(char* bytes, size_t size, size_t count, void* pointer) {
  auto& transfer = self(pointer);
  auto& response = transfer.response_;
  ByteView all(reinterpret_cast<const uint8_t*>(bytes), size * count);
  transfer.count(all.size());
  long status = 0;
  libcurl().easy_getinfo(transfer.easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  const bool is_sunk = status >= 200 && status < 300 && !transfer.request_.sink.empty();
  if (!is_sunk) {
    if (response.body.size() + all.size() > transfer.request_.body_bytes_max) {
      transfer.is_too_large_ = true;
      return 0;
    }
    append(response.body, all);
    return all.size();
  }
  ByteView wanted = all;
  if (status == 200 && transfer.received_ < transfer.request_.sink_offset)
    wanted = all.subspan(std::min<uint64_t>(all.size(), transfer.request_.sink_offset - transfer.received_));
  transfer.received_ += all.size();
  const size_t room = transfer.request_.sink.size() - response.sunk;
  const size_t taken = std::min(room, wanted.size());
  std::copy_n(wanted.begin(), taken, transfer.request_.sink.begin() + static_cast<ptrdiff_t>(response.sunk));
  response.sunk += taken;
  if (wanted.size() <= room) return all.size();
  transfer.has_enough_ = true;
  return 0;
}

size_t HttpTransfer::on_read(char* out, size_t size, size_t count, void* pointer) {
  auto& transfer = self(pointer);
  const HttpRequest& request = transfer.request_;
  const uint64_t wanted = std::min<uint64_t>(size * count, request.body_size() - transfer.position_);
  if (wanted == 0) return 0;
  const uint64_t allowed = transfer.allowance_(transfer, wanted);
  if (allowed == 0) {
    transfer.is_paused_ = true;
    return CURL_READFUNC_PAUSE;
  }
  const MutableBytes room(reinterpret_cast<uint8_t*>(out), allowed);
  if (!request.streamed)
    std::copy_n(request.body.begin() + static_cast<ptrdiff_t>(transfer.position_), allowed, room.begin());
  else if (!request.streamed->next(room))
    return CURL_READFUNC_ABORT;
  transfer.position_ += allowed;
  transfer.count(allowed);
  if (request.sent) request.sent->store(transfer.position_);
  return allowed;
}

int HttpTransfer::on_seek(void* pointer, curl_off_t offset, int origin) {
  auto& transfer = self(pointer);
  // To the start is all that libcurl ever asks for.
  if (origin != SEEK_SET || offset != 0) return CURL_SEEKFUNC_CANTSEEK;
  if (transfer.request_.streamed) transfer.request_.streamed->rewind();
  transfer.position_ = 0;
  return CURL_SEEKFUNC_OK;
}

}  // namespace tillsync::s3
