#include "capture/damaged_image.h"

#include <algorithm>
#include <cstring>

#include "base/checks.h"
#include "sqlite/connection.h"

namespace tillsync {

namespace {

constexpr uint32_t kRawPageSize = 4096;

class SpooledImage : public PageImage {
 public:
  SpooledImage(std::unique_ptr<File> file, uint32_t page_size, PageNo page_count)
      : file_(std::move(file)), page_size_(page_size), page_count_(page_count) {}
  uint32_t page_size() const override { return page_size_; }
  PageNo page_count() const override { return page_count_; }
  Result<void> read(PageNo first, MutableBytes out) override {
    TILLSYNC_LET(size_t got, file_->read(uint64_t{first - 1} * page_size_, out));
    TILLSYNC_CHECK(got == out.size());
    return {};
  }
  // It is always a FULL.
  Result<void> generations(PageNo, std::span<uint32_t> out) override {
    std::fill(out.begin(), out.end(), 0);
    return {};
  }

 private:
  std::unique_ptr<File> file_;
  uint32_t page_size_;
  PageNo page_count_;
};

// Opened here and not as capture opens it: that asks SQLite for things it answers only with a sound schema.
Result<Connection> open_without_schema(const std::string& path) {
  TILLSYNC_LET(Connection connection, Connection::open(path, SQLITE_OPEN_READWRITE));
  sqlite3_busy_timeout(connection.handle(), 2000);
  sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(connection.handle(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // With writable_schema a schema that does not parse is no obstacle; query_only sees to it that nothing is written.
  TILLSYNC_TRY(connection.execute("PRAGMA writable_schema=ON; PRAGMA query_only=ON"));
  return connection;
}

struct Copy {
  std::unique_ptr<File> file;
  uint32_t page_size = 0;
  uint64_t page_count = 0;
  uint64_t unreadable = 0;
  std::string why;  // of the first that was not readable

  Result<void> add(Result<ByteView> content) {
    Bytes zeros;
    if (!content || content->size() != page_size) {
      zeros.resize(page_size);
      if (unreadable++ == 0)
        why = "page " + std::to_string(page_count + 1) + ": " +
              (content ? "has another size than the others" : content.error().context);
      content = ByteView(zeros);
    }
    return file->write(page_count++ * page_size, *content);
  }
};

bool passes(const Error& error) {
  return error.kind == ErrorKind::transient || error.kind == ErrorKind::not_found || error.kind == ErrorKind::denied;
}

Result<void> copy_by_pages(Connection& connection, Copy& copy) {
  TILLSYNC_TRY(connection.execute("BEGIN"));
  TILLSYNC_TRY(connection.query_integer("PRAGMA schema_version"));
  TILLSYNC_LET(int64_t page_size, connection.query_integer("PRAGMA page_size"));
  TILLSYNC_LET(int64_t page_count, connection.query_integer("PRAGMA page_count"));
  if (page_count == 0) return Error{ErrorKind::corrupt, 0, "it has no pages"};
  TILLSYNC_LET(Statement query, connection.prepare("SELECT data FROM sqlite_dbpage WHERE pgno=?"));
  copy.page_size = static_cast<uint32_t>(page_size);
  for (int64_t page = 1; page <= page_count; page++) {
    query.bind(1, page);
    auto found = query.step();
    if (!found && passes(found.error())) return std::move(found).error();
    Result<ByteView> content = found ? Result<ByteView>(*found ? query.blob(0) : ByteView()) : found.error();
    TILLSYNC_TRY(copy.add(std::move(content)));
    query.reset();
  }
  return {};
}

// Through SQLite's own handle: closing another descriptor of the file would drop every lock this process holds on it.
Result<void> copy_by_bytes(Connection& connection, Copy& copy) {
  sqlite3_file* file = nullptr;
  int rc = sqlite3_file_control(connection.handle(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (rc != SQLITE_OK || !file || !file->pMethods) return sqlite_error(rc, "find the file handle", connection.handle());
  sqlite3_int64 size = 0;
  rc = file->pMethods->xFileSize(file, &size);
  if (rc != SQLITE_OK) return sqlite_error(rc, "size of the database");
  TILLSYNC_TRY(copy.file->truncate(0));
  copy.page_size = kRawPageSize;
  copy.page_count = copy.unreadable = 0;
  Bytes page(kRawPageSize);
  for (sqlite3_int64 at = 0; at < size; at += kRawPageSize) {
    std::fill(page.begin(), page.end(), uint8_t{0});
    const auto length = static_cast<int>(std::min<sqlite3_int64>(kRawPageSize, size - at));
    rc = file->pMethods->xRead(file, page.data(), length, at);
    TILLSYNC_TRY(copy.add(rc == SQLITE_OK ? Result<ByteView>(ByteView(page)) : sqlite_error(rc, "read")));
  }
  return {};
}

}  // namespace

Result<DamagedImage> copy_damaged(const std::string& path, FileSystem& files, const std::string& spool_path) {
  TILLSYNC_LET(auto info, files.stat(path));
  if (info.size == 0) return Error{ErrorKind::corrupt, 0, path + ": it is empty, there is nothing to keep"};
  TILLSYNC_LET(uint64_t free, files.free_space(directory_of(spool_path)));
  if (free < info.size)
    return Error{ErrorKind::no_space, 0,
                 spool_path + ": a copy of the damaged database needs " + std::to_string(info.size) + " bytes, " +
                     std::to_string(free) + " are free"};
  Copy copy;
  TILLSYNC_LET(copy.file, files.open(spool_path, OpenMode::create_new));
  TILLSYNC_TRY(files.remove(spool_path));
  TILLSYNC_LET(Connection connection, open_without_schema(path));
  std::string note;
  auto copied = copy_by_pages(connection, copy);
  if (!copied) {
    if (passes(copied.error()) || copied.error().kind == ErrorKind::no_space) return std::move(copied).error();
    note = "SQLite can't read the file (" + copied.error().context +
           "), so its bytes were copied, filled up to whole pages of 4096, without what was in its write-ahead log";
    TILLSYNC_TRY(copy_by_bytes(connection, copy));
  }
  if (copy.unreadable)
    note += (note.empty() ? "" : "; ") + std::to_string(copy.unreadable) +
            " pages could not be read and are zeros here, the first of them " + copy.why;
  if (copy.page_count >= UINT32_MAX) return Error{ErrorKind::schema, 0, path + ": it has more pages than can be kept"};
  DamagedImage image;
  image.pages =
      std::make_unique<SpooledImage>(std::move(copy.file), copy.page_size, static_cast<PageNo>(copy.page_count));
  image.note = std::move(note);
  return image;
}

}  // namespace tillsync
