#include "store/s3/s3_client.h"

#include <algorithm>
#include <condition_variable>

#include "base/checks.h"
#include "crypto/hash.h"
#include "store/s3/libcurl.h"

namespace tillsync::s3 {

namespace {

constexpr std::string_view kAws = ".amazonaws.com";

bool is_address(std::string_view host) {
  return host.starts_with('[') || host.find_first_not_of("0123456789.") == host.npos;
}

// "10.0.0.1:9000" → "10.0.0.1"
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

}  // namespace

struct S3Client::Call {
  S3Request request;
  Handler handler;
  Digest body_sha256;
  std::shared_ptr<const Credentials> credentials;  // of the last try
  bool corrected_clock = false, read_credentials = false, tried_fresh = false, was_repeated = false;
  bool wants_fresh = false;
  int redirects = 0;
  // The answer to a HEAD has no body, hence no <Code>: the same is asked with a GET of one byte, only for the reason.
  bool is_explaining = false, is_explained = false;
};

S3Client::S3Client(BucketAddress address, HttpSettings http, FileSystem& files, std::string credentials_file,
                   Clock& clock)
    : address_(std::move(address)),
      credentials_(files, std::move(credentials_file)),
      clock_(clock),
      region_(address_.region.empty() ? "us-east-1" : address_.region),
      endpoint_(address_.endpoint),
      http_(std::make_unique<HttpClient>(std::move(http))) {
  while (endpoint_.ends_with('/')) endpoint_.pop_back();
}

S3Client::~S3Client() = default;

S3Client::Target S3Client::target(const std::string& key) {
  std::lock_guard lock(mutex_);
  const std::string endpoint = endpoint_.empty() ? "https://s3." + region_ + std::string(kAws) : endpoint_;
  const size_t slashes = endpoint.find("://");
  Target out{endpoint.substr(0, slashes), endpoint.substr(slashes + 3), "/"};
  if (address_.path_style || is_address(without_port(out.host)))
    out.path += address_.bucket + (key.empty() ? "" : "/");
  else
    out.host = address_.bucket + "." + out.host;
  out.path += key;
  // The Host header is signed: it has the port exactly where libcurl would write it.
  const std::string_view usual = out.scheme == "https" ? ":443" : ":80";
  if (out.host.ends_with(usual)) out.host.resize(out.host.size() - usual.size());
  return out;
}

void S3Client::start(S3Request request, Handler handler) {
  TILLSYNC_CHECK(!request.streamed || request.body_sha256);
  auto call = std::make_shared<Call>();
  call->body_sha256 = request.body_sha256 ? *request.body_sha256 : sha256(request.body);
  call->request = std::move(request);
  call->handler = std::move(handler);
  send(call);
}

void S3Client::send(const std::shared_ptr<Call>& call) {
  const S3Request& request = call->request;
  auto credentials = credentials_.current();
  if (!credentials) {
    S3Outcome outcome;
    outcome.failure = Failure{.what = FailureClass::denied, .code = "NoCredentials"};
    outcome.failure->words = credentials.error().context;
    return call->handler(std::move(outcome));
  }
  call->credentials = *credentials;
  const Target where = target(request.key);
  const std::string method = call->is_explaining ? "GET" : request.method;
  SigningScope scope;
  scope.timestamp = signing_timestamp(clock_.now() + clock_offset());
  {
    std::lock_guard lock(mutex_);
    scope.region = region_;
  }
  SignedParts parts{method, where.path, request.query, request.headers, call->body_sha256.hex()};
  parts.headers.emplace_back("Host", where.host);
  parts.headers.emplace_back("x-amz-content-sha256", parts.payload_sha256);
  parts.headers.emplace_back("x-amz-date", scope.timestamp);
  if (call->is_explaining) parts.headers.emplace_back("Range", "bytes=0-0");
  if (!call->credentials->session_token.empty())
    parts.headers.emplace_back("x-amz-security-token", call->credentials->session_token.view());

  HttpRequest http;
  http.method = method;
  http.url = where.scheme + "://" + where.host + uri_encoded(where.path, true);
  if (!request.query.empty()) http.url += "?" + canonical_query(request.query);
  http.headers = parts.headers;
  http.headers.emplace_back("Authorization", authorization(call->credentials->access_key,
                                                           call->credentials->secret_key.view(), scope, parts));
  http.body = request.body;
  http.streamed = request.streamed;
  if (!call->is_explaining) http.sink = request.sink;
  http.sink_offset = request.sink_offset;
  http.stall_timeout = request.stall_timeout;
  http.goes_first = request.goes_first;
  http.fresh_connection = call->wants_fresh;
  http.sent = request.sent;
  http.cancelled = request.cancelled;
  http_->start(std::move(http), [this, call](HttpResponse response) { answered(call, std::move(response)); });
}

void S3Client::answered(const std::shared_ptr<Call>& call, HttpResponse response) {
  auto failure = failure_of(response);
  if (call->is_explaining) {
    call->is_explaining = false;
    call->is_explained = true;
    // It works now, or there is still no reason given: HEAD is asked again, and its answer stands.
    if (!failure || failure->code.empty()) return send(call);
  } else if (failure && call->request.method == "HEAD" && failure->code.empty() && !call->is_explained &&
             (failure->status == 400 || failure->status == 403 || failure->status == 301)) {
    call->is_explaining = true;
    return send(call);
  }
  if (failure && try_again(*call, *failure, response)) return send(call);
  call->handler({std::move(response), std::move(failure), call->was_repeated});
}

bool S3Client::try_again(Call& call, const Failure& failure, const HttpResponse& response) {
  switch (failure.what) {
    case FailureClass::clock: {
      const std::string date(response.header("date"));
      const time_t theirs = libcurl().getdate(date.c_str(), nullptr);
      if (call.corrected_clock || theirs <= 0) return false;
      call.corrected_clock = true;
      clock_offset_ms_ = int64_t{theirs} * 1000 - to_ms(clock_.now());
      return true;
    }
    case FailureClass::redirect:
      if (++call.redirects > 2 || !learn(failure)) return false;
      call.is_explained = false;
      return true;
    case FailureClass::denied:
      if (call.read_credentials || !credentials_.has_newer(call.credentials)) return false;
      call.read_credentials = true;
      return true;
    case FailureClass::transient:
      if (call.tried_fresh || !response.is_reused ||
          (failure.curl_code != CURLE_GOT_NOTHING && failure.curl_code != CURLE_SEND_ERROR &&
           failure.curl_code != CURLE_RECV_ERROR))
        return false;
      call.tried_fresh = call.wants_fresh = call.was_repeated = true;
      return true;
    default: return false;
  }
}

bool S3Client::learn(const Failure& failure) {
  std::lock_guard lock(mutex_);
  bool is_new = false;
  if (!failure.region.empty() && failure.region != region_) {
    region_ = failure.region;
    is_new = true;
  }
  // <Endpoint> of AWS is the host of the bucket: bucket.s3.eu-central-1.amazonaws.com, or without the bucket.
  std::string_view host = failure.endpoint;
  if (endpoint_.find(kAws) != std::string::npos && host.ends_with(kAws)) {
    if (host.starts_with(address_.bucket + ".")) host.remove_prefix(address_.bucket.size() + 1);
    const std::string endpoint = "https://" + std::string(host);
    is_new |= endpoint != endpoint_;
    endpoint_ = endpoint;
  }
  return is_new;
}

S3Outcome S3Client::perform(S3Request request, const std::function<bool()>& meanwhile) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable ended;
    std::optional<S3Outcome> outcome;
  };
  auto waiting = std::make_shared<Waiting>();
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  if (meanwhile) request.cancelled = cancelled;
  start(std::move(request), [waiting](S3Outcome outcome) {
    std::lock_guard lock(waiting->mutex);
    waiting->outcome = std::move(outcome);
    waiting->ended.notify_all();
  });
  std::unique_lock lock(waiting->mutex);
  while (!waiting->outcome) {
    waiting->ended.wait_for(lock, std::chrono::milliseconds(100));
    if (waiting->outcome || !meanwhile) continue;
    lock.unlock();
    try {
      if (!meanwhile()) *cancelled = true;
    } catch (...) {
      // The request reads the caller's bytes until it ends.
      *cancelled = true;
      lock.lock();
      waiting->ended.wait(lock, [&] { return waiting->outcome.has_value(); });
      throw;
    }
    lock.lock();
  }
  return std::move(*waiting->outcome);
}

}  // namespace tillsync::s3
