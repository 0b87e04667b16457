// What the fuzz targets share: a promise that ends the process when it is broken, and bytes as a database.
//
// A target is a file with LLVMFuzzerTestOneInput. It is linked twice: with libFuzzer (preset fuzz, `./dev fuzz`), and
// with run_corpus.cpp, which runs files, so that ctest holds the corpus green with any compiler.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "dbfile/btree.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#define FUZZ_HOLDS(condition)                                                              \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: this must hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (0)

namespace tillsync::fuzz {

// A view of its own size on the heap, so that a byte read past its end is seen.
class Exact {
 public:
  explicit Exact(ByteView bytes) : size_(bytes.size()), bytes_(new uint8_t[size_]) {
    if (size_) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  ByteView view() const { return {bytes_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t[]> bytes_;
};

inline bool lies_within(ByteView part, ByteView whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// Pages out of one buffer.
class BytesReader : public PageReader {
 public:
  BytesReader(ByteView bytes, uint32_t page_size) : bytes_(bytes), page_size_(page_size) {}
  PageNo page_count() const { return static_cast<PageNo>(bytes_.size() / page_size_); }
  Result<PageRef> page(PageNo number) override {
    if (number == 0 || number > page_count()) return page_error(number, "outside");
    PageRef page = PageRef::allocate(page_size_);
    std::memcpy(page.mutable_data(), bytes_.data() + size_t{number - 1} * page_size_, page_size_);
    return page;
  }

 private:
  ByteView bytes_;
  uint32_t page_size_;
};

}  // namespace tillsync::fuzz
