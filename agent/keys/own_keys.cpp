#include "agent/keys/own_keys.h"

#include <cstdlib>

#include "state/full_due.h"

namespace tillsync {

namespace {

constexpr uint64_t kKeyFileMax = 64 << 10;

// Blocks and pieces of before are named, and must not be referred to any more.
Result<void> forget_stored(StateDb& state, const std::string& sealed_for, bool changed) {
  {
    auto db = state.lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    for (const char* table : {"stored_blocks", "asset_pieces", "asset_chunks", "asset_trees"})
      TILLSYNC_TRY(db->execute("DELETE FROM " + std::string(table)));
    // What is in the store opens for nobody who was added.
    if (changed) TILLSYNC_TRY(want_fulls(*db, "the keys it is sealed for have changed", true));
    TILLSYNC_LET(auto setting, db->prepare("INSERT OR REPLACE INTO settings(key, value) VALUES('sealed_for', ?)"));
    TILLSYNC_TRY(setting.bind(1, sealed_for).run());
    TILLSYNC_TRY(transaction.commit());
  }
  return state.make_durable();
}

// A store holds sealed objects of a terminal or others, not both: else whoever can write there could pass off the ones
// for the others.
Result<void> check_mode(const Config& config, StateDb& state) {
  // Not known: a terminal of before there were seals.
  TILLSYNC_LET(const auto known, state.setting("sealed"));
  const bool is_sealed = known.value_or("0") == "1";
  if (is_sealed == config.keys.seal) return {};
  const std::string anew = "begin anew: another [store] url, and an empty [terminal] state_dir";
  return Error{ErrorKind::usage, 0,
               config.file + ": keys.seal: the backups of this terminal so far are " +
                   (is_sealed ? "sealed: take seal = false out, or " + anew
                              : "not sealed: set seal = false to go on with them, or " + anew)};
}

}  // namespace

std::string keys_folder(const Config& config) { return config.terminal.state_dir + "/keys"; }

std::string credentials_folder() {
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  return folder ? folder : "";
}

Result<std::vector<PublicSealingKey>> read_recovery_keys(FileSystem& files, const Config& config) {
  std::vector<PublicSealingKey> all;
  for (auto& path : config.keys.recovery) {
    auto key = [&]() -> Result<PublicSealingKey> {
      TILLSYNC_LET(const Bytes text, read_file(files, path, kKeyFileMax));
      if (as_text(text).find("PRIVATE KEY") != std::string_view::npos)
        return Error{ErrorKind::usage, 0,
                     "this is the private key, which must not lie on a till: put its public half here ('tillsync keys "
                     "export --public')"};
      return public_sealing_key_from(as_text(text));
    }();
    if (!key)
      return Error{ErrorKind::usage, key.error().code,
                   config.file + ": keys.recovery: " + path + ": " + key.error().context};
    all.push_back(*key);
  }
  return all;
}

Result<SealingKey> read_private_key(FileSystem& files, const std::string& path) {
  auto text = read_file(files, path, kKeyFileMax);
  if (!text) return Error{ErrorKind::usage, text.error().code, "--key " + path + ": " + text.error().context};
  auto key = sealing_key_from(as_text(*text));
  wipe(*text);
  return std::move(key).with("--key " + path);
}

Result<Uuid> establish_terminal(const Config& config, StateDb& state, Clock& clock, Random& random) {
  TILLSYNC_LET(auto known, state.setting("terminal_id"));
  if (!known) {
    known = make_uuid_v7(clock, random).str();
    // First: check_mode() takes one of which it is not known for one of before there were seals.
    TILLSYNC_TRY(state.set_setting("sealed", config.keys.seal ? "1" : "0"));
    TILLSYNC_TRY(state.set_setting("terminal_id", *known));
    // The id names everything in the store: it must not change in a power cut.
    TILLSYNC_TRY(state.make_durable());
  }
  return Uuid::parse(*known);
}

Result<EstablishedKeys> establish_keys(const Config& config, FileSystem& files, StateDb& state, const Uuid& terminal,
                                       Clock& clock, Random& random) {
  EstablishedKeys established;
  TILLSYNC_TRY(check_mode(config, state));
  if (!config.keys.seal) return established;
  TILLSYNC_LET(const auto recovery, read_recovery_keys(files, config));
  KeyFiles folder(files, keys_folder(config), credentials_folder());
  TILLSYNC_LET(OwnKeys own, folder.load(terminal));
  if (own.keys.empty()) {
    TILLSYNC_LET(const auto sealed_before, state.setting("sealed_for"));
    if (sealed_before)
      return Error{ErrorKind::usage, 0,
                   keys_folder(config) +
                       ": the keys of this terminal are gone. Put them back; or begin anew, with an empty [terminal] "
                       "state_dir: earlier backups are then restored with --terminal and the recovery key"};
    TILLSYNC_TRY(folder.add(own, terminal, config.terminal.name, clock, random).with("keys"));
  }
  established.ring = make_keyring(own, recovery, config.keys.write_only);
  established.statements = own.statements;
  const std::string sealed_for = established.ring->recipients_digest().hex();
  TILLSYNC_LET(const auto before, state.setting("sealed_for"));
  if (before != sealed_for) TILLSYNC_TRY(forget_stored(state, sealed_for, before.has_value()));
  return established;
}

}  // namespace tillsync
