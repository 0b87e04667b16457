#include "restore/migrations.h"

#include <algorithm>

#include "crypto/hash.h"

namespace tillsync {

namespace {

constexpr uint64_t kFileSizeMax = 16 << 20;
constexpr int64_t kVersionMax = INT32_MAX;  // user_version has 32 bits
constexpr size_t kShownMax = 200;

Error bad(const std::string& path, const std::string& why) { return Error{ErrorKind::usage, 0, path + ": " + why}; }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

// NNN of NNN_name.sql; nullopt for another form.
std::optional<int64_t> version_of(std::string_view name) {
  const auto digits = name.find_first_not_of("0123456789");
  // _x.sql at least
  if (digits == 0 || digits == name.npos || name[digits] != '_' || name.size() < digits + 6) return std::nullopt;
  int64_t version = 0;
  for (char c : name.substr(0, digits)) {
    version = version * 10 + (c - '0');
    if (version > kVersionMax) return std::nullopt;
  }
  return version >= 1 ? std::optional(version) : std::nullopt;
}

// On one line, as a person finds it again.
std::string shown(std::string_view statement) {
  std::string out;
  for (char c : statement) {
    if (!is_space(c))
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
    if (out.size() >= kShownMax) return out + "…";
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

int deny_what_leaves_the_step(void*, int action, const char*, const char*, const char*, const char*) {
  return action == SQLITE_TRANSACTION || action == SQLITE_ATTACH || action == SQLITE_DETACH ? SQLITE_DENY : SQLITE_OK;
}

// Asked while a step runs only: our own BEGIN and COMMIT are outside.
class Confined {
 public:
  explicit Confined(Connection& db) : db_(db) {
    sqlite3_set_authorizer(db_.handle(), deny_what_leaves_the_step, nullptr);
  }
  ~Confined() { sqlite3_set_authorizer(db_.handle(), nullptr, nullptr); }
  Confined(const Confined&) = delete;
  Confined& operator=(const Confined&) = delete;

 private:
  Connection& db_;
};

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using StatementHandle = std::unique_ptr<sqlite3_stmt, Finalize>;

// Blank and comment in front of a statement belong to no line that a person looks for.
size_t skip_to_statement(std::string_view sql, size_t at) {
  while (at < sql.size()) {
    if (is_space(sql[at]) || sql[at] == ';') {
      at++;
    } else if (sql.substr(at, 2) == "--") {
      at = std::min(sql.find('\n', at), sql.size());
    } else if (sql.substr(at, 2) == "/*") {
      const auto end = sql.find("*/", at + 2);
      at = end == sql.npos ? sql.size() : end + 2;
    } else {
      break;
    }
  }
  return at;
}

Result<void> run_statements(Connection& db, const MigrationStep& step) {
  Confined confined(db);
  const std::string_view sql = step.sql;
  size_t at = 0;
  while ((at = skip_to_statement(sql, at)) < sql.size()) {
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    int code = sqlite3_prepare_v2(db.handle(), sql.data() + at, static_cast<int>(sql.size() - at), &raw, &tail);
    StatementHandle statement(raw);
    const size_t end = code == SQLITE_OK ? static_cast<size_t>(tail - sql.data()) : sql.size();
    if (code == SQLITE_OK) {
      if (!statement) break;  // nothing but a comment was left
      do code = sqlite3_step(statement.get());
      while (code == SQLITE_ROW);
    }
    if (code != SQLITE_DONE) {
      const auto line = 1 + std::count(sql.begin(), sql.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      // Without a tail the statement ends nobody knows where; its first semicolon will do to find it.
      const std::string_view text = end < sql.size() || sql.find(';', at) == sql.npos
                                        ? sql.substr(at, end - at)
                                        : sql.substr(at, sql.find(';', at) - at + 1);
      const std::string where = step.name + ", line " + std::to_string(line) + ", '" + shown(text) + "'";
      if (code == SQLITE_AUTH)
        return Error{
            ErrorKind::schema, code,
            where + ": a step is one transaction of its own; it may not begin or end one, nor attach a database"};
      Error error = sqlite_error(code, where, db.handle());
      // What SQLite says of a statement is about the SQL and the rows; what it says of the disk is not.
      if (!is_of_disk_or_lock(code) && (error.kind == ErrorKind::internal || error.kind == ErrorKind::denied))
        error.kind = ErrorKind::schema;
      return error;
    }
    at = end;
  }
  return {};
}

// nullopt: it can't be asked, because a foreign key is declared to columns that can have none. Applications live with
// that, as SQLite lets them while keys are not enforced.
Result<std::optional<int64_t>> count_violations(Connection& db) {
  auto count = db.query_integer("SELECT count(*) FROM pragma_foreign_key_check");
  if (count) return std::optional(*count);
  if ((count.error().code & 0xff) == SQLITE_ERROR) return std::optional<int64_t>();
  return std::move(count).error();
}

}  // namespace

Json to_json(const AppliedMigration& applied) {
  return {{"version", applied.version},
          {"name", applied.name},
          {"checksum", applied.checksum.hex()},
          {"applied_at", to_rfc3339(applied.applied_at)},
          {"elapsed_ms", applied.elapsed.count()}};
}

bool SchemaVersionQuery::is_user_version() const {
  std::string plain;
  for (char c : sql)
    if (!is_space(c) && c != ';') plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return plain == "pragmauser_version" || plain == "pragmamain.user_version";
}

Result<int64_t> SchemaVersionQuery::ask(Connection& db) const {
  auto answer = db.query_integer(sql);
  if (answer) return *answer;
  Error error = std::move(answer).error().with("schema_version");
  // As for a migration's statements: what SQLite says of the disk is not about the query.
  if (!is_of_disk_or_lock(error.code)) error.kind = ErrorKind::schema;
  return error;
}

Result<SchemaMigrations> SchemaMigrations::read(FileSystem& files, const std::string& folder) {
  SchemaMigrations migrations;
  TILLSYNC_LET(const auto entries, files.list(folder).with("migrations"));
  for (auto& entry : entries) {
    if (!entry.name.ends_with(".sql") || entry.name.starts_with(".")) continue;
    const std::string path = folder + "/" + entry.name;
    const auto version = version_of(entry.name);
    if (!version) return bad(path, "a name such as 004_add_discounts.sql was expected, with a number from 1 on");
    MigrationStep step;
    step.version = *version;
    step.name = entry.name;
    TILLSYNC_LET(const Bytes content, read_file(files, path, kFileSizeMax));
    step.checksum = sha256(content);
    step.sql = as_text(content);
    // SQLite would stop there and take what follows for done.
    if (step.sql.find('\0') != step.sql.npos) return bad(path, "it holds a zero byte, so it is no SQL");
    migrations.steps_.push_back(std::move(step));
  }
  auto& steps = migrations.steps_;
  std::stable_sort(steps.begin(), steps.end(), [](auto& a, auto& b) { return a.version < b.version; });
  for (size_t i = 1; i < steps.size(); i++) {
    if (steps[i].version == steps[i - 1].version)
      return bad(folder, steps[i - 1].name + " and " + steps[i].name + " have the same number");
    if (steps[i].version != steps[i - 1].version + 1)
      return bad(folder, "between " + steps[i - 1].name + " and " + steps[i].name + " there is a gap");
  }
  return migrations;
}

Result<void> SchemaMigrations::check(int64_t snapshot_version, int64_t target_version) const {
  if (snapshot_version > target_version)
    return Error{ErrorKind::schema, 0,
                 "the snapshot has schema version " + std::to_string(snapshot_version) + ", which is newer than " +
                     std::to_string(target_version) +
                     ", the version asked for: update the application first, or choose an older snapshot"};
  if (snapshot_version == target_version) return {};
  const int64_t first = steps_.empty() ? 0 : steps_.front().version;
  if (steps_.empty() || first > snapshot_version + 1 || newest() < target_version)
    return Error{ErrorKind::schema, 0,
                 "from schema version " + std::to_string(snapshot_version) + " to " + std::to_string(target_version) +
                     (steps_.empty() ? ": there are no migrations"
                                     : ": the migrations lead only from " + std::to_string(first - 1) + " to " +
                                           std::to_string(newest()))};
  return {};
}

Result<std::vector<AppliedMigration>> SchemaMigrations::apply(Connection& db, int64_t target_version,
                                                              const SchemaVersionQuery& query, Clock& clock) const {
  TILLSYNC_LET(const int64_t from, query.ask(db));
  TILLSYNC_TRY(check(from, target_version));
  std::vector<AppliedMigration> log;
  // Without effect inside a transaction, so it is set before.
  TILLSYNC_TRY(db.execute("PRAGMA foreign_keys = OFF"));
  for (auto& step : steps_) {
    if (step.version <= from || step.version > target_version) continue;
    const auto begun = clock.steady_now();
    TILLSYNC_LET(auto transaction, Transaction::begin(db));
    TILLSYNC_LET(const auto violations, count_violations(db).with(step.name));
    TILLSYNC_TRY(run_statements(db, step));
    if (query.is_user_version())
      TILLSYNC_TRY(db.execute("PRAGMA user_version = " + std::to_string(step.version)).with(step.name));
    TILLSYNC_LET(const int64_t now, query.ask(db).with(step.name));
    if (now != step.version)
      return Error{ErrorKind::schema, 0,
                   step.name + ": after it '" + query.sql + "' answers " + std::to_string(now) + " and not " +
                       std::to_string(step.version) + "; its SQL has to see to that"};
    TILLSYNC_LET(const auto left, count_violations(db).with(step.name));
    if (violations && left && *left > *violations)
      return Error{ErrorKind::schema, 0,
                   step.name + ": it leaves " + std::to_string(*left - *violations) +
                       " more row(s) whose foreign key refers to nothing"};
    TILLSYNC_TRY(transaction.commit().with(step.name));
    log.push_back({step.version, step.name, step.checksum, clock.now(),
                   std::chrono::duration_cast<Milliseconds>(clock.steady_now() - begun)});
  }
  return log;
}

Result<std::vector<AppliedMigration>> SchemaMigrations::apply(const std::string& path, const char* vfs,
                                                              int64_t target_version, const SchemaVersionQuery& query,
                                                              Clock& clock) const {
  TILLSYNC_LET(auto db, Connection::open(path, SQLITE_OPEN_READWRITE, vfs));
  return apply(db, target_version, query, clock);
}

}  // namespace tillsync
