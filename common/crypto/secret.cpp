#include "crypto/secret.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "base/checks.h"

namespace tillsync {

namespace {
constexpr size_t kArenaSize = 64 << 10, kSmallest = 32;
}

void protect_secrets() { CRYPTO_secure_malloc_init(kArenaSize, kSmallest); }
void wipe(MutableBytes bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

Secret::Secret() : bytes_(static_cast<uint8_t*>(OPENSSL_secure_zalloc(kSize))) { TILLSYNC_CHECK(bytes_ != nullptr); }
Secret::Secret(ByteView thirty_two) : Secret() {
  TILLSYNC_CHECK(thirty_two.size() == kSize);
  std::ranges::copy(thirty_two, bytes_);
}
Secret Secret::make(Random& random) {
  Secret secret;
  random.fill(secret.bytes());
  return secret;
}
Secret::Secret(const Secret& other) : Secret(other.view()) {}
Secret& Secret::operator=(const Secret& other) {
  if (this != &other) *this = Secret(other);
  return *this;
}
Secret::Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)) {}
Secret& Secret::operator=(Secret&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}
Secret::~Secret() { OPENSSL_secure_clear_free(bytes_, kSize); }
bool Secret::operator==(const Secret& other) const { return CRYPTO_memcmp(bytes_, other.bytes_, kSize) == 0; }

}  // namespace tillsync
