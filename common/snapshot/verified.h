// The mark beside a manifest that says: this snapshot was read back and found whole.
//
// Layout: docs/formats.md, "Verified mark".
// Errors: corrupt, with the object's key in front.
#pragma once

#include "snapshot/manifest.h"

namespace tillsync {

struct VerifiedMark {
  Uuid snapshot;
  Digest manifest_sha256;  // Manifest::checksum
  Timestamp verified_at;
  std::string method;  // "read-back", "attested", "replay"
  uint64_t bytes_read = 0;

  Bytes encode(const Lineage& lineage, Random& random) const;
  static Result<VerifiedMark> decode(ByteView object, const std::string& key, const Lineage& lineage);
};

// Puts the mark; one that is there already is fine.
Result<void> put_verified(ObjectStore& store, const Manifest& manifest, const VerifiedMark& mark, Random& random);
// The mark of this very manifest; nullopt when there is none, or it is of another.
Result<std::optional<VerifiedMark>> read_verified(ObjectStore& store, const Manifest& manifest);

}  // namespace tillsync
