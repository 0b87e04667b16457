// Pages of a database file and where they come from.
//
// Purpose: a PageRef keeps one page's bytes alive without copying them; a PageReader is a consistent image (the
// replica, a WAL, a read transaction). The database header is the first 100 bytes of page 1. Source: SQLite file format
// §1.3. Threads: a PageRef and its copies belong to one thread.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

// Reference-counted page bytes; the count is not atomic, which is why it stays on one thread.
class PageRef {
 public:
  PageRef() = default;
  static PageRef allocate(uint32_t size) {
    PageRef page;
    page.block_ = static_cast<Block*>(std::malloc(sizeof(Block) + size));
    if (!page.block_) throw std::bad_alloc();
    page.block_->references = 1;
    page.block_->size = size;
    return page;
  }
  PageRef(const PageRef& other) : block_(other.block_) {
    if (block_) block_->references++;
  }
  PageRef(PageRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~PageRef() {
    if (block_ && --block_->references == 0) std::free(block_);
  }
  explicit operator bool() const { return block_ != nullptr; }
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(block_ + 1); }
  uint8_t* mutable_data() { return reinterpret_cast<uint8_t*>(block_ + 1); }
  uint32_t size() const { return block_->size; }
  ByteView view() const { return {data(), size()}; }
  MutableBytes mutable_view() { return {mutable_data(), size()}; }

 private:
  struct Block {
    uint32_t references;
    uint32_t size;
  };
  Block* block_ = nullptr;
};

class PageReader {
 public:
  virtual ~PageReader() = default;
  // Errors: corrupt when the page lies outside the image; what the source reports otherwise.
  virtual Result<PageRef> page(PageNo number) = 0;
};

// SQLite allows no less of a page to be used.
constexpr uint32_t kUsableMin = 480;

struct DatabaseHeader {
  uint32_t page_size = 0;  // 512 to 65536
  uint32_t usable = 0;     // page size less the reserved bytes at the end of each page
  uint32_t change_counter = 0;
  PageNo page_count = 0;  // as the header says; 0 in files of very old writers
  PageNo first_freelist_trunk = 0;
  uint32_t freelist_count = 0;
  uint32_t schema_cookie = 0;
  uint32_t text_encoding = 1;  // 1 UTF-8, 2 UTF-16le, 3 UTF-16be
  uint32_t user_version = 0;
  uint32_t sqlite_version = 0;  // of the library that wrote last, e.g. 3040001
  bool wal_mode = false;

  // Errors: corrupt, with words for what a person may have done (empty file, not SQLite, encrypted).
  static Result<DatabaseHeader> parse(ByteView first_100_bytes);
};

// "3.40.1" from 3040001.
std::string sqlite_version_text(uint32_t number);

}  // namespace tillsync
