// The keys of a sealed terminal: who its objects are sealed for and signed by, and what opens them.
//
// Purpose: handed along with the Lineage, so that whoever reads or writes an object has them. A Lineage without one is
// of a terminal that is not sealed: its objects are written in the clear, and sealed ones are refused; with one, what
// is not sealed and signed is refused.
// Threads: values that do not change.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "crypto/keys.h"

namespace tillsync {

struct Keyring {
  // To write. Without a signer nothing is written.
  std::optional<SigningKey> signer;
  std::vector<PublicSealingKey> recipients;
  // To read: any one that is a recipient of the object will do. None of them is: denied.
  std::vector<SealingKey> openers;
  // Data keys of single objects, by object id: what somebody who has the keys hands to one who shall read these alone.
  std::map<Uuid, Secret> data_keys;
  // Whose signatures count: every key the terminal has had.
  std::vector<PublicSigningKey> signers;

  bool can_open() const { return !openers.empty(); }
  const PublicSigningKey* find_signer(const KeyId& id) const;
  // Says whether objects are sealed for the same keys: SHA-256 of the recipients' ids, sorted.
  Digest recipients_digest() const;
};
using Keys = std::shared_ptr<const Keyring>;

}  // namespace tillsync
