// Whose certificate is taken: real servers with a private authority, and servers of our own that are wrong.
#include <doctest/doctest.h>

#include "s3/s3_server.h"
#include "s3/wrong_server.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

Error head_at(const std::string& endpoint, const std::string& ca_file) {
  auto options = S3Server::running().options();
  options.address.endpoint = endpoint;
  options.http.ca_file = ca_file;
  S3Bucket bucket(options);
  return refused(bucket.store.head("k"));
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 tls: a private authority is taken from ca_file, and only from there") {
  const auto& server = S3Server::running();
  auto options = server.options();
  options.address.endpoint = server.tls_endpoint();
  options.http.ca_file = server.ca_file();
  S3Bucket bucket(options);
  BytesSource source(as_bytes("content"));
  must(bucket.store.put("k", source));
  CHECK(must(bucket.store.head("k")).size == 7);
  const auto error = head_at(server.tls_endpoint(), "");
  CHECK(error.kind == ErrorKind::denied);
  CHECK(std::string(error.cause) == "certificate");
  CHECK(contains(error.context, "store.ca_file"));
  CHECK(std::string(head_at(server.tls_endpoint(), "/nonexistent/ca.pem").cause) == "certificate");
}

TEST_CASE("s3 tls: a certificate that is over, not yet valid, or of another name is refused before a request is sent") {
  constexpr long kDay = 86'400;
  const std::tuple<const char*, long, long> cases[] = {
      {"IP:127.0.0.1", -2 * kDay, -kDay}, {"IP:127.0.0.1", kDay, 2 * kDay}, {"DNS:s3.example.com", -kDay, kDay}};
  for (const auto& [name, from, to] : cases) {
    WrongServer server(name, from, to);
    const auto error = head_at(server.endpoint(), server.ca_file());
    CAPTURE(error.context);
    CHECK(error.kind == ErrorKind::denied);
    CHECK(std::string(error.cause) == "certificate");
    CHECK(contains(error.context, "clock of this machine"));
    CHECK(!server.was_asked());
  }
}

TEST_SUITE_END();
