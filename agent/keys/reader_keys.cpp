#include "agent/keys/reader_keys.h"

#include "agent/keys/known_terminals.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

// Of this machine's own terminal; empty when this is another, or its keys may not be read by who asks.
OwnKeys try_own(FileSystem& files, const Config& config, const Uuid& terminal) {
  auto own = KeyFiles(files, keys_folder(config), credentials_folder()).load(terminal);
  return own ? std::move(*own) : OwnKeys();
}

}  // namespace

Result<Keys> keys_for_reading(ObjectStore& store, FileSystem& files, const Config& config, const std::string& key,
                              const Uuid& terminal) {
  TILLSYNC_LET(auto history, read_key_history(store, terminal));
  const OwnKeys own = try_own(files, config, terminal);
  const std::string known = known_terminals_file();
  if (!history) {
    if (!key.empty())
      return Error{ErrorKind::usage, 0,
                   keys::terminal_json(terminal) +
                       ": it states no keys, so nothing of this terminal is sealed, and --key opens nothing. If it was "
                       "sealed, somebody has replaced this object"};
    if (!own.keys.empty())
      return Error{ErrorKind::corrupt, 0,
                   keys::terminal_json(terminal) + ": it states no keys, and this terminal has some: it was replaced"};
    TILLSYNC_TRY(check_unsealed(files, known, terminal));
    return Keys();
  }
  std::shared_ptr<Keyring> ring;
  if (!own.keys.empty()) {
    if (own.history.signers().front() != history->signers().front())
      return Error{ErrorKind::corrupt, 0,
                   keys::terminal_json(terminal) + ": it states another key than this terminal's: it was replaced"};
    TILLSYNC_LET(const auto recovery, read_recovery_keys(files, config));
    ring = std::make_shared<Keyring>(*make_keyring(own, recovery, config.keys.write_only));
  } else {
    TILLSYNC_TRY(pin_terminal(files, known, terminal, *history));
    ring = std::make_shared<Keyring>();
  }
  // A rotation that the store does not have yet is known here.
  if (ring->signers.size() < history->statements().size()) ring->signers = history->signers();
  if (!key.empty()) {
    TILLSYNC_LET(SealingKey given, read_private_key(files, key));
    ring->openers.insert(ring->openers.begin(), std::move(given));
  }
  return Keys(std::move(ring));
}

}  // namespace tillsync
