#include "crypto/keyring.h"

#include <algorithm>

namespace tillsync {

const PublicSigningKey* Keyring::find_signer(const KeyId& id) const {
  auto found = std::find_if(signers.begin(), signers.end(), [&](auto& key) { return key.id() == id; });
  return found == signers.end() ? nullptr : &*found;
}

}  // namespace tillsync
