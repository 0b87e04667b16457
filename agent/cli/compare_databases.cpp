#include "agent/cli/compare_databases.h"

#include <algorithm>
#include <memory>
#include <set>

#include "agent/demo/pos_sqlite.h"
#include "crypto/hash.h"

namespace tillsync {

namespace {

using Query = std::unique_ptr<sqlite3_stmt, pos::Closer>;

struct TableDigest {
  uint64_t rows = 0;
  std::string digest;
};

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

Result<Query> query(sqlite3* connection, const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(connection, sql.c_str(), -1, &raw, nullptr);
  if (code != SQLITE_OK) return pos::failure(connection, code, sql);
  return Query(raw);
}

// The first column of every row, as text.
Result<std::vector<std::string>> texts(sqlite3* connection, const std::string& sql) {
  TILLSYNC_LET(const Query rows, query(connection, sql));
  std::vector<std::string> out;
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(rows.get())) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(rows.get(), 0));
    out.emplace_back(text != nullptr ? text : "");
  }
  if (code != SQLITE_DONE) return pos::failure(connection, code, sql);
  return out;
}

void add_value(Sha256& hash, sqlite3_stmt* row, int column) {
  Bytes head;
  ByteWriter out(head);
  const int type = sqlite3_column_type(row, column);
  out.u8(static_cast<uint8_t>(type));
  ByteView body;
  if (type == SQLITE_INTEGER) {
    out.u64(static_cast<uint64_t>(sqlite3_column_int64(row, column)));
  } else if (type == SQLITE_FLOAT) {
    const double value = sqlite3_column_double(row, column);
    uint64_t bits = 0;
    static_assert(sizeof bits == sizeof value);
    std::memcpy(&bits, &value, sizeof bits);
    out.u64(bits);
  } else if (type != SQLITE_NULL) {
    const void* bytes = type == SQLITE_TEXT ? static_cast<const void*>(sqlite3_column_text(row, column))
                                            : sqlite3_column_blob(row, column);
    body = {static_cast<const uint8_t*>(bytes), static_cast<size_t>(sqlite3_column_bytes(row, column))};
    out.u64(body.size());
  }
  hash.update(head);
  if (!body.empty()) hash.update(body);
}

Result<TableDigest> digest_rows(sqlite3* connection, const std::string& sql) {
  TILLSYNC_LET(const Query rows, query(connection, sql));
  TableDigest out;
  Sha256 hash;
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(rows.get())) == SQLITE_ROW) {
    ++out.rows;
    for (int column = 0; column < sqlite3_column_count(rows.get()); ++column) add_value(hash, rows.get(), column);
  }
  if (code != SQLITE_DONE) return pos::failure(connection, code, sql);
  out.digest = hash.finish().hex();
  return out;
}

Result<TableDigest> digest_table(sqlite3* connection, const std::string& table) {
  std::string name = table;
  for (size_t at = name.find('\''); at != name.npos; at = name.find('\'', at + 2)) name.insert(at, "'");
  TILLSYNC_LET(const auto columns,
               texts(connection, "SELECT name FROM pragma_table_xinfo('" + name + "') WHERE hidden<>1"));
  // Type before value, so that 1 and 1.0, which compare equal, have one order in both databases.
  std::string selected, order;
  for (size_t i = 0; i < columns.size(); ++i) {
    const std::string column = quoted(columns[i]);
    selected += (i > 0 ? "," : "") + column;
    order += (i > 0 ? ",typeof(" : "typeof(") + column + ")," + column + " COLLATE BINARY";
  }
  return digest_rows(connection, "SELECT " + selected + " FROM " + quoted(table) + " ORDER BY " + order);
}

using Digests = std::vector<std::pair<std::string, TableDigest>>;

Result<Digests> digest_database(sqlite3* connection) {
  Digests out;
  // The schema as one table more; root pages may differ.
  TILLSYNC_LET(
      auto schema,
      digest_rows(connection,
                  "SELECT type,name,tbl_name,sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1,2"));
  out.emplace_back("(schema)", std::move(schema));
  TILLSYNC_LET(
      const auto tables,
      texts(connection,
            "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_stat%' ORDER BY name"));
  for (const auto& table : tables) {
    TILLSYNC_LET(auto digest, digest_table(connection, table));
    out.emplace_back(table, std::move(digest));
  }
  return out;
}

}  // namespace

bool DatabaseComparison::is_equal() const {
  return integrity == "ok" && !tables.empty() &&
         std::all_of(tables.begin(), tables.end(), [](const TableComparison& table) { return table.is_equal(); });
}

uint64_t DatabaseComparison::rows() const {
  uint64_t sum = 0;
  for (const auto& table : tables)
    if (table.name != "(schema)") sum += table.found_rows;
  return sum;
}

Result<DatabaseComparison> compare_databases(const std::string& expected, const std::string& found) {
  TILLSYNC_LET(const auto left, pos::open_handle(expected, SQLITE_OPEN_READWRITE));
  TILLSYNC_LET(const auto right, pos::open_handle(found, SQLITE_OPEN_READWRITE));
  sqlite3_busy_timeout(left.get(), 5000);
  TILLSYNC_LET(const auto wanted, digest_database(left.get()));
  TILLSYNC_LET(const auto got, digest_database(right.get()));
  DatabaseComparison out;
  for (const auto& [name, digest] : wanted) out.tables.push_back({name, digest.rows, 0, digest.digest, ""});
  for (const auto& [name, digest] : got) {
    auto same =
        std::find_if(out.tables.begin(), out.tables.end(), [&](const auto& table) { return table.name == name; });
    if (same == out.tables.end()) same = out.tables.insert(out.tables.end(), TableComparison{name, 0, 0, "", ""});
    same->found_rows = digest.rows;
    same->found_digest = digest.digest;
  }
  TILLSYNC_LET(const auto problems, texts(right.get(), "PRAGMA integrity_check"));
  TILLSYNC_LET(const auto orphans, texts(right.get(), "PRAGMA foreign_key_check"));
  out.integrity = problems.empty() ? "no answer" : problems.front();
  if (out.integrity == "ok" && !orphans.empty())
    out.integrity = "a foreign key of " + orphans.front() + " points nowhere";
  return out;
}

}  // namespace tillsync
