#include "sqlite/connection.h"

#include <new>

#include "base/checks.h"
#include "sqlite/file_vfs.h"

namespace tillsync {

namespace {

ErrorKind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // a race on the locks of a WAL that was lost many times
    case SQLITE_IOERR:     // a disk may answer the next time; who tries again gives up by itself
      return ErrorKind::transient;
    case SQLITE_FULL: return ErrorKind::no_space;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorKind::corrupt;
    case SQLITE_CANTOPEN: return ErrorKind::not_found;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH: return ErrorKind::denied;
    case SQLITE_SCHEMA: return ErrorKind::schema;
    case SQLITE_INTERRUPT: return ErrorKind::cancelled;
    default: return ErrorKind::internal;
  }
}

}  // namespace

bool is_of_disk_or_lock(int code) {
  switch (code & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return true;
    default: return false;
  }
}

Error sqlite_error(int code, std::string_view doing, sqlite3* connection) {
  if ((code & 0xff) == SQLITE_NOMEM) throw std::bad_alloc();
  std::string context(doing);
  context.append(": ").append(sqlite3_errstr(code));
  if (connection) {
    std::string_view detail = sqlite3_errmsg(connection);
    if (detail != sqlite3_errstr(code) && detail != "not an error") context.append(" (").append(detail).append(")");
  }
  ErrorKind kind = kind_of(code);
  const int primary = code & 0xff;
  const Error* said = nullptr;
  if (connection && (primary == SQLITE_IOERR || primary == SQLITE_FULL || primary == SQLITE_PERM) &&
      sqlite3_file_control(connection, "main", kWhatThePortSaid, &said) == SQLITE_OK && said) {
    context.append(": ").append(said->context);
    // Others it may have said at another time, as an answer.
    const bool of_the_disk = said->kind == ErrorKind::transient || said->kind == ErrorKind::offline ||
                             said->kind == ErrorKind::denied || said->kind == ErrorKind::no_space;
    if (primary == SQLITE_IOERR && of_the_disk) kind = said->kind;
  }
  return Error{kind, code, std::move(context)};
}

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    sqlite3_finalize(handle_);
    handle_ = std::exchange(other.handle_, nullptr);
  }
  return *this;
}

namespace {
// A bind fails only for a wrong index, a statement that is being stepped, or no memory: bugs, not circumstances.
void bound(int code) {
  if (code == SQLITE_NOMEM) throw std::bad_alloc();
  TILLSYNC_CHECK(code == SQLITE_OK);
}
}  // namespace

Statement& Statement::bind(int index, int64_t value) {
  bound(sqlite3_bind_int64(handle_, index, value));
  return *this;
}

Statement& Statement::bind(int index, double value) {
  bound(sqlite3_bind_double(handle_, index, value));
  return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
  // A view of nothing may have a null pointer, which SQLite would bind as NULL.
  bound(
      sqlite3_bind_text64(handle_, index, text.empty() ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(int index, ByteView blob) {
  bound(blob.empty() ? sqlite3_bind_zeroblob(handle_, index, 0)
                     : sqlite3_bind_blob64(handle_, index, blob.data(), blob.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_static(int index, ByteView blob) {
  bound(blob.empty() ? sqlite3_bind_zeroblob(handle_, index, 0)
                     : sqlite3_bind_blob64(handle_, index, blob.data(), blob.size(), SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind_null(int index) {
  bound(sqlite3_bind_null(handle_, index));
  return *this;
}

Result<bool> Statement::step() {
  int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_);
    return false;
  }
  sqlite3* connection = sqlite3_db_handle(handle_);
  const char* sql = sqlite3_sql(handle_);
  Error error = sqlite_error(code, sql ? sql : "step", connection);
  sqlite3_reset(handle_);
  return error;
}

Result<void> Statement::run() {
  while (true) {
    TILLSYNC_LET(bool row, step());
    if (!row) return {};
  }
}

void Statement::reset() { sqlite3_reset(handle_); }

std::string Statement::text(int column) const {
  auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return data ? std::string(data, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : std::string();
}

ByteView Statement::blob(int column) const {
  auto* data = static_cast<const uint8_t*>(sqlite3_column_blob(handle_, column));
  return data ? ByteView(data, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : ByteView();
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return text(column);
}

std::optional<int64_t> Statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

Result<Connection> Connection::open(const std::string& path, int flags, const char* vfs) {
  Connection connection;
  int code = sqlite3_open_v2(path.c_str(), &connection.handle_, flags | SQLITE_OPEN_EXRESCODE, vfs);
  if (code != SQLITE_OK) return sqlite_error(code, "open " + path, connection.handle_);
  return connection;
}

Connection::Connection(Connection&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), cache_(std::move(other.cache_)) {
  other.cache_.clear();
}

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this != &other) {
    close();
    handle_ = std::exchange(other.handle_, nullptr);
    cache_ = std::move(other.cache_);
    other.cache_.clear();
  }
  return *this;
}

void Connection::close() {
  cache_.clear();
  // v2: a statement that outlives the connection by mistake keeps it alive instead of being a use after free.
  sqlite3_close_v2(std::exchange(handle_, nullptr));
}

Result<Statement> Connection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), 0, &statement, nullptr);
  if (code != SQLITE_OK) return sqlite_error(code, std::string("prepare ").append(sql), handle_);
  TILLSYNC_CHECK(statement != nullptr);
  return Statement(statement);
}

Result<Statement*> Connection::cached(const char* sql) {
  auto found = cache_.find(sql);
  if (found == cache_.end() || found->second.sql != sql) {
    TILLSYNC_LET(auto prepared, prepare(sql));
    found = cache_.insert_or_assign(sql, Cached{sql, std::make_unique<Statement>(std::move(prepared))}).first;
  }
  Statement* statement = found->second.statement.get();
  statement->reset();
  sqlite3_clear_bindings(statement->handle());
  return statement;
}

Result<void> Connection::execute(std::string_view sql) {
  const char* at = sql.data();
  const char* end = sql.data() + sql.size();
  while (at < end) {
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    int code = sqlite3_prepare_v3(handle_, at, static_cast<int>(end - at), 0, &raw, &tail);
    if (code != SQLITE_OK) return sqlite_error(code, std::string("prepare ").append(at, end), handle_);
    if (raw) TILLSYNC_TRY(Statement(raw).run());  // nullptr: a comment or blanks
    at = tail;
  }
  return {};
}

Result<int64_t> Connection::query_integer(std::string_view sql) {
  TILLSYNC_LET(auto query, prepare(sql));
  TILLSYNC_LET(bool row, query.step());
  if (!row) return Error{ErrorKind::not_found, 0, std::string(sql) + ": no row"};
  return query.integer(0);
}

Result<std::string> Connection::query_text(std::string_view sql) {
  TILLSYNC_LET(auto query, prepare(sql));
  TILLSYNC_LET(bool row, query.step());
  if (!row) return Error{ErrorKind::not_found, 0, std::string(sql) + ": no row"};
  return query.text(0);
}

Result<Transaction> Transaction::begin(Connection& connection, const char* how) {
  TILLSYNC_LET(auto start, connection.cached(how));
  TILLSYNC_TRY(start->run());
  return Transaction(connection);
}

Transaction::~Transaction() {
  if (!connection_) return;
  // After some errors (disk full, I/O) SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(connection_->handle()) == 0) (void)connection_->execute("ROLLBACK").has_value();
}

Result<void> Transaction::commit() {
  TILLSYNC_CHECK(connection_ != nullptr);
  TILLSYNC_LET(auto end, connection_->cached("COMMIT"));
  TILLSYNC_TRY(end->run());  // on failure the destructor rolls back
  connection_ = nullptr;
  return {};
}

std::string quote_identifier(std::string_view name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace tillsync
