// What a failed request means, and what is to be done about it: by the <Code> of the answer, then its HTTP status, then
// libcurl's code.
//
// | class      | what the store does itself                                | what the caller gets                    |
// | ---------- | --------------------------------------------------------- | --------------------------------------- |
// | transient  | a kept connection that was dead: once more, on a new one  | transient, offline or timeout           |
// | throttled  | fewer parts at a time                                     | throttled, retry_after if it was said   |
// | clock      | takes the offset from the server's Date, once more        | denied, cause "clock"                   |
// | denied     | reads the credentials again, once more if they changed    | denied, cause "credentials" or
// "permission" | | redirect   | learns region or endpoint, once more                      | usage, cause "region" | |
// integrity  | reads the source again, sends it once more                | corrupt                                 | |
// certificate| nothing                                                   | denied, cause "certificate"             | |
// permanent  | nothing                                                   | usage; NoSuchBucket: not_found, cause
// "bucket" | | no_space   | nothing                                                   | no_space | | exists, busy,
// missing, gone, range | part of the protocol: S3Store decides | conflict, transient, not_found          | | cancelled
// | nothing                                                   | cancelled                               |
//
// Source: "Error responses", Amazon S3 API reference; docs/architecture.md has what real servers were seen to answer.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "store/s3/http_client.h"

namespace tillsync::s3 {

enum class FailureClass {
  transient,
  throttled,
  clock,
  denied,
  redirect,
  integrity,
  certificate,
  permanent,
  no_space,
  exists,   // 412: what If-None-Match forbids
  busy,     // 409: another conditional request for the key is under way
  missing,  // no such key
  gone,     // no such upload
  range,    // 416
  cancelled,
};

struct Failure {
  FailureClass what = FailureClass::transient;
  int status = 0;                          // HTTP; 0: no answer
  std::string code = {};                   // <Code>; "" where the answer has none
  std::string words = {};                  // of the server or libcurl; printable, short
  std::string region = {}, endpoint = {};  // where the server says it should be
  int curl_code = 0;
  bool was_connected = true;
  std::chrono::milliseconds retry_after{0};
};

// Nothing: the answer is a success. An answer of 200 whose root element is Error is a failure.
std::optional<Failure> failure_of(const HttpResponse& response);
FailureClass class_of(std::string_view code, int status);
std::string_view to_string(FailureClass what);
// where: "s3://bucket"; doing: "put a/b".
Error to_error(const Failure& failure, const std::string& where, const std::string& doing);
// May the request have been carried out although it failed?
bool is_uncertain(const Failure& failure);

}  // namespace tillsync::s3
