#include "store/s3/credentials.h"

#include <algorithm>
#include <cstdlib>

namespace tillsync::s3 {

namespace {

constexpr uint64_t kFileBytesMax = 64 << 10;
constexpr uint32_t kForOthers = 077;

Error no_credentials(std::string what) {
  Error error{ErrorKind::denied, 0, std::move(what)};
  error.cause = "credentials";
  return error;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::string_view(value) : std::string_view();
}

// Names and tokens go into headers.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Result<Credentials> parse_credentials(std::string_view text, std::string_view profile, const std::string& origin) {
  if (profile.empty()) profile = "default";
  Credentials out;
  bool is_ours = false, is_found = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      is_ours = line.back() == ']' && trimmed(line.substr(1, line.size() - 2)) == profile;
      is_found |= is_ours;
      continue;
    }
    const size_t equals = line.find('=');
    if (!is_ours || equals == line.npos) continue;
    const std::string_view name = trimmed(line.substr(0, equals)), value = trimmed(line.substr(equals + 1));
    if (!is_printable(value)) return no_credentials(origin + ": the value of " + std::string(name) + " has odd bytes");
    if (name == "aws_access_key_id") out.access_key = value;
    if (name == "aws_secret_access_key") out.secret_key = SecretText(value);
    if (name == "aws_session_token") out.session_token = SecretText(value);
  }
  if (!is_found) return no_credentials(origin + ": expected a section [" + std::string(profile) + "]");
  if (out.access_key.empty() || out.secret_key.empty())
    return no_credentials(origin + ": expected aws_access_key_id and aws_secret_access_key in [" +
                          std::string(profile) + "]");
  return out;
}

CredentialSource::CredentialSource(FileSystem& files, std::string file)
    : files_(files), file_(std::move(file)), profile_(environment("AWS_PROFILE")), is_configured_(!file_.empty()) {
  if (file_.empty() && environment("AWS_ACCESS_KEY_ID").empty() && !environment("CREDENTIALS_DIRECTORY").empty())
    file_ = std::string(environment("CREDENTIALS_DIRECTORY")) + "/s3.credentials";
}

Result<std::shared_ptr<const Credentials>> CredentialSource::from_environment() const {
  Credentials out;
  out.access_key = environment("AWS_ACCESS_KEY_ID");
  out.secret_key = SecretText(environment("AWS_SECRET_ACCESS_KEY"));
  out.session_token = SecretText(environment("AWS_SESSION_TOKEN"));
  if (out.access_key.empty())
    return no_credentials(
        "no S3 credentials: set store.credentials to a file of mode 0600, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or give the service a credential s3.credentials");
  if (out.secret_key.empty()) return no_credentials("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not");
  if (!is_printable(out.access_key) || !is_printable(out.secret_key.view()) || !is_printable(out.session_token.view()))
    return no_credentials("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN has odd bytes");
  return std::make_shared<const Credentials>(std::move(out));
}

Result<std::shared_ptr<const Credentials>> CredentialSource::from_file(bool owner_only) {
  auto info = files_.stat(file_);
  if (!info)
    return no_credentials("S3 credentials " + file_ + ": " + info.error().context +
                          "; put the keys there, mode 0600, owned by tillsync's user");
  if (info->type != FileType::regular) return no_credentials("S3 credentials " + file_ + ": expected a plain file");
  if (owner_only && (info->mode & kForOthers) != 0)
    return no_credentials("S3 credentials " + file_ + ": others can read it; chmod 600 it");
  if (known_ && info->mtime_ns == known_file_.mtime_ns && info->size == known_file_.size &&
      info->inode == known_file_.inode)
    return known_;
  if (info->size > kFileBytesMax) return no_credentials("S3 credentials " + file_ + ": too large to be one");
  SecretText text = SecretText::of_size(info->size);
  auto read = [&]() -> Result<size_t> {
    TILLSYNC_LET(auto file, files_.open(file_, OpenMode::read));
    return file->read(0, text.bytes());
  }();
  if (!read) return no_credentials("S3 credentials " + file_ + ": " + read.error().context);
  TILLSYNC_LET(Credentials parsed, parse_credentials(text.view().substr(0, *read), profile_, file_));
  known_ = std::make_shared<const Credentials>(std::move(parsed));
  known_file_ = *info;
  return known_;
}

Result<std::shared_ptr<const Credentials>> CredentialSource::current() {
  std::lock_guard lock(mutex_);
  // systemd may show an access list in the group's bits of its credentials.
  if (!file_.empty()) return from_file(is_configured_);
  if (!known_) {
    TILLSYNC_LET(known_, from_environment());
  }
  return known_;
}

bool CredentialSource::has_newer(const std::shared_ptr<const Credentials>& used) {
  auto now = current();
  return now && *now != used;
}

}  // namespace tillsync::s3
