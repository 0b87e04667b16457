// Pages of a plain database file that nobody writes, each read as often as it is asked for. Errors: corrupt with the
// page's number; what the file port reports. Threads: one.
#pragma once

#include <memory>
#include <string>

#include "dbfile/btree.h"
#include "ports/files.h"

namespace tillsync {

class FilePages : public PageReader {
 public:
  static Result<std::unique_ptr<FilePages>> open(FileSystem& files, const std::string& path) {
    auto pages = std::make_unique<FilePages>();
    TILLSYNC_LET(pages->file_, files.open(path, OpenMode::read));
    TILLSYNC_LET(uint64_t size, pages->file_->size());
    if (size == 0) return pages;
    uint8_t first[100];
    TILLSYNC_LET(size_t got, pages->file_->read(0, first));
    TILLSYNC_LET(pages->header_, DatabaseHeader::parse({first, got}));
    pages->count_ = static_cast<PageNo>(size / pages->header_.page_size);
    return pages;
  }
  Result<PageRef> page(PageNo number) override {
    PageRef page = PageRef::allocate(header_.page_size);
    TILLSYNC_LET(size_t got, file_->read(uint64_t{number - 1} * header_.page_size, page.mutable_view()));
    if (got != header_.page_size) return page_error(number, "lies outside the database");
    return page;
  }
  PageNo count() const { return count_; }

 private:
  std::unique_ptr<File> file_;
  DatabaseHeader header_;
  PageNo count_ = 0;
};

}  // namespace tillsync
