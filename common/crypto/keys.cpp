#include "crypto/keys.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>

#include <algorithm>
#include <memory>

#include "base/checks.h"
#include "crypto/hash.h"
#include "crypto/words.h"

namespace tillsync {

namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeKey>;
using Key = Owned<EVP_PKEY>;

Key private_pkey(int type, const Secret& secret) {
  Key key(EVP_PKEY_new_raw_private_key(type, nullptr, secret.view().data(), Secret::kSize));
  TILLSYNC_CHECK(key != nullptr);
  return key;
}

// The public half is known: OpenSSL would compute it anew, which takes as long as a signature.
Key known_pkey(const char* algorithm, const Secret& secret, ByteView public_half) {
  // Params take no const, and are only read.
  OSSL_PARAM parts[] = {OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY,
                                                          const_cast<uint8_t*>(secret.view().data()), Secret::kSize),
                        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                          const_cast<uint8_t*>(public_half.data()), public_half.size()),
                        OSSL_PARAM_construct_end()};
  Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  EVP_PKEY* key = nullptr;
  TILLSYNC_CHECK(context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                 EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parts) == 1);
  return Key(key);
}

Key public_pkey(int type, ByteView bytes) {
  return Key(EVP_PKEY_new_raw_public_key(type, nullptr, bytes.data(), bytes.size()));
}

std::array<uint8_t, 32> public_half(EVP_PKEY* key) {
  std::array<uint8_t, 32> out;
  size_t size = out.size();
  TILLSYNC_CHECK(EVP_PKEY_get_raw_public_key(key, out.data(), &size) == 1 && size == out.size());
  return out;
}

KeyId id_of(std::string_view what, ByteView key) {
  KeyId id;
  const Digest digest = Sha256().update(as_bytes(what)).update(key).finish();
  std::copy_n(digest.bytes.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string private_pem(EVP_PKEY* key) {
  Owned<BIO> out(BIO_new(BIO_s_secmem()));
  TILLSYNC_CHECK(out && PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(out.get());
}

// Nobody is asked for a passphrase: a key that has one is refused.
int no_passphrase(char*, int, int, void*) { return -1; }

Key read_pem(std::string_view pem, bool is_private) {
  Owned<BIO> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!in) return nullptr;
  return Key(is_private ? PEM_read_bio_PrivateKey(in.get(), nullptr, no_passphrase, nullptr)
                        : PEM_read_bio_PUBKEY(in.get(), nullptr, no_passphrase, nullptr));
}

Result<Secret> raw_private(EVP_PKEY* key, int type, const char* expected) {
  Secret secret;
  size_t size = Secret::kSize;
  if (!key || EVP_PKEY_get_base_id(key) != type || EVP_PKEY_get_raw_private_key(key, secret.bytes().data(), &size) != 1)
    return Error{ErrorKind::usage, 0, expected};
  return secret;
}

Result<std::array<uint8_t, 32>> raw_from_hex(std::string_view hex) {
  Bytes raw;
  if (!from_hex(hex, raw) || raw.size() != 32)
    return Error{ErrorKind::corrupt, 0, "a public key of 64 hex digits was expected"};
  std::array<uint8_t, 32> out;
  std::ranges::copy(raw, out.begin());
  return out;
}

constexpr const char* kSealingExpected =
    "a private X25519 key without a passphrase was expected, as PEM (it begins with -----BEGIN PRIVATE KEY-----) or as "
    "24 words";

}  // namespace

KeyId PublicSigningKey::id() const { return id_of("tillsync signing key", bytes); }
KeyId PublicSealingKey::id() const { return id_of("tillsync sealing key", bytes); }

Result<PublicSigningKey> PublicSigningKey::parse(std::string_view hex) {
  TILLSYNC_LET(auto raw, raw_from_hex(hex));
  return PublicSigningKey{raw};
}
Result<PublicSealingKey> PublicSealingKey::parse(std::string_view hex) {
  TILLSYNC_LET(auto raw, raw_from_hex(hex));
  return PublicSealingKey{raw};
}

bool PublicSigningKey::verify(ByteView message, ByteView signature) const {
  const Key key = public_pkey(EVP_PKEY_ED25519, bytes);
  Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

SigningKey::SigningKey(Secret secret) : secret_(std::move(secret)) {
  public_.bytes = public_half(private_pkey(EVP_PKEY_ED25519, secret_).get());
}

Signature SigningKey::sign(ByteView message) const {
  const Key key = known_pkey("ED25519", secret_, public_.bytes);
  Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  Signature signature;
  size_t size = signature.size();
  TILLSYNC_CHECK(context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
                 EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1 &&
                 size == signature.size());
  return signature;
}

SealingKey::SealingKey(Secret secret) : secret_(std::move(secret)) {
  public_.bytes = public_half(private_pkey(EVP_PKEY_X25519, secret_).get());
}

bool SealingKey::agree(const PublicSealingKey& peer, Secret& shared) const {
  const Key own = known_pkey("X25519", secret_, public_.bytes), other = public_pkey(EVP_PKEY_X25519, peer.bytes);
  Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(own.get(), nullptr));
  size_t size = Secret::kSize;
  return other && context && EVP_PKEY_derive_init(context.get()) == 1 &&
         EVP_PKEY_derive_set_peer(context.get(), other.get()) == 1 &&
         EVP_PKEY_derive(context.get(), shared.bytes().data(), &size) == 1 && size == Secret::kSize;
}

std::string to_pem(const SigningKey& key) { return private_pem(private_pkey(EVP_PKEY_ED25519, key.secret()).get()); }
std::string to_pem(const SealingKey& key) { return private_pem(private_pkey(EVP_PKEY_X25519, key.secret()).get()); }
std::string to_pem(const PublicSealingKey& key) {
  Owned<BIO> out(BIO_new(BIO_s_mem()));
  const Key pkey = public_pkey(EVP_PKEY_X25519, key.bytes);
  TILLSYNC_CHECK(out && pkey && PEM_write_bio_PUBKEY(out.get(), pkey.get()) == 1);
  return text_of(out.get());
}

Result<SigningKey> signing_key_from_pem(std::string_view pem) {
  TILLSYNC_LET(Secret secret, raw_private(read_pem(pem, true).get(), EVP_PKEY_ED25519,
                                          "a private Ed25519 key without a passphrase was expected, as PEM"));
  return SigningKey(std::move(secret));
}

Result<SealingKey> sealing_key_from(std::string_view text) {
  if (text.find("-----BEGIN") == text.npos) {
    TILLSYNC_LET(Secret secret, secret_from_words(text));
    return SealingKey(std::move(secret));
  }
  TILLSYNC_LET(Secret secret, raw_private(read_pem(text, true).get(), EVP_PKEY_X25519, kSealingExpected));
  return SealingKey(std::move(secret));
}

Result<PublicSealingKey> public_sealing_key_from(std::string_view pem) {
  Key key = read_pem(pem, false);
  if (!key) key = read_pem(pem, true);
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_X25519)
    return Error{ErrorKind::usage, 0,
                 "a public X25519 key was expected, as PEM (it begins with -----BEGIN PUBLIC KEY-----)"};
  return PublicSealingKey{public_half(key.get())};
}

}  // namespace tillsync
