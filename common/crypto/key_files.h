// The terminal's own keys, in a folder of its state_dir.
//
// Layout: for each statement n: `n.signing.pem` and `n.sealing.pem` (PKCS #8, mode 0600) and `n.statement.json`, which
// is written last: what has a statement is complete. A private key may lie in another folder instead, as
// `tillsync.n.signing.pem` and `tillsync.n.sealing.pem`: systemd puts credentials into $CREDENTIALS_DIRECTORY.
// Errors: those of the files; usage and corrupt with the file's name. Threads: one at a time.
#pragma once

#include "crypto/statement.h"
#include "ports/clock.h"
#include "ports/files.h"

namespace tillsync {

struct TerminalKeys {
  SigningKey signing;
  SealingKey sealing;
};

struct OwnKeys {
  std::vector<TerminalKeys> keys;  // oldest first
  std::vector<Bytes> statements;   // as they go into the store
  KeyHistory history;
};

class KeyFiles {
 public:
  // credentials: empty for none.
  KeyFiles(FileSystem& files, std::string folder, std::string credentials)
      : files_(files), folder_(std::move(folder)), credentials_(std::move(credentials)) {}
  // Nothing is there yet: no keys.
  Result<OwnKeys> load(const Uuid& terminal);
  // New keys after those of `own`, durable with their statement.
  Result<void> add(OwnKeys& own, const Uuid& terminal, const std::string& name, Clock& clock, Random& random);

 private:
  Result<Bytes> read_private(uint64_t number, const char* what);
  Result<void> write(const std::string& path, std::string_view text);
  FileSystem& files_;
  std::string folder_, credentials_;
};

// What a terminal writes and reads with. write_only: it is no recipient of its own.
Keys make_keyring(const OwnKeys& own, const std::vector<PublicSealingKey>& recovery, bool write_only);

}  // namespace tillsync
