// What the store does with a bad network and a server that refuses, a case for each retry class.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "s3/behind_proxy.h"

using namespace tillsync;
using namespace tillsync::test;
using namespace std::chrono_literals;
using Kind = Fault::Kind;

TEST_SUITE_BEGIN("s3");

TEST_CASE(
    "s3 transient: an error of the server, a lost connection, a cut answer are told, the same call succeeds after") {
  BehindProxy s;
  must(s.put("first", "x"));
  for (const int status : {500, 502, 504, 408}) {
    CAPTURE(status);
    s.proxy.add(Fault::error(status, status == 500 ? "InternalError" : "").on("PUT"));
    const auto error = refused(s.put("k" + std::to_string(status), "content"));
    CHECK(error.kind == ErrorKind::transient);
    CHECK(error.code == status);
    must(s.put("k" + std::to_string(status), "content"));
  }
  Bytes out(5);
  // Cut inside its headers, a kept connection counts as dead and is replaced at once; so twice.
  s.proxy.add(Fault{.kind = Kind::truncate, .method = "GET", .times = 2, .at_byte = 40});
  CHECK(kind_of(s.store->read("k500", 0, out)) == ErrorKind::transient);
  CHECK(must(s.store->read("k500", 0, out)) == 5);
  // Cut inside its body.
  must(s.put("large", std::string(100'000, 'x')));
  out.resize(100'000);
  s.proxy.add(Fault{.kind = Kind::truncate, .method = "GET", .at_byte = 50'000});
  CHECK(kind_of(s.store->read("large", 0, out)) == ErrorKind::transient);
  CHECK(must(s.store->read("large", 0, out)) == out.size());
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 transient: a kept connection that died is replaced at once, a second death is told") {
  BehindProxy s;
  must(s.put("first", "x"));
  s.proxy.forget_requests();
  s.proxy.add(Fault{.kind = Kind::drop, .method = "HEAD"});
  CHECK(must(s.store->head("first")).size == 1);
  CHECK(s.proxy.count("HEAD") == 2);
  s.proxy.add(Fault{.kind = Kind::drop, .method = "HEAD", .times = 5});
  CHECK(kind_of(s.store->head("first")) == ErrorKind::transient);
}

TEST_CASE("s3 transient: a put whose answer got lost was made, and is no conflict with itself") {
  BehindProxy s;
  must(s.put("first", "x"));
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "PUT", .times = 2});
  CHECK(kind_of(s.put("k", "content")) == ErrorKind::transient);
  must(s.put("k", "content"));
  CHECK(s.get("k") == "content");
  // Over, once it is known: the next one is another's.
  CHECK(kind_of(s.put("k", "content")) == ErrorKind::conflict);
  // Other bytes are never the same put.
  s.proxy.add(Fault{.kind = Kind::lose_answer, .method = "PUT", .times = 2});
  CHECK(kind_of(s.put("other", "content")) == ErrorKind::transient);
  CHECK(kind_of(s.put("other", "changed")) == ErrorKind::conflict);
  CHECK(s.get("other") == "content");
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 offline and timeout: nobody there, a half-open connection, an answer that trickles") {
  BehindProxy s;
  s.options.stall_timeout = 4s;  // ten times what a busy machine takes to answer
  s.reopen();
  must(s.put("k", "content"));
  for (const auto kind : {Kind::half_open, Kind::trickle}) {
    s.proxy.add(Fault{.kind = kind, .method = "HEAD", .pause = 30ms});
    const auto start = std::chrono::steady_clock::now();
    CHECK(kind_of(s.store->head("k")) == ErrorKind::timeout);
    CHECK(std::chrono::steady_clock::now() - start < 30s);
  }
  s.proxy.add(Fault{.kind = Kind::half_open, .method = "PUT"});
  CHECK(kind_of(s.put("other", "content")) == ErrorKind::timeout);
  s.proxy.add(Fault{.kind = Kind::delay, .method = "HEAD", .pause = 1s});
  CHECK(must(s.store->head("k")).size == 7);
  s.options.address.endpoint = "http://127.0.0.1:" + std::to_string(free_port());
  s.reopen();
  CHECK(kind_of(s.store->head("k")) == ErrorKind::offline);
  s.options.address.endpoint = "http://no-such-host.invalid";
  s.reopen();
  CHECK(kind_of(s.store->head("k")) == ErrorKind::offline);
}

TEST_CASE("s3 throttled: told with Retry-After, and never tried again by the store itself") {
  BehindProxy s;
  must(s.put("first", "x"));
  s.proxy.forget_requests();
  auto slow = Fault::error(503, "SlowDown").on("PUT");
  slow.headers = "Retry-After: 7\r\n";
  s.proxy.add(slow);
  const auto error = refused(s.put("k", "content"));
  CHECK(error.kind == ErrorKind::throttled);
  CHECK(error.retry_after == 7s);
  CHECK(s.proxy.count("PUT") == 1);
  s.proxy.add(Fault::error(429, "").on("GET"));
  CHECK(kind_of(s.store->list("", "", 10)) == ErrorKind::throttled);
  must(s.put("k", "content"));
}

TEST_CASE("s3 clock: a wrong clock is corrected from the server's, and said when that does not help") {
  BehindProxy s;
  s.clock = OffClock(-1h);
  must(s.put("k", "content"));
  CHECK(s.store->client().clock_offset() > 59min);
  CHECK(s.store->client().clock_offset() < 61min);
  s.proxy.forget_requests();
  CHECK(s.get("k") == "content");
  CHECK(s.proxy.count("HEAD") == 1);  // remembered
  auto skewed = Fault::error(403, "RequestTimeTooSkewed").on("GET").so_often(2);
  skewed.headers = "Date: Thu, 26 Nov 2026 04:44:52 GMT\r\n";
  s.proxy.add(skewed);
  Bytes out(1);
  const auto error = refused(s.store->read("k", 0, out));
  CHECK(error.kind == ErrorKind::denied);
  CHECK(std::string(error.cause) == "clock");
}

TEST_CASE("s3 denied: changed credentials are taken at once, else it is told, without the secret") {
  BehindProxy s;
  TemporaryDirectory folder;
  const std::string file = folder / "keys";
  std::filesystem::copy_file(S3Server::running().credentials_file(), file);
  const std::string good = [&] {
    std::ifstream in(file);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  }();
  s.options.credentials_file = file;
  s.reopen();
  must(s.put("k", "content"));
  // Rotated: the store reads the new ones by itself, before it is refused.
  std::ofstream(file) << "[default]\naws_access_key_id = NOBODY\naws_secret_access_key = NotTheSecret/123\n";
  auto error = refused(s.store->head("k"));
  CHECK(error.kind == ErrorKind::denied);
  CHECK(std::string(error.cause) == "credentials");
  CHECK(!contains(error.context, "NotTheSecret"));
  std::ofstream(file) << good;
  CHECK(s.get("k") == "content");
  s.proxy.forget_requests();
  s.proxy.add(Fault::error(403, "ExpiredToken").on("GET"));
  Bytes out(7);
  CHECK(kind_of(s.store->read("k", 0, out)) == ErrorKind::denied);
  CHECK(s.proxy.count("GET") == 1);
  s.proxy.add(Fault::error(403, "AccessDenied").on("DELETE"));
  error = refused(s.store->remove("k"));
  CHECK(error.kind == ErrorKind::denied);
  CHECK(std::string(error.cause) == "permission");
  CHECK(!s.store->properties().may_delete);
  // A HEAD has no body: the reason is asked for.
  s.proxy.add(Fault::error(403, "").on("HEAD"));
  s.proxy.add(Fault::error(403, "ExpiredToken").on("GET"));
  CHECK(std::string(refused(s.store->head("k")).cause) == "credentials");
}

TEST_CASE("s3 denied: a session token is sent and signed") {
  BehindProxy s;
  TemporaryDirectory folder;
  const std::string file = folder / "keys";
  std::ofstream(file)
      << "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = the/token==\n";
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  s.options.credentials_file = file;
  s.reopen();
  (void)s.store->list("", "", 1);
  const auto request = s.proxy.requests().at(0);
  CHECK(request.headers.at("x-amz-security-token") == "the/token==");
  CHECK(contains(request.headers.at("authorization"), ";x-amz-security-token,"));
}

TEST_CASE("s3 redirect: the region that the server names is learned, without one it is told what to set") {
  BehindProxy s;
  s.options.address.region = "mars-1";
  s.reopen();
  s.proxy.add(Fault::error(400, "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>").on("HEAD"));
  s.proxy.add(Fault::error(400, "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>").on("GET"));
  must(s.put("k", "content"));
  CHECK(contains(s.proxy.requests().back().headers.at("authorization"), "/us-east-1/s3/"));
  auto moved = Fault::error(301, "PermanentRedirect").on("PUT");
  moved.headers = "x-amz-bucket-region: us-east-1\r\nLocation: http://127.0.0.1:1/\r\n";
  s.proxy.add(moved);
  const auto error = refused(s.put("other", "content"));
  CHECK(error.kind == ErrorKind::usage);
  CHECK(std::string(error.cause) == "region");
  CHECK(contains(error.context, "store.region"));
}

TEST_CASE(
    "s3 integrity: bytes that changed on the way are sent once more, changed again, nothing is stored and it is told") {
  BehindProxy s;
  must(s.put("first", "x"));
  s.proxy.add(Fault{.kind = Kind::corrupt_body, .method = "PUT"});
  must(s.put("k", "content"));
  CHECK(s.get("k") == "content");
  s.proxy.add(Fault{.kind = Kind::corrupt_body, .method = "PUT", .times = 2});
  CHECK(kind_of(s.put("other", "content")) == ErrorKind::corrupt);
  CHECK(kind_of(s.store->head("other")) == ErrorKind::not_found);
}

TEST_CASE("s3 permanent: a bucket that is not there, what a server can't do, what it does not take") {
  BehindProxy s;
  must(s.put("first", "x"));
  s.proxy.add(Fault::error(400, "EntityTooLarge").on("PUT"));
  CHECK(kind_of(s.put("k", "content")) == ErrorKind::usage);
  s.options.address.bucket = "no-such-bucket";
  s.reopen();
  auto error = refused(s.store->list("", "", 10));
  CHECK(error.kind == ErrorKind::not_found);
  CHECK(std::string(error.cause) == "bucket");
  CHECK(contains(error.context, "no-such-bucket"));
  CHECK(kind_of(s.put("k", "content")) == ErrorKind::not_found);
}

TEST_CASE("s3 create-only: found out with the first small put, and never at the cost of an object") {
  BehindProxy s;
  CHECK(!s.store->properties().create_only);
  must(s.put("first", "x"));
  const bool is_enforced = S3Server::running().is_ceph();
  CHECK(s.store->properties().create_only == is_enforced);
  s.proxy.forget_requests();
  must(s.put("k", "content"));
  CHECK(s.proxy.count("HEAD") == (is_enforced ? 0 : 1));
  CHECK(kind_of(s.put("k", "other")) == ErrorKind::conflict);
  CHECK(s.get("k") == "content");
  CHECK(s.proxy.overwritten().empty());
}

TEST_CASE("s3 stop: a call that waits ends at once, and so does every later one") {
  BehindProxy s;
  s.options.stall_timeout = 60s;
  s.reopen();
  must(s.put("k", "content"));
  s.proxy.add(Fault{.kind = Kind::half_open, .method = "HEAD"});
  std::thread stopper([&] {
    std::this_thread::sleep_for(300ms);
    s.store->stop();
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK(kind_of(s.store->head("k")) == ErrorKind::cancelled);
  CHECK(std::chrono::steady_clock::now() - start < 5s);
  stopper.join();
  CHECK(kind_of(s.store->head("k")) == ErrorKind::cancelled);
}

TEST_CASE("s3 addressing: virtual-host style, and a proxy of the configuration") {
  BehindProxy s;
  must(s.put("k", "content"));
  auto options = s.options;
  options.address.path_style = false;
  options.address.endpoint = "http://localhost:" + std::to_string(s.proxy.port());
  S3Bucket virtual_host(options);
  s.proxy.forget_requests();
  CHECK(must(virtual_host.store.head("k")).size == 7);
  CHECK(s.proxy.requests().at(0).headers.at("host") ==
        std::string(S3Server::kBucket) + ".localhost:" + std::to_string(s.proxy.port()));
  options = s.options;
  options.address.endpoint = "http://s3.example.com";
  options.http.proxy = s.proxy.endpoint();
  S3Bucket proxied(options);
  s.proxy.forget_requests();
  s.proxy.add(Fault::error(403, "AccessDenied").on("GET"));
  CHECK(kind_of(proxied.store.list("", "", 1)) == ErrorKind::denied);
  CHECK(s.proxy.requests().at(0).target.starts_with("http://s3.example.com/"));
}

TEST_SUITE_END();
