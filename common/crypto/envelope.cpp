#include "crypto/envelope.h"

#include <algorithm>

#include "base/checks.h"
#include "crypto/aead.h"

namespace tillsync {

namespace {

constexpr size_t kFixed = 40, kEntry = 64, kIdSize = 16;

// The wrapping key is of this object and recipient alone, so a nonce of zeros is used once.
Secret wrapping_key(const Secret& shared, ByteView header, ByteView ephemeral, const PublicSealingKey& recipient) {
  return aead::hkdf(shared, header.subspan(16, 16), {as_bytes("tillsync data key"), ephemeral, recipient.bytes});
}

}  // namespace

size_t envelope_size(size_t recipients) { return kFixed + kEntry * recipients; }

Bytes wrap(const Secret& data_key, ByteView header, const std::vector<PublicSealingKey>& recipients, Random& random) {
  TILLSYNC_CHECK(!recipients.empty() && recipients.size() <= kRecipientsMax);
  const SealingKey ephemeral = SealingKey::make(random);
  Bytes out;
  ByteWriter w(out);
  w.u16(static_cast<uint16_t>(recipients.size()));
  w.u16(0);
  w.u32(0);
  w.bytes(ephemeral.public_key().bytes);
  for (auto& recipient : recipients) {
    Secret shared;
    TILLSYNC_CHECK(ephemeral.agree(recipient, shared));  // keys of low order were refused when they were read
    w.bytes(recipient.id().view());
    aead::seal(wrapping_key(shared, header, ephemeral.public_key().bytes, recipient), {}, header, data_key.view(), out);
  }
  return out;
}

Result<Secret> unwrap(ByteView envelope, ByteView header, const std::vector<SealingKey>& openers) {
  ByteReader r(envelope);
  const uint16_t count = r.u16();
  const bool zero = r.u16() == 0 && r.u32() == 0;
  PublicSealingKey ephemeral;
  std::ranges::copy(r.bytes(32), ephemeral.bytes.begin());
  if (!r.ok() || !zero || count == 0 || count > kRecipientsMax || envelope.size() != envelope_size(count))
    return Error{ErrorKind::corrupt, 0, "the list of keys it is sealed for is damaged"};
  for (uint16_t i = 0; i < count; i++) {
    const ByteView id = r.bytes(kIdSize), wrapped = r.bytes(kEntry - kIdSize);
    for (auto& opener : openers) {
      if (!equal(id, opener.public_key().id().view())) continue;
      Secret shared;
      Bytes key;
      if (!opener.agree(ephemeral, shared) ||
          !aead::open(wrapping_key(shared, header, ephemeral.bytes, opener.public_key()), {}, header, wrapped, key))
        return Error{ErrorKind::corrupt, 0, "the list of keys it is sealed for was changed, or its header"};
      Secret data_key(key);
      wipe(key);
      return data_key;
    }
  }
  std::string ids;
  for (uint16_t i = 0; i < count; i++) ids += (i ? ", " : "") + to_hex(envelope.subspan(kFixed + i * kEntry, kIdSize));
  return Error{
      ErrorKind::denied, 0,
      (openers.empty() ? std::string("it is sealed, and no key that opens it was given")
                       : "it is sealed for other keys than " + std::string(openers.size() > 1 ? "these" : "this")) +
          "; give the recovery key with --key FILE (it is sealed for " + ids + ")"};
}

}  // namespace tillsync
