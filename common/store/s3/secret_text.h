// Text that must not be found in a core dump, in swap, or in freed memory.
//
// It lives in pages of its own: left out of core dumps, locked into memory where the limit allows it, wiped at the end.
// Never convertible to std::string, and not printable: view() is for the one call that needs it.
// Threads: values; move only.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/bytes.h"

namespace tillsync::s3 {

class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string_view text);
  // Of so many bytes, zeroed, to be filled through bytes().
  static SecretText of_size(size_t size);
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  ~SecretText();

  std::string_view view() const { return {data_, size_}; }
  MutableBytes bytes() { return {reinterpret_cast<uint8_t*>(data_), size_}; }
  bool empty() const { return size_ == 0; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0, mapped_ = 0;
};

// Overwrites what was a secret; the compiler may not leave it out.
void wipe(MutableBytes bytes);

}  // namespace tillsync::s3
