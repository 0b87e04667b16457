#include "crypto/keyring.h"

#include <algorithm>

#include "crypto/hash.h"

namespace tillsync {

const PublicSigningKey* Keyring::find_signer(const KeyId& id) const {
  auto found = std::find_if(signers.begin(), signers.end(), [&](auto& key) { return key.id() == id; });
  return found == signers.end() ? nullptr : &*found;
}

Digest Keyring::recipients_digest() const {
  std::vector<KeyId> ids;
  for (auto& recipient : recipients) ids.push_back(recipient.id());
  std::sort(ids.begin(), ids.end());
  Sha256 hash;
  for (auto& id : ids) hash.update(id.view());
  return hash.finish();
}

}  // namespace tillsync
