// Signatures: our own vectors always, the official ones where they are.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "crypto/hash.h"
#include "store/s3/sigv4.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::s3;
using namespace tillsync::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const std::string kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}
std::string line_of(const fs::path& file) {
  std::string text = content(file);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// "a%20b" → "a b"
std::string decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    Bytes byte;
    if (text[i] == '%' && from_hex(text.substr(i + 1, 2), byte)) {
      out += static_cast<char>(byte[0]);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// What other services do with a path before it is signed, and S3 does not.
std::string normalized(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t start = 1; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    start = end + 1;
  }
  std::string out;
  for (const auto part : parts) out += "/" + std::string(part);
  if (out.empty() || path.ends_with('/')) out += '/';
  return out;
}

// request.txt: a request line, headers (a folded one goes on with a blank), a body.
struct Vector {
  SignedParts request;
  std::string body;
  nlohmann::json context;
  SigningScope scope;

  explicit Vector(const fs::path& folder) : context(nlohmann::json::parse(content(folder / "context.json"))) {
    const std::string text = content(folder / "request.txt");
    const size_t blank = text.find("\n\n");
    std::string_view head = std::string_view(text).substr(0, blank);
    if (blank != text.npos) body = text.substr(blank + 2);
    const std::string_view first = head.substr(0, head.find('\n'));
    head.remove_prefix(std::min(first.size() + 1, head.size()));
    const size_t space = first.find(' ');
    request.method = first.substr(0, space);
    std::string target(first.substr(space + 1));
    target.resize(target.rfind(' '));
    const size_t mark = target.find('?');
    request.path = decoded(target.substr(0, mark));
    if (context["normalize"]) request.path = normalized(request.path);
    if (mark != target.npos) {
      std::string_view query = std::string_view(target).substr(mark + 1);
      while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        const size_t equals = pair.find('=');
        request.query.emplace_back(decoded(pair.substr(0, equals)),
                                   equals == pair.npos ? "" : decoded(pair.substr(equals + 1)));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
      }
    }
    while (!head.empty()) {
      const std::string_view line = head.substr(0, head.find('\n'));
      head.remove_prefix(std::min(line.size() + 1, head.size()));
      if (line.empty()) continue;
      if (line[0] == ' ')
        request.headers.back().second += "\n" + std::string(line);
      else
        request.headers.emplace_back(line.substr(0, line.find(':')), line.substr(line.find(':') + 1));
    }
    const std::string time = context["timestamp"];  // 2015-08-30T12:36:00Z
    scope.timestamp = signing_timestamp(test::must(parse_rfc3339(time)));
    scope.region = context["region"];
    scope.service = context["service"];
    request.payload_sha256 = sha256(as_bytes(body)).hex();
  }

  std::string token() const { return context["credentials"].value("token", ""); }
  bool omits_token() const { return context.value("omit_session_token", false); }
  std::string secret() const { return context["credentials"]["secret_access_key"]; }
  std::string access_key() const { return context["credentials"]["access_key_id"]; }
};

void check(const fs::path& folder, const std::string& form, const Vector& vector) {
  const std::string canonical = canonical_request(vector.request);
  CHECK(canonical == content(folder / (form + "-canonical-request.txt")));
  const std::string to_sign = string_to_sign(vector.scope, canonical);
  CHECK(to_sign == line_of(folder / (form + "-string-to-sign.txt")));
  CHECK(signature(vector.secret(), vector.scope, to_sign) == line_of(folder / (form + "-signature.txt")));
}

}  // namespace

TEST_SUITE_BEGIN("s3");

TEST_CASE("signing: the examples of the S3 documentation come out as printed there") {
  // Source: "Signature Calculations for the Authorization Header", Amazon S3 API reference, examples.
  const SigningScope scope{"20130524T000000Z", "us-east-1"};
  SignedParts get{"GET", "/test.txt", {}, {}, kEmptySha256};
  get.headers = {{"Host", "examplebucket.s3.amazonaws.com"},
                 {"Range", "bytes=0-9"},
                 {"x-amz-content-sha256", kEmptySha256},
                 {"x-amz-date", "20130524T000000Z"}};
  const std::string secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  CHECK(authorization("AKIAIOSFODNN7EXAMPLE", secret, scope, get) ==
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  const std::string payload = sha256(as_bytes("Welcome to Amazon S3.")).hex();
  SignedParts put{"PUT", "/test$file.text", {}, {}, payload};
  put.headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                 {"Host", "examplebucket.s3.amazonaws.com"},
                 {"x-amz-content-sha256", payload},
                 {"x-amz-date", "20130524T000000Z"},
                 {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  CHECK(signature(secret, scope, string_to_sign(scope, canonical_request(put))) ==
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  SignedParts list{"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, kEmptySha256};
  list.headers = {{"Host", "examplebucket.s3.amazonaws.com"},
                  {"x-amz-content-sha256", kEmptySha256},
                  {"x-amz-date", "20130524T000000Z"}};
  CHECK(signature(secret, scope, string_to_sign(scope, canonical_request(list))) ==
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  SignedParts lifecycle{"GET", "/", {{"lifecycle", ""}}, list.headers, kEmptySha256};
  CHECK(signature(secret, scope, string_to_sign(scope, canonical_request(lifecycle))) ==
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_CASE("signing: a path is encoded once and not normalised, a query is sorted by its encoded names") {
  SignedParts request{"GET", "/b/a b+c//./~(x)", {{"b", "2"}, {"a", "/+ ="}, {"B", ""}, {"a-", "1"}}, {}, kEmptySha256};
  const std::string canonical = canonical_request(request);
  CHECK(canonical.starts_with("GET\n/b/a%20b%2Bc//./~%28x%29\nB=&a=%2F%2B%20%3D&a-=1&b=2\n"));
}

TEST_CASE("signing: a header whose name begins another's stands before it") {
  SignedParts request{"GET", "/", {}, {{"X-Amz-Meta-A-B", "2"}, {"x-amz-meta-a", " 1  2 "}, {"x-amz-meta-c", ""}}, ""};
  CHECK(contains(canonical_request(request), "x-amz-meta-a:1 2\nx-amz-meta-a-b:2\nx-amz-meta-c:\n\n"));
  CHECK(signed_header_names(request) == "x-amz-meta-a;x-amz-meta-a-b;x-amz-meta-c");
}

TEST_CASE("signing: the official vectors, as header and as query") {
  // The suite of the AWS common runtime; beside the checkout, or named.
  const char* named = std::getenv("TILLSYNC_SIGV4_VECTORS");
  const fs::path root = named ? fs::path(named) : fs::path(TILLSYNC_SOURCE_DIR) / "../shared/testdata/sigv4";
  if (!fs::is_directory(root)) {
    MESSAGE("the official vectors are not there; TILLSYNC_SIGV4_VECTORS names their folder");
    return;
  }
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!fs::exists(entry.path() / "context.json")) continue;
    CAPTURE(entry.path().filename().string());
    count++;
    Vector header(entry.path());
    header.request.headers.emplace_back("X-Amz-Date", header.scope.timestamp);
    if (!header.token().empty() && !header.omits_token())
      header.request.headers.emplace_back("X-Amz-Security-Token", header.token());
    if (header.context["sign_body"])
      header.request.headers.emplace_back("x-amz-content-sha256", header.request.payload_sha256);
    check(entry.path(), "header", header);

    Vector query(entry.path());
    auto& pairs = query.request.query;
    pairs.emplace_back("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
    pairs.emplace_back("X-Amz-Credential", query.access_key() + "/" + query.scope.str());
    pairs.emplace_back("X-Amz-Date", query.scope.timestamp);
    pairs.emplace_back("X-Amz-Expires", std::to_string(query.context["expiration_in_seconds"].get<int>()));
    pairs.emplace_back("X-Amz-SignedHeaders", signed_header_names(query.request));
    if (!query.token().empty() && !query.omits_token()) pairs.emplace_back("X-Amz-Security-Token", query.token());
    check(entry.path(), "query", query);
  }
  CHECK(count > 30);
}

TEST_SUITE_END();
