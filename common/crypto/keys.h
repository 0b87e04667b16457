// The key pairs: Ed25519 to sign, X25519 to seal for.
//
// Layout: raw keys are the 32 bytes of RFC 7748 and RFC 8032. Files are PEM (PKCS #8, SubjectPublicKeyInfo), as
// `openssl pkey` reads them, or the words of words.h. A key's id: docs/formats.md, "Keys".
// Errors: usage for a file that is no key, or another kind of key, with what was expected; callers put its name in
// front. Threads: values, any.
// Source: RFC 7748, RFC 8032, RFC 8410.
#pragma once

#include <array>
#include <compare>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "crypto/secret.h"

namespace tillsync {

struct KeyId {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const KeyId&) const = default;
  ByteView view() const { return bytes; }
  std::string hex() const { return to_hex(bytes); }
};

using Signature = std::array<uint8_t, 64>;

struct PublicSigningKey {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const PublicSigningKey&) const = default;
  KeyId id() const;
  bool verify(ByteView message, ByteView signature) const;
  std::string hex() const { return to_hex(bytes); }
  static Result<PublicSigningKey> parse(std::string_view hex);
};

struct PublicSealingKey {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const PublicSealingKey&) const = default;
  KeyId id() const;
  std::string hex() const { return to_hex(bytes); }
  static Result<PublicSealingKey> parse(std::string_view hex);
};

class SigningKey {
 public:
  explicit SigningKey(Secret secret);
  static SigningKey make(Random& random) { return SigningKey(Secret::make(random)); }
  const PublicSigningKey& public_key() const { return public_; }
  Signature sign(ByteView message) const;
  const Secret& secret() const { return secret_; }

 private:
  Secret secret_;
  PublicSigningKey public_;
};

class SealingKey {
 public:
  explicit SealingKey(Secret secret);
  static SealingKey make(Random& random) { return SealingKey(Secret::make(random)); }
  const PublicSealingKey& public_key() const { return public_; }
  // X25519; false for a peer of low order, whose shared secret everybody knows.
  bool agree(const PublicSealingKey& peer, Secret& shared) const;
  const Secret& secret() const { return secret_; }

 private:
  Secret secret_;
  PublicSealingKey public_;
};

std::string to_pem(const SigningKey& key);
std::string to_pem(const SealingKey& key);
std::string to_pem(const PublicSealingKey& key);
Result<SigningKey> signing_key_from_pem(std::string_view pem);
// PEM, or words.
Result<SealingKey> sealing_key_from(std::string_view text);
// PEM of the public key; of the private one too, whose public half is meant.
Result<PublicSealingKey> public_sealing_key_from(std::string_view pem);

}  // namespace tillsync
