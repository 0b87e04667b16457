#include "store/open_store.h"

#include <algorithm>
#include <cstdlib>

#include "store/directory_store.h"
#include "store/s3/libcurl.h"
#include "store/s3/s3_store.h"

namespace tillsync {

namespace {

constexpr std::string_view kFile = "file://", kS3 = "s3://";
constexpr size_t kPrefixBytesMax = 512;

Result<std::string> percent_decoded(std::string_view text, const std::string& url) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    Bytes byte;
    if (i + 3 > text.size() || !from_hex(text.substr(i + 1, 2), byte) || byte[0] == 0)
      return Error{ErrorKind::usage, 0, "store URL '" + url + "': '%' must be followed by two hex digits"};
    out += static_cast<char>(byte[0]);
    i += 2;
  }
  return out;
}

bool is_bucket_name(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                  c == '_';
         });
}

bool is_endpoint(std::string_view url) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!url.starts_with(scheme)) continue;
    std::string_view host = url.substr(scheme.size());
    while (host.ends_with('/')) host.remove_suffix(1);
    return !host.empty() && host.find_first_of("/?#@ ") == host.npos;
  }
  return false;
}

Result<std::unique_ptr<ObjectStore>> bucket(const StoreSettings& settings, FileSystem& files, Clock& clock,
                                            Random& random) {
  const std::string& url = settings.url;
  const auto refused = [&](const std::string& why) {
    return Error{ErrorKind::usage, 0, "store URL '" + url + "'" + why};
  };
  std::string_view rest = std::string_view(url).substr(kS3.size());
  if (rest.find_first_of("?#@%: ") != rest.npos)
    return refused(": expected s3://bucket/prefix; the server is store.endpoint, and credentials are never in the URL");
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view prefix = rest.substr(std::min(slash + 1, rest.size()));
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (!is_bucket_name(rest.substr(0, slash)))
    return refused(": a bucket's name has 3 to 63 letters, digits, '.', '-', '_'");
  if (!prefix.empty()) {
    if (!check_key(std::string(prefix))) return refused(": its prefix has an empty, '.' or '..' part");
    if (prefix.size() > kPrefixBytesMax) return refused(": its prefix is longer than 512 bytes");
  }
  if (!settings.endpoint.empty() && !is_endpoint(settings.endpoint))
    return Error{
        ErrorKind::usage, 0,
        "store.endpoint '" + settings.endpoint + "': expected https://host or https://host:port, nothing after"};
  TILLSYNC_TRY(s3::load_libcurl());
  s3::S3Store::Options options;
  options.address = {std::string(rest.substr(0, slash)), settings.endpoint, settings.region, settings.path_style};
  options.prefix = prefix;
  options.http.ca_file = settings.ca_file;
  options.http.proxy = settings.proxy;
  options.credentials_file = settings.credentials;
  options.upload_limit = settings.upload_limit;
  return std::unique_ptr<ObjectStore>(new s3::S3Store(std::move(options), files, clock, random));
}

}  // namespace

Result<std::string> folder_of_url(const std::string& url) {
  if (!url.starts_with(kFile)) return Error{ErrorKind::usage, 0, "store URL '" + url + "' is not that of a folder"};
  std::string_view path = std::string_view(url).substr(kFile.size());
  if (path.starts_with("localhost/")) path.remove_prefix(std::string_view("localhost").size());
  if (!path.starts_with('/'))
    return Error{ErrorKind::usage, 0,
                 "store URL '" + url + "' names another host: give an absolute path with three slashes, file:///path"};
  if (path.find_first_of("?#") != std::string_view::npos)
    return Error{ErrorKind::usage, 0, "store URL '" + url + "': write ? as %3F and # as %23"};
  return percent_decoded(path, url);
}

Result<void> prepare_store(const StoreSettings& settings) {
  if (!settings.url.starts_with(kS3)) return {};
#ifdef _WIN32
  return s3::load_libcurl();
#else
  // GnuTLS comes with libcurl for protocols that are never spoken here, and else takes a MiB as it is loaded.
  constexpr const char* kGnuTls = "GNUTLS_NO_IMPLICIT_INIT";
  const bool is_ours = std::getenv(kGnuTls) == nullptr && ::setenv(kGnuTls, "1", 0) == 0;
  auto loaded = s3::load_libcurl();
  if (is_ours) ::unsetenv(kGnuTls);
  return loaded;
#endif
}

Result<std::unique_ptr<ObjectStore>> make_store(const StoreSettings& settings, FileSystem& files, Clock& clock,
                                                Random& random) {
  if (settings.url.starts_with(kFile)) {
    TILLSYNC_LET(std::string folder, folder_of_url(settings.url));
    return std::unique_ptr<ObjectStore>(new DirectoryStore(files, random, std::move(folder)));
  }
  if (settings.url.starts_with(kS3)) return bucket(settings, files, clock, random);
  return Error{ErrorKind::usage, 0,
               "store URL '" + settings.url +
                   "' is not supported: give a folder as file:///path, or a bucket as s3://bucket/prefix"};
}

}  // namespace tillsync
