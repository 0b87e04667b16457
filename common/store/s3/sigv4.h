// AWS Signature Version 4.
//
// Why our own, and not CURLOPT_AWS_SIGV4: libcurl 7.88 signs path and query as they are given, unsorted, and a streamed
// body as an empty one.
// The path is signed as it is sent: encoded once, never normalised, as S3 wants it (other services differ).
// Threads: any; no state.
// Source: "Create a signed AWS API request", AWS General Reference.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/types.h"

namespace tillsync::s3 {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// RFC 3986: everything but A-Z a-z 0-9 - _ . ~ is percent-encoded; '/' as well unless keep_slash.
std::string uri_encoded(std::string_view text, bool keep_slash = false);
// name=value, encoded, sorted by encoded name, then value: to be sent and to be signed.
std::string canonical_query(const Pairs& query);

struct SigningScope {
  std::string timestamp;  // 20150830T123600Z
  std::string region;
  std::string service = "s3";
  std::string date() const { return timestamp.substr(0, 8); }
  std::string str() const { return date() + "/" + region + "/" + service + "/aws4_request"; }
};

// What is signed of a request. Every header given is signed.
struct SignedParts {
  std::string method;
  std::string path;            // not encoded, begins with '/'
  Pairs query;                 // not encoded
  Pairs headers;               // any case, any order; values may have blanks around and inside
  std::string payload_sha256;  // hex
};

std::string signing_timestamp(Timestamp now);
std::string signed_header_names(const SignedParts& request);  // host;x-amz-date
std::string canonical_request(const SignedParts& request);
std::string string_to_sign(const SigningScope& scope, std::string_view canonical);
// Hex. What is derived from the secret on the way is wiped.
std::string signature(std::string_view secret_key, const SigningScope& scope, std::string_view string_to_sign);
// The value of the Authorization header.
std::string authorization(std::string_view access_key, std::string_view secret_key, const SigningScope& scope,
                          const SignedParts& request);

}  // namespace tillsync::s3
