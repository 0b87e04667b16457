// Whose name a request to S3 carries, and where it comes from.
//
// Source, the first there is: the configured file; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; the
// systemd credential `s3.credentials` ($CREDENTIALS_DIRECTORY). Files are in AWS' shared-credentials format, profile
// $AWS_PROFILE or `default`, and are read again when they change: a rotated key needs no restart.
// Errors: denied with cause "credentials": no source, a file that others can read, one without keys; the context says
// what to do and never holds a secret.
// Threads: any.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "ports/files.h"
#include "store/s3/secret_text.h"

namespace tillsync::s3 {

struct Credentials {
  std::string access_key;  // a name, not a secret
  SecretText secret_key;
  SecretText session_token;  // empty: long-term keys
};

// profile "" is `default`. origin: what errors call the text.
Result<Credentials> parse_credentials(std::string_view text, std::string_view profile, const std::string& origin);

class CredentialSource {
 public:
  // file: configured; "" for the other sources.
  CredentialSource(FileSystem& files, std::string file);
  Result<std::shared_ptr<const Credentials>> current();
  // After the store refused `used`: is there anything else by now?
  bool has_newer(const std::shared_ptr<const Credentials>& used);

 private:
  Result<std::shared_ptr<const Credentials>> from_environment() const;
  Result<std::shared_ptr<const Credentials>> from_file(bool owner_only);

  FileSystem& files_;
  std::string file_, profile_;
  bool is_configured_ = false;
  std::mutex mutex_;
  std::shared_ptr<const Credentials> known_;
  FileInfo known_file_;
};

}  // namespace tillsync::s3
