#include "restore/activation.h"

#include <array>

namespace tillsync {

namespace {

constexpr uint64_t kLockBytes = uint64_t{1} << 30;
constexpr uint64_t kPagesBetweenLooks = 256;

// Pages of a plain database file, one after the other; a page beyond its end is empty.
class PageFile {
 public:
  static Result<PageFile> open(FileSystem& files, const std::string& path, OpenMode mode, uint32_t page_size) {
    PageFile file;
    TILLSYNC_LET(file.file_, files.open(path, mode));
    TILLSYNC_LET(uint64_t size, file.file_->size());
    file.page_size_ = page_size;
    file.count_ = static_cast<PageNo>(size / page_size);
    return file;
  }
  PageNo count() const { return count_; }
  // False: it has no such page.
  Result<bool> read(PageNo page, MutableBytes out) {
    if (page > count_) return false;
    TILLSYNC_LET(size_t got, file_->read(uint64_t{page - 1} * page_size_, out));
    return got == page_size_;
  }
  Result<void> write(PageNo page, ByteView content) { return file_->write(uint64_t{page - 1} * page_size_, content); }
  Result<void> finish(PageNo pages) {
    TILLSYNC_TRY(file_->truncate(uint64_t{pages} * page_size_));
    return file_->sync();
  }

 private:
  std::unique_ptr<File> file_;
  uint32_t page_size_ = 0;
  PageNo count_ = 0;
};

struct Shape {
  uint32_t page_size = 0, encoding = 0;
  uint8_t reserved = 0;
  bool auto_vacuum = false, incremental = false;
};

Result<Shape> shape_of(ByteView first) {
  TILLSYNC_LET(DatabaseHeader header, DatabaseHeader::parse(first));
  return Shape{header.page_size, header.text_encoding, first[20], be32(first.data() + 52) != 0,
               be32(first.data() + 64) != 0};
}

Result<Bytes> first_page(Connection& live) {
  TILLSYNC_LET(auto query, live.prepare("SELECT data FROM sqlite_dbpage WHERE pgno=1"));
  TILLSYNC_LET(bool row, query.step());
  if (!row) return Bytes();
  return to_bytes(query.blob(0));
}

Result<Bytes> header_bytes(FileSystem& files, const std::string& path) {
  TILLSYNC_LET(auto file, files.open(path, OpenMode::read));
  Bytes first(100);
  TILLSYNC_LET(size_t got, file->read(0, first));
  if (got < first.size())
    return Error{
        ErrorKind::schema, 0,
        "the restored database has no page at all; a live database can't be made empty. Stop the application and "
        "restore to a new file"};
  return first;
}

Result<void> check_shapes(ByteView staged, ByteView live) {
  // A file without a page takes any shape.
  if (live.empty()) return {};
  TILLSYNC_LET(Shape a, shape_of(staged));
  auto read = shape_of(live);
  // A damaged header says nothing that could be compared.
  if (!read) return {};
  const Shape& b = *read;
  std::string what;
  if (a.page_size != b.page_size)
    what = "pages of " + std::to_string(a.page_size) + " bytes, and now of " + std::to_string(b.page_size);
  else if (a.encoding != b.encoding)
    what = "another text encoding";
  else if (a.reserved != b.reserved)
    what = "another number of reserved bytes in each page";
  else if (a.auto_vacuum != b.auto_vacuum || a.incremental != b.incremental)
    what = "another auto-vacuum mode";
  if (what.empty()) return {};
  return Error{
      ErrorKind::schema, 0,
      "the database had " + what +
          "; that can't be put back while applications may have the file open. Stop the application, restore to a "
          "new file (tillsync restore --to), and put that in its place"};
}

}  // namespace

Result<uint32_t> schema_cookie_of(FileSystem& files, const std::string& path) {
  TILLSYNC_LET(Bytes first, header_bytes(files, path));
  return be32(first.data() + 40);
}

Result<void> check_replaceable(FileSystem& files, const std::string& staged, AppDatabase& live) {
  TILLSYNC_LET(Bytes wanted, header_bytes(files, staged));
  TILLSYNC_LET(Bytes now, first_page(live.connection()));
  return check_shapes(wanted, now);
}

Result<void> copy_live(AppDatabase& live, FileSystem& files, const std::string& safety, const PageProgress& progress) {
  TILLSYNC_LET(auto reader, DatabaseReader::create(live));
  TILLSYNC_LET(auto copy, PageFile::open(files, safety, OpenMode::create, reader->page_size()));
  const PageNo count = reader->page_count();
  Bytes page(reader->page_size());
  for (PageNo number = 1; number <= count; number++) {
    if (number % kPagesBetweenLooks == 0 && progress &&
        !progress(uint64_t{number} * page.size(), uint64_t{count} * page.size()))
      return Error{ErrorKind::cancelled, 0, "cancelled while the safety copy was made"};
    if (uint64_t{number - 1} * page.size() == kLockBytes) continue;
    TILLSYNC_TRY(reader->read(number, page));
    TILLSYNC_TRY(copy.write(number, page));
  }
  return copy.finish(count);
}

Result<ReplacedContent> replace_content(Connection& live, const ContentFiles& what, uint32_t schema_cookie,
                                        const PageProgress& progress) {
  ReplacedContent replaced;
  TILLSYNC_LET(Bytes wanted_header, header_bytes(*what.files, what.staged));
  TILLSYNC_LET(Bytes live_first, first_page(live));
  TILLSYNC_TRY(check_shapes(wanted_header, live_first));
  TILLSYNC_LET(DatabaseHeader header, DatabaseHeader::parse(wanted_header));
  const uint32_t page_size = header.page_size;
  TILLSYNC_LET(int64_t live_pages, live.query_integer("PRAGMA page_count"));
  const auto live_count = static_cast<PageNo>(live_pages);
  TILLSYNC_LET(auto staged, PageFile::open(*what.files, what.staged, OpenMode::read, page_size));
  TILLSYNC_LET(auto safety, PageFile::open(*what.files, what.safety, OpenMode::create, page_size));
  TILLSYNC_LET(auto select, live.prepare("SELECT data FROM sqlite_dbpage WHERE pgno=?"));
  TILLSYNC_LET(auto put, live.prepare("INSERT INTO sqlite_dbpage(pgno, data) VALUES(?, ?)"));
  const PageNo all = std::max(live_count, staged.count());
  Bytes now(page_size), then(page_size), wanted(page_size);
  // First what was there is safe; then it is replaced.
  for (const bool replacing : {false, true}) {
    for (PageNo page = 1; page <= all; page++) {
      if (page % kPagesBetweenLooks == 0 && progress &&
          !progress(uint64_t{(replacing ? all : 0) + page} * page_size, uint64_t{2} * all * page_size))
        return Error{ErrorKind::cancelled, 0, "cancelled before it was committed; nothing was changed"};
      if (uint64_t{page - 1} * page_size == kLockBytes) continue;
      bool live_has = page <= live_count;
      if (live_has) {
        TILLSYNC_LET(live_has, select.bind(1, page).step());
        if (live_has) {
          ByteView content = select.blob(0);
          if (content.size() != page_size)
            return Error{ErrorKind::corrupt, 0, "page " + std::to_string(page) + " of the live database can't be read"};
          std::copy(content.begin(), content.end(), now.begin());
        }
        select.reset();
      }
      if (!replacing) {
        if (!live_has) continue;
        TILLSYNC_LET(bool kept, safety.read(page, then));
        if (kept && equal(then, now)) continue;
        TILLSYNC_TRY(safety.write(page, now));
        replaced.pages_copied++;
        continue;
      }
      TILLSYNC_LET(bool has, staged.read(page, wanted));
      if (!has) continue;
      if (page == 1) {
        if (live_has) std::copy_n(now.begin() + 18, 2, wanted.begin() + 18);
        put_be32(wanted.data() + 40, schema_cookie);
      }
      if (live_has && equal(now, wanted)) continue;
      TILLSYNC_TRY(put.bind(1, page).bind_static(2, wanted).run());
      replaced.pages_written++;
    }
    if (replacing) continue;
    TILLSYNC_TRY(safety.finish(live_count));
    // Its name as well: it may have been made for this.
    TILLSYNC_TRY(what.files->sync_directory(directory_of(what.safety)));
  }
  if (staged.count() < live_count)
    TILLSYNC_TRY(put.bind(1, staged.count() + 1).bind_null(2).run().with("shorten the live database"));
  return replaced;
}

}  // namespace tillsync
