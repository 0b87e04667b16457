// The part of a sealed object that says for whom it is sealed: its data key, wrapped for each recipient.
//
// Layout: docs/formats.md, "Sealing". Follows the header directly; its length is in the header.
// Errors: corrupt; denied when none of the keys is a recipient. Threads: any.
// Source: RFC 7748 (X25519), RFC 5869 (HKDF).
#pragma once

#include "crypto/keyring.h"

namespace tillsync {

inline constexpr size_t kRecipientsMax = 16;
inline constexpr size_t kEnvelopeMax = 40 + 64 * kRecipientsMax;

size_t envelope_size(size_t recipients);
// header: the 128 bytes of the object's. Takes 32 bytes of random for the key pair that is thrown away.
Bytes wrap(const Secret& data_key, ByteView header, const std::vector<PublicSealingKey>& recipients, Random& random);
Result<Secret> unwrap(ByteView envelope, ByteView header, const std::vector<SealingKey>& openers);

}  // namespace tillsync
