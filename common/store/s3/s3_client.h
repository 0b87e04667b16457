// One signed request to a bucket, and what needs no patience: the clock's offset, the bucket's region, changed
// credentials, a kept connection that was dead. Each is tried once; then the failure is the caller's.
//
// Addressing: virtual-host (bucket.host) or path-style (host/bucket); an endpoint that is an IP address is always
// path-style. A region that the server names is learned; another endpoint only where it is below amazonaws.com, because
// our objects would go wherever a server points to.
// Threads: any. Handlers run on the HTTP client's thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "ports/clock.h"
#include "store/s3/credentials.h"
#include "store/s3/http_client.h"
#include "store/s3/s3_error.h"

namespace tillsync::s3 {

struct BucketAddress {
  std::string bucket;
  std::string endpoint;  // https://host[:port]; "": AWS
  std::string region;    // "": us-east-1
  bool path_style = false;
};

struct S3Request {
  std::string method = {};
  std::string key = {};  // "": the bucket itself
  Pairs query = {}, headers = {};
  ByteView body = {};
  std::shared_ptr<StreamedBody> streamed = {};       // instead of body; then with body_sha256
  std::optional<Digest> body_sha256 = std::nullopt;  // computed if not given
  MutableBytes sink = {};
  uint64_t sink_offset = 0;
  std::chrono::milliseconds stall_timeout{30'000};
  bool goes_first = false;
  std::shared_ptr<std::atomic<uint64_t>> sent = {};
  std::shared_ptr<const std::atomic<bool>> cancelled = {};
};

struct S3Outcome {
  HttpResponse response;  // of the last try
  std::optional<Failure> failure;
  bool was_repeated = false;  // after a try whose outcome is not known
};

class S3Client {
 public:
  using Handler = std::function<void(S3Outcome)>;
  S3Client(BucketAddress address, HttpSettings http, FileSystem& files, std::string credentials_file, Clock& clock);
  ~S3Client();

  // The handler is called once, always.
  void start(S3Request request, Handler handler);
  // Waits. meanwhile, if given, is called ten times a second on this thread; false cancels.
  S3Outcome perform(S3Request request, const std::function<bool()>& meanwhile = nullptr);

  void set_upload_limit(uint64_t bytes_per_second) { http_->set_upload_limit(bytes_per_second); }
  void stop() { http_->stop(); }
  std::string where() const { return "s3://" + address_.bucket; }
  // By which our clock was found to differ from the server's; 0 as long as it was never refused.
  std::chrono::milliseconds clock_offset() const { return std::chrono::milliseconds(clock_offset_ms_.load()); }

 private:
  struct Call;
  struct Target {
    std::string scheme, host, path;
  };
  void send(const std::shared_ptr<Call>& call);
  void answered(const std::shared_ptr<Call>& call, HttpResponse response);
  bool try_again(Call& call, const Failure& failure, const HttpResponse& response);
  Target target(const std::string& key);
  bool learn(const Failure& failure);

  BucketAddress address_;
  CredentialSource credentials_;
  Clock& clock_;
  std::mutex mutex_;               // guards what is learned
  std::string region_, endpoint_;  // endpoint_ "": by region
  std::atomic<int64_t> clock_offset_ms_{0};
  std::unique_ptr<HttpClient> http_;  // last: its thread uses the rest
};

}  // namespace tillsync::s3
