// The few lines of SQLite that the shop needs, apart from common/sqlite on purpose: the shop stands for somebody else's
// application, so that a fault in our wrapper can't hide itself on both sides of a comparison.
//
// Errors: BUSY and LOCKED → transient, FULL → no_space, else internal; the context holds SQLite's own message.
// Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/result.h"

namespace tillsync::pos {

struct Closer {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
};
using Handle = std::unique_ptr<sqlite3, Closer>;

inline Error failure(sqlite3* connection, int code, std::string_view doing) {
  ErrorKind kind = ErrorKind::internal;
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED) kind = ErrorKind::transient;
  if ((code & 0xff) == SQLITE_FULL) kind = ErrorKind::no_space;
  const char* message = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  return Error{kind, code, std::string(doing.substr(0, 120)) + ": " + message};
}

inline Result<Handle> open_handle(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Handle handle(raw);
  if (code != SQLITE_OK) return failure(raw, code, "open " + path);
  return handle;
}

inline Result<void> run(sqlite3* connection, const std::string& sql) {
  const int code = sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(connection, code, sql);
  return {};
}

// A prepared statement whose values are given with each run: statement(1, "text", nullptr).
class Statement {
 public:
  static Result<Statement> prepare(sqlite3* connection, const char* sql) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) return failure(connection, code, sql);
    return Statement(raw);
  }
  Statement() = default;

  template <class... Values>
  Result<void> operator()(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = sqlite3_step(handle_.get());
    sqlite3* connection = sqlite3_db_handle(handle_.get());
    if (code != SQLITE_DONE) {
      Error error = failure(connection, code, sqlite3_sql(handle_.get()));
      sqlite3_reset(handle_.get());
      return error;
    }
    sqlite3_reset(handle_.get());
    return {};
  }
  // The first column of the first row as an integer; 0 when there is no row.
  Result<int64_t> integer() {
    const int code = sqlite3_step(handle_.get());
    const int64_t value = code == SQLITE_ROW ? sqlite3_column_int64(handle_.get(), 0) : 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
      return failure(sqlite3_db_handle(handle_.get()), code, sqlite3_sql(handle_.get()));
    sqlite3_reset(handle_.get());
    return value;
  }

 private:
  explicit Statement(sqlite3_stmt* raw) : handle_(raw) {}
  template <class T>
  requires std::is_integral_v<T>
  void bind(int index, T value) { sqlite3_bind_int64(handle_.get(), index, static_cast<int64_t>(value)); }
  void bind(int index, double value) { sqlite3_bind_double(handle_.get(), index, value); }
  void bind(int index, std::string_view text) {
    sqlite3_bind_text64(handle_.get(), index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void bind(int index, const std::string& text) { bind(index, std::string_view(text)); }
  void bind(int index, const char* text) { bind(index, std::string_view(text)); }
  void bind(int index, const Bytes& blob) {
    sqlite3_bind_blob64(handle_.get(), index, blob.data(), blob.size(), SQLITE_TRANSIENT);
  }
  void bind(int index, std::nullptr_t) { sqlite3_bind_null(handle_.get(), index); }
  std::unique_ptr<sqlite3_stmt, Closer> handle_;
};

}  // namespace tillsync::pos
