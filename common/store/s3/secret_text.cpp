#include "store/s3/secret_text.h"

#include <openssl/crypto.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <new>
#include <utility>

namespace tillsync::s3 {

namespace {

// Whole pages, zeroed. That they are locked into memory is as well as can be: the limit for unprivileged processes is
// small, and swap is no core dump.
#ifdef _WIN32
size_t page_size() {
  SYSTEM_INFO info{};
  ::GetSystemInfo(&info);
  return info.dwPageSize;
}
// What a dump of Windows has of a process is asked for by whoever makes it: nothing can be left out of it here.
void* map_pages(size_t size) {
  void* pages = ::VirtualAlloc(nullptr, size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
  if (!pages) throw std::bad_alloc();
  (void)::VirtualLock(pages, size);
  return pages;
}
void unmap_pages(void* pages, size_t) { ::VirtualFree(pages, 0, MEM_RELEASE); }
#else
size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
void* map_pages(size_t size) {
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  madvise(pages, size, MADV_DONTDUMP);
  (void)mlock(pages, size);
  return pages;
}
void unmap_pages(void* pages, size_t size) { munmap(pages, size); }
#endif

}  // namespace

SecretText SecretText::of_size(size_t size) {
  SecretText out;
  if (size == 0) return out;
  const size_t page = page_size();
  out.mapped_ = (size + page - 1) / page * page;
  out.data_ = static_cast<char*>(map_pages(out.mapped_));
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
  unmap_pages(data_, mapped_);
}

void wipe(MutableBytes bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

}  // namespace tillsync::s3
