// From the configuration to a bucket.
#include <doctest/doctest.h>

#include "s3/s3_server.h"
#include "store/open_store.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {
struct Opened {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  Result<std::unique_ptr<ObjectStore>> open(const StoreSettings& settings) {
    return make_store(settings, files, clock, random);
  }
};
}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("store url: s3://bucket/prefix opens the bucket with the settings of [store], over TLS") {
  const auto& server = S3Server::running();
  Opened o;
  StoreSettings settings;
  settings.url = "s3://" + std::string(S3Server::kBucket) + "/" + server.options().prefix + "/";
  settings.endpoint = server.tls_endpoint() + "/";
  settings.ca_file = server.ca_file();
  settings.credentials = server.credentials_file();
  settings.path_style = true;
  settings.upload_limit = 1 << 20;
  const auto store = must(o.open(settings));
  CHECK(store->properties().name == "s3");
  BytesSource source(as_bytes("content"));
  must(store->put("fleet/k", source));
  const auto page = must(store->list("", "", 10));
  REQUIRE(page.objects.size() == 1);
  CHECK(page.objects[0].key == "fleet/k");
  // Another prefix does not see it.
  settings.url = "s3://" + std::string(S3Server::kBucket) + "/elsewhere";
  CHECK(must(must(o.open(settings))->list("", "", 10)).objects.empty());
}

TEST_CASE(
    "store url: an s3 address of another form, or an endpoint with more than a host, is refused with what is "
    "expected") {
  Opened o;
  for (const char* url : {"s3://", "s3://ab", "s3://key:secret@bucket/p", "s3://bucket?region=x", "s3://bucket//p",
                          "s3://bucket/..", "s3://bucket/a/./b", "s3://bucket/a%20b"}) {
    CAPTURE(url);
    const auto error = refused(o.open({.url = url}));
    CHECK(error.kind == ErrorKind::usage);
    CHECK(contains(error.context, url));
  }
  for (const char* endpoint : {"s3.example.com", "ftp://host", "https://", "https://host/path", "https://a:b@host"}) {
    CAPTURE(endpoint);
    StoreSettings settings{.url = "s3://bucket"};
    settings.endpoint = endpoint;
    CHECK(contains(refused(o.open(settings)).context, "store.endpoint"));
  }
}

TEST_SUITE_END();
