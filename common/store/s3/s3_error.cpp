#include "store/s3/s3_error.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>

#include "store/s3/xml.h"

namespace tillsync::s3 {

namespace {

using enum FailureClass;

constexpr std::pair<std::string_view, FailureClass> kCodes[] = {
    {"AccessDenied", denied},
    {"AccountProblem", denied},
    {"AllAccessDisabled", denied},
    {"AuthorizationHeaderMalformed", redirect},
    {"BadDigest", integrity},
    {"BandwidthLimitExceeded", throttled},
    {"ConditionalRequestConflict", busy},
    {"EntityTooLarge", permanent},
    {"EntityTooSmall", permanent},
    {"ExpiredToken", denied},
    {"InternalError", transient},
    {"InvalidAccessKeyId", denied},
    {"InvalidArgument", permanent},
    {"InvalidBucketName", permanent},
    {"InvalidDigest", integrity},
    {"InvalidPart", integrity},
    {"InvalidPartOrder", integrity},
    {"InvalidRange", range},
    {"InvalidRequest", permanent},
    {"InvalidSecurity", denied},
    {"InvalidToken", denied},
    {"KeyTooLongError", permanent},
    {"MalformedXML", permanent},
    {"MethodNotAllowed", permanent},
    {"MissingContentLength", permanent},
    {"NoSuchBucket", permanent},
    {"NoSuchKey", missing},
    {"NoSuchUpload", gone},
    {"NotImplemented", permanent},
    {"NotSignedUp", denied},
    {"OperationAborted", busy},
    {"PermanentRedirect", redirect},
    {"PreconditionFailed", exists},
    {"QuotaExceeded", no_space},
    {"RequestLimitExceeded", throttled},
    {"RequestTimeTooSkewed", clock},
    {"RequestTimeout", transient},
    {"ServiceUnavailable", throttled},
    {"SignatureDoesNotMatch", denied},
    {"SlowDown", throttled},
    {"TemporaryRedirect", redirect},
    {"Throttling", throttled},
    {"ThrottlingException", throttled},
    {"TokenRefreshRequired", denied},
    {"TooManyRequests", throttled},
    {"XAmzContentSHA256Mismatch", integrity},
    {"XMinioStorageFull", no_space},
};
static_assert(std::is_sorted(std::begin(kCodes), std::end(kCodes), [](auto& a, auto& b) { return a.first < b.first; }));

FailureClass class_of_status(int status) {
  switch (status) {
    case 301:
    case 307: return redirect;
    case 401:
    case 403: return denied;
    case 404: return missing;
    case 409: return busy;
    case 412: return exists;
    case 416: return range;
    case 429:
    case 503: return throttled;
    case 408:
    case 500:
    case 502:
    case 504: return transient;
    case 507: return no_space;
    default: return status >= 500 && status != 501 ? transient : permanent;
  }
}

// What the server wrote goes into logs and onto terminals.
std::string printable(std::string_view text) {
  constexpr size_t kMax = 200;
  std::string out;
  for (const char c : text.substr(0, kMax)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  while (out.ends_with('.') || out.ends_with(' ')) out.pop_back();
  return out;
}

Failure curl_failure(const HttpResponse& response) {
  Failure failure;
  failure.curl_code = response.curl_code;
  failure.words = printable(response.detail);
  failure.was_connected = response.was_connected;
  switch (response.curl_code) {
    case CURLE_ABORTED_BY_CALLBACK: failure.what = cancelled; break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE: failure.what = certificate; break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_ENGINE_NOTFOUND: failure.what = permanent; break;
    default: failure.what = transient;
  }
  return failure;
}

std::chrono::milliseconds retry_after(std::string_view value) {
  // Only the form in seconds: a date would have to be measured with a clock that may be wrong.
  uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc() || end != value.data() + value.size()) return std::chrono::milliseconds(0);
  return std::chrono::seconds(std::min(seconds, 3600u));
}

std::string remedy_of(const Failure& failure) {
  switch (failure.what) {
    case clock: return "; set the clock of this machine, it differs from the store's";
    case certificate:
      return "; check store.ca_file, the name in store.endpoint, and the clock of this machine: nothing was sent";
    case no_space: return "; the store is full: raise its quota or prune old snapshots";
    case denied:
      return failure.code == "AccessDenied" || failure.code.empty()
                 ? "; the credentials do not allow this: see the policy in docs/operations.md"
                 : "; renew the S3 credentials";
    case redirect: return "; set store.region and store.endpoint to where the bucket is";
    case permanent: return failure.code == "NoSuchBucket" ? "; make the bucket, or correct store.url" : std::string();
    default: return {};
  }
}

}  // namespace

std::string_view to_string(FailureClass what) {
  switch (what) {
    case transient: return "transient";
    case throttled: return "throttled";
    case clock: return "clock";
    case denied: return "denied";
    case redirect: return "redirect";
    case integrity: return "integrity";
    case certificate: return "certificate";
    case permanent: return "permanent";
    case no_space: return "no_space";
    case exists: return "exists";
    case busy: return "busy";
    case missing: return "missing";
    case gone: return "gone";
    case range: return "range";
    case cancelled: return "cancelled";
  }
  return "";
}

FailureClass class_of(std::string_view code, int status) {
  const auto* at = std::lower_bound(std::begin(kCodes), std::end(kCodes), code,
                                    [](auto& entry, std::string_view c) { return entry.first < c; });
  if (at != std::end(kCodes) && at->first == code) {
    // Swift answers 412 InvalidRequest where another says PreconditionFailed.
    if (status == 412) return exists;
    return at->second;
  }
  return class_of_status(status);
}

std::optional<Failure> failure_of(const HttpResponse& response) {
  if (response.curl_code != CURLE_OK) return curl_failure(response);
  const bool is_success = response.status >= 200 && response.status < 300;
  // Only CompleteMultipartUpload and copies do this, minutes after their 200 was sent.
  const std::string_view body = as_text(response.body);
  if (is_success && body.find("<Error") == body.npos) return std::nullopt;
  Failure failure;
  failure.status = response.status;
  failure.retry_after = retry_after(response.header("retry-after"));
  failure.region = response.header("x-amz-bucket-region");
  const auto document = parse_xml(body);
  if (is_success && document && document->name != "Error") return std::nullopt;
  if (document && document->name == "Error") {
    failure.code = printable(document->text_of("Code"));
    failure.words = printable(document->text_of("Message"));
    failure.endpoint = printable(document->text_of("Endpoint"));
    if (failure.region.empty()) failure.region = printable(document->text_of("Region"));
  }
  failure.what = is_success && failure.code.empty() ? transient : class_of(failure.code, response.status);
  // Without a region there is nothing to be learned: it is the header itself that is wrong.
  if (failure.code == "AuthorizationHeaderMalformed" && failure.region.empty()) failure.what = denied;
  return failure;
}

Error to_error(const Failure& failure, const std::string& where, const std::string& doing) {
  Error error;
  error.code = failure.status != 0 ? failure.status : failure.curl_code;
  error.retry_after = failure.retry_after;
  switch (failure.what) {
    case transient:
      error.kind = ErrorKind::transient;
      if (failure.status != 0) break;
      if (!failure.was_connected || failure.curl_code == CURLE_COULDNT_CONNECT ||
          failure.curl_code == CURLE_COULDNT_RESOLVE_HOST || failure.curl_code == CURLE_COULDNT_RESOLVE_PROXY)
        error.kind = ErrorKind::offline;
      else if (failure.curl_code == CURLE_OPERATION_TIMEDOUT)
        error.kind = ErrorKind::timeout;
      break;
    case busy: error.kind = ErrorKind::transient; break;
    case throttled: error.kind = ErrorKind::throttled; break;
    case clock:
      error.kind = ErrorKind::denied;
      error.cause = "clock";
      break;
    case denied:
      error.kind = ErrorKind::denied;
      error.cause = failure.code == "AccessDenied" || failure.code.empty() ? "permission" : "credentials";
      break;
    case redirect:
      error.kind = ErrorKind::usage;
      error.cause = "region";
      break;
    case integrity: error.kind = ErrorKind::corrupt; break;
    case certificate:
      error.kind = ErrorKind::denied;
      error.cause = "certificate";
      break;
    case permanent:
      error.kind = failure.code == "NoSuchBucket" ? ErrorKind::not_found : ErrorKind::usage;
      if (failure.code == "NoSuchBucket") error.cause = "bucket";
      break;
    case no_space: error.kind = ErrorKind::no_space; break;
    case exists: error.kind = ErrorKind::conflict; break;
    case missing:
    case gone: error.kind = ErrorKind::not_found; break;
    case range: error.kind = ErrorKind::corrupt; break;
    case cancelled: error.kind = ErrorKind::cancelled; break;
  }
  error.context = where + ": " + doing + ": ";
  if (failure.status != 0) error.context += "the store answered " + std::to_string(failure.status);
  if (!failure.code.empty()) error.context += " " + failure.code;
  if (failure.status != 0 && !failure.words.empty()) error.context += ": ";
  error.context += failure.words;
  error.context += remedy_of(failure);
  return error;
}

bool is_uncertain(const Failure& failure) {
  switch (failure.what) {
    case transient: return failure.was_connected;
    case throttled:
    case busy:
    case cancelled: return true;
    default: return false;
  }
}

}  // namespace tillsync::s3
