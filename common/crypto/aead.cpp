#include "crypto/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <limits>

#include "base/checks.h"

namespace tillsync::aead {

namespace {

// EVP looks its implementation up on every call; fetched once a thread, a short text costs a third.
struct Context {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  Context() { TILLSYNC_CHECK(cipher && context); }
  ~Context() {
    EVP_CIPHER_CTX_free(context);  // and wipes the key
    EVP_CIPHER_free(cipher);
  }
  void begin(bool sealing, const Secret& key, const Nonce& nonce, ByteView associated) {
    int n = 0;
    TILLSYNC_CHECK(EVP_CipherInit_ex2(context, cipher, key.view().data(), nonce.data(), sealing ? 1 : 0, nullptr) == 1);
    TILLSYNC_CHECK(EVP_CipherUpdate(context, nullptr, &n, associated.data(), static_cast<int>(associated.size())) == 1);
  }
  // OpenSSL counts in int.
  bool update(uint8_t* out, ByteView in) {
    while (!in.empty()) {
      const size_t some = std::min<size_t>(in.size(), size_t{1} << 30);
      int n = 0;
      if (EVP_CipherUpdate(context, out, &n, in.data(), static_cast<int>(some)) != 1) return false;
      out += n;
      in = in.subspan(some);
    }
    return true;
  }
};

Context& context() {
  thread_local Context one;
  return one;
}

}  // namespace

void seal(const Secret& key, const Nonce& nonce, ByteView associated, ByteView plain, Bytes& out) {
  Context& c = context();
  c.begin(true, key, nonce, associated);
  const size_t at = out.size();
  out.resize(at + plain.size() + kTagSize);
  uint8_t nothing[16];
  int n = 0;
  TILLSYNC_CHECK(c.update(out.data() + at, plain) && EVP_CipherFinal_ex(c.context, nothing, &n) == 1 &&
                 EVP_CIPHER_CTX_ctrl(c.context, EVP_CTRL_AEAD_GET_TAG, kTagSize, out.data() + at + plain.size()) == 1);
}

bool open(const Secret& key, const Nonce& nonce, ByteView associated, ByteView sealed, Bytes& out) {
  out.clear();
  if (sealed.size() < kTagSize) return false;
  const ByteView text = sealed.first(sealed.size() - kTagSize), tag = sealed.last(kTagSize);
  Context& c = context();
  c.begin(false, key, nonce, associated);
  out.resize(text.size());
  uint8_t nothing[16];
  int n = 0;
  const bool whole =
      c.update(out.data(), text) &&
      EVP_CIPHER_CTX_ctrl(c.context, EVP_CTRL_AEAD_SET_TAG, kTagSize, const_cast<uint8_t*>(tag.data())) == 1 &&
      EVP_CipherFinal_ex(c.context, nothing, &n) == 1;
  // What does not match its tag is nobody's plain text.
  if (!whole) out.clear();
  return whole;
}

Secret hkdf(const Secret& input, ByteView salt, std::initializer_list<ByteView> info) {
  Bytes joined;
  for (ByteView part : info) append(joined, part);
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* kdf_context = kdf ? EVP_KDF_CTX_new(kdf) : nullptr;
  TILLSYNC_CHECK(kdf_context != nullptr);
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(input.view().data()), Secret::kSize),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<uint8_t*>(salt.data()), salt.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, joined.data(), joined.size()), OSSL_PARAM_construct_end()};
  Secret out;
  const int done = EVP_KDF_derive(kdf_context, out.bytes().data(), Secret::kSize, params);
  EVP_KDF_CTX_free(kdf_context);
  EVP_KDF_free(kdf);
  TILLSYNC_CHECK(done == 1);
  return out;
}

}  // namespace tillsync::aead
