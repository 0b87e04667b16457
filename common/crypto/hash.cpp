#include "crypto/hash.h"

#include <openssl/evp.h>

#include "base/checks.h"

namespace tillsync {

// EVP looks its implementation up on every one-shot call; fetched once, a short message costs a third.
Digest sha256(ByteView bytes) {
  thread_local Sha256 hash;
  return hash.update(bytes).finish();
}

struct Sha256::Impl {
  EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Impl() { TILLSYNC_CHECK(algorithm && context && EVP_DigestInit_ex2(context, algorithm, nullptr) == 1); }
  ~Impl() {
    EVP_MD_CTX_free(context);
    EVP_MD_free(algorithm);
  }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

Sha256& Sha256::update(ByteView bytes) {
  TILLSYNC_CHECK(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256 Sha256::clone() const {
  Sha256 other;
  TILLSYNC_CHECK(EVP_MD_CTX_copy_ex(other.impl_->context, impl_->context) == 1);
  return other;
}

Digest Sha256::finish() {
  Digest out;
  unsigned length = 0;
  TILLSYNC_CHECK(EVP_DigestFinal_ex(impl_->context, out.bytes.data(), &length) == 1 && length == 32);
  TILLSYNC_CHECK(EVP_DigestInit_ex2(impl_->context, impl_->algorithm, nullptr) == 1);
  return out;
}

}  // namespace tillsync
