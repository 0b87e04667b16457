// A database file, read whole: what a benchmark compares takes no time of the disk.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "dbfile/page.h"
#include "support/results.h"

namespace tillsync::test {

class DatabaseInMemory : public PageReader {
 public:
  explicit DatabaseInMemory(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    Bytes raw(std::filesystem::file_size(path));
    in.read(reinterpret_cast<char*>(raw.data()), static_cast<std::streamsize>(raw.size()));
    const uint32_t size = must(DatabaseHeader::parse(ByteView(raw).first(100))).page_size;
    for (size_t at = 0; at < raw.size(); at += size) {
      pages_.push_back(PageRef::allocate(size));
      std::copy_n(raw.begin() + static_cast<ptrdiff_t>(at), size, pages_.back().mutable_data());
    }
  }
  Result<PageRef> page(PageNo number) override { return pages_.at(number - 1); }
  PageNo count() const { return static_cast<PageNo>(pages_.size()); }

 private:
  std::vector<PageRef> pages_;
};

// Numbers of the pages of `after` that are not as in `before`.
inline std::vector<PageNo> changed_pages(DatabaseInMemory& before, DatabaseInMemory& after) {
  std::vector<PageNo> changed;
  for (PageNo page = 1; page <= after.count(); page++)
    if (page > before.count() || !equal(must(before.page(page)).view(), must(after.page(page)).view()))
      changed.push_back(page);
  return changed;
}

}  // namespace tillsync::test
