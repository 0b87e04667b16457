// A store whose requests go through a proxy that makes faults.
#pragma once

#include "s3/s3_server.h"
#include "support/fault_proxy.h"

namespace tillsync::test {

// Wrong by a fixed difference.
class OffClock : public SystemClock {
 public:
  explicit OffClock(Milliseconds off) : off_(off) {}
  Timestamp now() override { return SystemClock::now() + off_; }

 private:
  Milliseconds off_;
};

// Uploads in parts below the prefix that were begun and have not ended.
inline size_t unfinished_on_the_server(const s3::S3Store::Options& options) {
  LinuxFileSystem files;
  SystemClock clock;
  s3::S3Client client(options.address, {}, files, options.credentials_file, clock);
  const auto outcome = client.perform({.method = "GET", .query = {{"uploads", ""}, {"prefix", options.prefix}}});
  REQUIRE_FALSE(outcome.failure);
  const std::string text(as_text(outcome.response.body));
  REQUIRE(contains(text, "ListMultipartUploadsResult"));
  size_t count = 0;
  for (size_t at = 0; (at = text.find("<UploadId>", at)) != text.npos; at++) count++;
  return count;
}

struct BehindProxy {
  FaultProxy proxy{S3Server::running().port()};
  LinuxFileSystem files;
  SystemRandom random;
  OffClock clock{Milliseconds(0)};
  s3::S3Store::Options options = options_through(proxy);
  std::unique_ptr<s3::S3Store> store = std::make_unique<s3::S3Store>(options, files, clock, random);

  static s3::S3Store::Options options_through(const FaultProxy& proxy) {
    auto options = S3Server::running().options();
    options.address.endpoint = proxy.endpoint();
    return options;
  }
  // As another process would: connections, tokens and what was learned are gone.
  void reopen() { store = std::make_unique<s3::S3Store>(options, files, clock, random); }

  Result<void> put(const std::string& key, std::string_view text) {
    BytesSource source(as_bytes(text));
    return store->put(key, source);
  }
  std::string get(const std::string& key) { return std::string(as_text(must(read_object(*store, key, 1 << 20)))); }
};

}  // namespace tillsync::test
