// The keys this terminal seals, signs and opens with, as the configuration and state_dir have them.
//
// Purpose: the agent's start. establish_terminal() makes the id of a new terminal; establish_keys() its first keys,
// refuses what would mix sealed and unsealed
// objects in one store, and forgets what was sealed for other recipients, so that the next FULL is sealed for those of
// now as a whole. Errors: usage, with the file and what to do. Durability: what it made or changed is durable when it
// returns. Threads: one.
#pragma once

#include "agent/config/config.h"
#include "crypto/key_files.h"
#include "state/state_db.h"

namespace tillsync {

std::string keys_folder(const Config& config);
// Where systemd put credentials; empty: nowhere.
std::string credentials_folder();
// [keys] recovery.
Result<std::vector<PublicSealingKey>> read_recovery_keys(FileSystem& files, const Config& config);
// PEM or words.
Result<SealingKey> read_private_key(FileSystem& files, const std::string& path);

// The id, which stays.
Result<Uuid> establish_terminal(const Config& config, StateDb& state, Clock& clock, Random& random);

struct EstablishedKeys {
  Keys ring;  // none: the terminal is not sealed
  std::vector<Bytes> statements;
};
// Where backups of before are sealed for others, FULLs are due.
Result<EstablishedKeys> establish_keys(const Config& config, FileSystem& files, StateDb& state, const Uuid& terminal,
                                       Clock& clock, Random& random);

}  // namespace tillsync
