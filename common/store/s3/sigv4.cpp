#include "store/s3/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/checks.h"
#include "crypto/hash.h"
#include "store/s3/secret_text.h"

namespace tillsync::s3 {

namespace {

using Mac = std::array<uint8_t, 32>;

Mac hmac(ByteView key, std::string_view message) {
  Mac out;
  unsigned length = 0;
  TILLSYNC_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                      reinterpret_cast<const unsigned char*>(message.data()), message.size(), out.data(), &length) &&
                 length == out.size());
  return out;
}

// Blanks around are dropped, those inside become one. A folded value is one line.
std::string canonical_value(std::string_view value) {
  std::string out;
  for (const char c : value) {
    const bool is_blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!is_blank)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

// By lower-case name; the values of one name are joined in the order they were given.
Pairs canonical_headers(const Pairs& headers) {
  Pairs out;
  for (const auto& [name, value] : headers) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto same = std::find_if(out.begin(), out.end(), [&](auto& pair) { return pair.first == lower; });
    if (same == out.end())
      out.emplace_back(std::move(lower), canonical_value(value));
    else
      same->second += "," + canonical_value(value);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::string uri_encoded(std::string_view text, bool keep_slash) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash);
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

std::string canonical_query(const Pairs& query) {
  Pairs encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(uri_encoded(name), uri_encoded(value));
  std::sort(encoded.begin(), encoded.end());
  std::string out;
  for (const auto& [name, value] : encoded) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

std::string signing_timestamp(Timestamp now) {
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(now) - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d%02u%02uT%02d%02d%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  return text;
}

std::string signed_header_names(const SignedParts& request) {
  std::string out;
  for (const auto& [name, value] : canonical_headers(request.headers)) out += (out.empty() ? "" : ";") + name;
  return out;
}

std::string canonical_request(const SignedParts& request) {
  std::string out =
      request.method + "\n" + uri_encoded(request.path, true) + "\n" + canonical_query(request.query) + "\n";
  for (const auto& [name, value] : canonical_headers(request.headers)) out += name + ":" + value + "\n";
  return out + "\n" + signed_header_names(request) + "\n" + request.payload_sha256;
}

std::string string_to_sign(const SigningScope& scope, std::string_view canonical) {
  return "AWS4-HMAC-SHA256\n" + scope.timestamp + "\n" + scope.str() + "\n" + sha256(as_bytes(canonical)).hex();
}

std::string signature(std::string_view secret_key, const SigningScope& scope, std::string_view string_to_sign) {
  SecretText first = SecretText::of_size(4 + secret_key.size());
  std::copy_n("AWS4", 4, first.bytes().begin());
  std::copy(secret_key.begin(), secret_key.end(), first.bytes().begin() + 4);
  Mac key = hmac(first.bytes(), scope.date());
  for (const std::string_view step : {std::string_view(scope.region), std::string_view(scope.service),
                                      std::string_view("aws4_request"), string_to_sign}) {
    const Mac next = hmac(key, step);
    wipe(key);
    key = next;
  }
  return to_hex(key);
}

std::string authorization(std::string_view access_key, std::string_view secret_key, const SigningScope& scope,
                          const SignedParts& request) {
  return "AWS4-HMAC-SHA256 Credential=" + std::string(access_key) + "/" + scope.str() +
         ", SignedHeaders=" + signed_header_names(request) +
         ", Signature=" + signature(secret_key, scope, string_to_sign(scope, canonical_request(request)));
}

}  // namespace tillsync::s3
