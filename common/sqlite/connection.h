// SQLite connections and statements.
//
// Purpose: one move-only wrapper per handle, and the one place where SQLITE_* becomes an Error.
// Errors: sqlite_error() maps BUSY/LOCKED → transient, FULL → no_space, CORRUPT/NOTADB → corrupt, CANTOPEN → not_found,
// PERM/READONLY/AUTH → denied, SCHEMA → schema, INTERRUPT → cancelled, NOMEM → throws std::bad_alloc, else internal.
// Threads: a Connection and its statements belong to one thread at a time.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace tillsync {

// That SQLite's code says something of the disk, or of a lock, and nothing of the statement or the rows: the next try
// may be answered otherwise.
bool is_of_disk_or_lock(int code);

Error sqlite_error(int code, std::string_view doing, sqlite3* connection = nullptr);

class Connection;

// A prepared statement. Values are bound by position from 1; columns read by position from 0.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Statement& operator=(Statement&& other) noexcept;
  ~Statement() { sqlite3_finalize(handle_); }

  Statement& bind(int index, int64_t value);
  Statement& bind(int index, uint64_t value) { return bind(index, static_cast<int64_t>(value)); }
  Statement& bind(int index, int value) { return bind(index, static_cast<int64_t>(value)); }
  Statement& bind(int index, uint32_t value) { return bind(index, static_cast<int64_t>(value)); }
  Statement& bind(int index, bool value) { return bind(index, static_cast<int64_t>(value)); }
  Statement& bind(int index, double value);
  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, const char* text) { return bind(index, std::string_view(text)); }
  Statement& bind(int index, const std::string& text) { return bind(index, std::string_view(text)); }
  Statement& bind(int index, ByteView blob);         // copied
  Statement& bind_static(int index, ByteView blob);  // the caller keeps it alive until reset()
  Statement& bind_null(int index);
  template <class T>
  Statement& bind(int index, const std::optional<T>& value) {
    return value ? bind(index, *value) : bind_null(index);
  }

  // True: a row is there. False: done. The statement resets itself when it is done or fails.
  Result<bool> step();
  // For statements without rows: step to the end, reset.
  Result<void> run();
  void reset();

  bool is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }
  int64_t integer(int column) const { return sqlite3_column_int64(handle_, column); }
  uint64_t unsigned_integer(int column) const { return static_cast<uint64_t>(integer(column)); }
  double real(int column) const { return sqlite3_column_double(handle_, column); }
  std::string text(int column) const;
  ByteView blob(int column) const;  // valid until the next step or reset
  std::optional<std::string> optional_text(int column) const;
  std::optional<int64_t> optional_integer(int column) const;
  sqlite3_stmt* handle() const { return handle_; }

 private:
  friend class Connection;
  explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
  sqlite3_stmt* handle_ = nullptr;
};

class Connection {
 public:
  // vfs: name of a registered VFS, nullptr for SQLite's own.
  static Result<Connection> open(const std::string& path, int flags, const char* vfs = nullptr);
  Connection() = default;
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&& other) noexcept;
  ~Connection() { close(); }
  void close();

  explicit operator bool() const { return handle_ != nullptr; }
  sqlite3* handle() const { return handle_; }
  Result<Statement> prepare(std::string_view sql);
  // A statement kept for the life of the connection, reset and with bindings cleared. It is found by the address of
  // its text, then compared: a literal costs no hashing.
  Result<Statement*> cached(const char* sql);
  Result<void> execute(std::string_view sql);  // any number of statements, rows ignored
  Result<int64_t> query_integer(std::string_view sql);
  Result<std::string> query_text(std::string_view sql);
  int64_t changes() const { return sqlite3_changes64(handle_); }

 private:
  sqlite3* handle_ = nullptr;
  struct Cached {
    std::string sql;
    std::unique_ptr<Statement> statement;
  };
  std::unordered_map<const char*, Cached> cache_;
};

// BEGIN IMMEDIATE … COMMIT; the destructor rolls back what was not committed.
class Transaction {
 public:
  static Result<Transaction> begin(Connection& connection, const char* how = "BEGIN IMMEDIATE");
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

// "a""b" → quoted as an SQL identifier.
std::string quote_identifier(std::string_view name);

}  // namespace tillsync
