// The table of classes, case by case: by code, then status, then libcurl's code.
#include <curl/curl.h>
#include <doctest/doctest.h>

#include "store/s3/s3_error.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::s3;
using namespace tillsync::test;

namespace {
HttpResponse answer(int status, const std::string& body = "") {
  HttpResponse response;
  response.status = status;
  response.body = to_bytes(as_bytes(body));
  return response;
}
std::string error_body(const std::string& code, const std::string& more = "") {
  return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>Some words.</Message>" + more + "</Error>";
}
Failure of(int status, const std::string& code, const std::string& more = "") {
  return failure_of(answer(status, error_body(code, more))).value();
}
Failure of_status(int status) { return failure_of(answer(status)).value(); }
Failure of_curl(int code, bool was_connected = true) {
  HttpResponse response;
  response.curl_code = code;
  response.was_connected = was_connected;
  response.detail = "words";
  return failure_of(response).value();
}
ErrorKind kind(const Failure& failure) { return to_error(failure, "s3://b", "put k").kind; }
}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("s3 errors: each code and status is of the class that says what to do") {
  using enum FailureClass;
  const std::tuple<Failure, FailureClass, ErrorKind> cases[] = {
      {of(500, "InternalError"), transient, ErrorKind::transient},
      {of_status(500), transient, ErrorKind::transient},
      {of_status(502), transient, ErrorKind::transient},
      {of_status(504), transient, ErrorKind::transient},
      {of_status(408), transient, ErrorKind::transient},
      {of(400, "RequestTimeout"), transient, ErrorKind::transient},
      {of_curl(CURLE_COULDNT_RESOLVE_HOST, false), transient, ErrorKind::offline},
      {of_curl(CURLE_COULDNT_CONNECT, false), transient, ErrorKind::offline},
      {of_curl(CURLE_OPERATION_TIMEDOUT, false), transient, ErrorKind::offline},
      {of_curl(CURLE_OPERATION_TIMEDOUT), transient, ErrorKind::timeout},
      {of_curl(CURLE_PARTIAL_FILE), transient, ErrorKind::transient},
      {of_curl(CURLE_SSL_CONNECT_ERROR), transient, ErrorKind::transient},
      {of_curl(CURLE_GOT_NOTHING), transient, ErrorKind::transient},
      {of_curl(CURLE_SEND_ERROR), transient, ErrorKind::transient},
      {of_curl(CURLE_RECV_ERROR), transient, ErrorKind::transient},
      {of_curl(CURLE_HTTP2_STREAM), transient, ErrorKind::transient},
      {of(503, "SlowDown"), throttled, ErrorKind::throttled},
      {of(503, "ServiceUnavailable"), throttled, ErrorKind::throttled},
      {of_status(503), throttled, ErrorKind::throttled},
      {of_status(429), throttled, ErrorKind::throttled},
      {of(403, "RequestTimeTooSkewed"), clock, ErrorKind::denied},
      {of(400, "ExpiredToken"), denied, ErrorKind::denied},
      {of(403, "InvalidAccessKeyId"), denied, ErrorKind::denied},
      {of(403, "SignatureDoesNotMatch"), denied, ErrorKind::denied},
      {of(403, "AccessDenied"), denied, ErrorKind::denied},
      {of_status(403), denied, ErrorKind::denied},
      {of(301, "PermanentRedirect", "<Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint>"), redirect, ErrorKind::usage},
      {of_status(307), redirect, ErrorKind::usage},
      {of(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), redirect, ErrorKind::usage},
      {of(400, "AuthorizationHeaderMalformed"), denied, ErrorKind::denied},
      {of(400, "BadDigest"), integrity, ErrorKind::corrupt},
      {of(400, "XAmzContentSHA256Mismatch"), integrity, ErrorKind::corrupt},
      {of(400, "InvalidPart"), integrity, ErrorKind::corrupt},
      {of(404, "NoSuchBucket"), permanent, ErrorKind::not_found},
      {of(400, "EntityTooLarge"), permanent, ErrorKind::usage},
      {of(400, "InvalidArgument"), permanent, ErrorKind::usage},
      {of_status(501), permanent, ErrorKind::usage},
      {of(403, "QuotaExceeded"), no_space, ErrorKind::no_space},
      {of_status(507), no_space, ErrorKind::no_space},
      {of(412, "PreconditionFailed"), exists, ErrorKind::conflict},
      {of(412, "InvalidRequest"), exists, ErrorKind::conflict},
      {of(409, "ConditionalRequestConflict"), busy, ErrorKind::transient},
      {of(404, "NoSuchKey"), missing, ErrorKind::not_found},
      {of(404, "NoSuchUpload"), gone, ErrorKind::not_found},
      {of(416, "InvalidRange"), range, ErrorKind::corrupt},
      {of_curl(CURLE_PEER_FAILED_VERIFICATION), certificate, ErrorKind::denied},
      {of_curl(CURLE_ABORTED_BY_CALLBACK), cancelled, ErrorKind::cancelled},
      // A code that nobody knows: the status decides.
      {of(503, "SomethingNew"), throttled, ErrorKind::throttled},
      {of(418, "SomethingNew"), permanent, ErrorKind::usage},
      // Not XML, or XML of something else.
      {failure_of(answer(502, "<html>Bad gateway</html>")).value(), transient, ErrorKind::transient},
      // 200 was sent before the parts could not be put together.
      {of(200, "InternalError"), transient, ErrorKind::transient},
      {of(200, "SlowDown"), throttled, ErrorKind::throttled},
  };
  for (const auto& [failure, what, expected] : cases) {
    CAPTURE(failure.status);
    CAPTURE(failure.code);
    CAPTURE(failure.curl_code);
    CHECK(to_string(failure.what) == to_string(what));
    CHECK(kind(failure) == expected);
  }
  CHECK(!failure_of(answer(200)));
  CHECK(!failure_of(answer(204)));
  CHECK(!failure_of(answer(200, "<ListBucketResult><Name>&lt;Error</Name></ListBucketResult>")));
}

TEST_CASE("s3 errors: the words say what failed, what the server said, and what to do, never more than is printable") {
  const Error error = to_error(of(403, "RequestTimeTooSkewed"), "s3://bucket", "put a/b");
  CHECK(error.code == 403);
  CHECK(std::string(error.cause) == "clock");
  CHECK(contains(error.context, "s3://bucket: put a/b: the store answered 403 RequestTimeTooSkewed: Some words"));
  CHECK(contains(error.context, "set the clock"));
  CHECK(std::string(to_error(of(403, "AccessDenied"), "", "").cause) == "permission");
  CHECK(std::string(to_error(of(403, "InvalidAccessKeyId"), "", "").cause) == "credentials");
  CHECK(std::string(to_error(of(404, "NoSuchBucket"), "", "").cause) == "bucket");
  const auto hostile = failure_of(
      answer(400, "<Error><Code>X</Code><Message>a\x1b[31m" + std::string(5000, 'b') + "</Message></Error>"));
  CHECK(hostile->words.empty());  // a control character: it is no XML
  const auto folded = failure_of(
      answer(400, "<Error><Code>X</Code><Message>a&#10;b\n" + std::string(5000, 'b') + "</Message></Error>"));
  CHECK(folded->words.size() <= 200);
  CHECK(!contains(folded->words, "\n"));
}

TEST_CASE("s3 errors: Retry-After is passed on, in seconds, and bounded") {
  auto slow = answer(503, error_body("SlowDown"));
  slow.headers = {{"retry-after", "7"}};
  CHECK(to_error(*failure_of(slow), "", "").retry_after == std::chrono::seconds(7));
  slow.headers = {{"retry-after", "999999999"}};
  CHECK(to_error(*failure_of(slow), "", "").retry_after == std::chrono::hours(1));
  for (const char* other : {"Thu, 26 Nov 2026 04:44:52 GMT", "-1", "7s", ""}) {
    slow.headers = {{"retry-after", other}};
    CHECK(to_error(*failure_of(slow), "", "").retry_after.count() == 0);
  }
}

TEST_SUITE_END();
