#include "store/s3/secret_text.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <utility>

namespace tillsync::s3 {

SecretText SecretText::of_size(size_t size) {
  SecretText out;
  if (size == 0) return out;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  out.mapped_ = (size + page - 1) / page * page;
  void* pages = mmap(nullptr, out.mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  madvise(pages, out.mapped_, MADV_DONTDUMP);
  // Fine without: the limit for unprivileged processes is small, and swap is no core dump.
  (void)mlock(pages, out.mapped_);
  out.data_ = static_cast<char*>(pages);
  out.size_ = size;
  return out;
}

SecretText::SecretText(std::string_view text) {
  *this = of_size(text.size());
  if (!text.empty()) text.copy(data_, text.size());
}

SecretText::SecretText(SecretText&& other) noexcept { *this = std::move(other); }

SecretText& SecretText::operator=(SecretText&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

SecretText::~SecretText() {
  if (data_ == nullptr) return;
  OPENSSL_cleanse(data_, mapped_);
  munmap(data_, mapped_);
}

void wipe(MutableBytes bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

}  // namespace tillsync::s3
