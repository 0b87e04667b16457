#include "differential/random_database.h"

#include <algorithm>
#include <iterator>

namespace tillsync::test {

// False when it failed on a constraint, or on anything where that may happen.
bool RandomDatabase::run(const std::string& sql, bool may_be_refused) {
  if (on_statement) on_statement(sql);
  int code = sqlite3_exec(app_.handle(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return true;
  int primary = code & 0xff;
  // A key that others refer to may be gone since. AUTOINCREMENT runs full behind the largest rowid.
  const bool mismatch = std::string_view(sqlite3_errmsg(app_.handle())).starts_with("foreign key mismatch") ||
                        std::string_view(sqlite3_errmsg(app_.handle())).starts_with("no such");
  bool expected = primary == SQLITE_CONSTRAINT || mismatch || primary == SQLITE_MISMATCH || primary == SQLITE_TOOBIG ||
                  primary == SQLITE_FULL ||
                  (may_be_refused && (primary == SQLITE_ERROR || primary == SQLITE_LOCKED || primary == SQLITE_BUSY));
  if (!expected) throw std::runtime_error(std::string(sqlite3_errmsg(app_.handle())) + " in " + sql.substr(0, 2000));
  return false;
}

const RandomDatabase::Column& RandomDatabase::stored(const Table& table) {
  while (true) {
    const Column& column = table.columns[below(table.columns.size())];
    if (!column.generated) return column;
  }
}

std::string RandomDatabase::columns_of(const Table& table) {
  std::string list;
  for (auto& column : table.columns)
    if (!column.generated) list += (list.empty() ? "" : ", ") + column.name;
  return list;
}

std::string RandomDatabase::values_row(const Table& table) {
  std::string list;
  for (auto& column : table.columns) {
    if (column.generated) continue;
    bool rowid = !table.key.empty() && column.name == table.key[0] && column.name.starts_with("\"id");
    list += (list.empty() ? "" : ", ") + (rowid ? (one_in(3) ? "NULL" : integer()) : value());
  }
  return "(" + list + ")";
}

// A condition that a few neighbouring rows meet.
std::string RandomDatabase::some_rows(const Table& table, uint64_t rows) {
  std::string name = "rowid";
  if (table.without_rowid) {
    name.clear();
    for (auto& field : table.key) name += (name.empty() ? "" : ", ") + field;
  }
  return "(" + name + ") IN (SELECT " + name + " FROM " + table.name + " LIMIT " + std::to_string(1 + below(rows)) +
         " OFFSET " + std::to_string(below(60)) + ")";
}

void RandomDatabase::insert(const Table& table) {
  static const char* how[] = {"INSERT",           "INSERT",        "INSERT OR REPLACE", "INSERT OR REPLACE",
                              "INSERT OR IGNORE", "INSERT OR FAIL"};
  std::string sql = std::string(how[below(std::size(how))]) + " INTO " + table.name + "(" + columns_of(table) +
                    ") VALUES" + values_row(table);
  for (uint64_t more = below(3); more > 0; more--) sql += ", " + values_row(table);
  if (!table.key.empty() && one_in(4)) sql += " ON CONFLICT DO UPDATE SET " + stored(table).name + "=" + value();
  run(sql);
}

void RandomDatabase::insert_many(const Table& table) {
  std::string list;
  const std::string size = std::to_string(below(one_in(3) ? 600 : 40));
  for (auto& column : table.columns) {
    if (column.generated) continue;
    bool in_key = std::find(table.key.begin(), table.key.end(), column.name) != table.key.end();
    list += (list.empty() ? "" : ", ");
    list += in_key ? (one_in(2) || column.name.starts_with("\"id") ? "n*" + std::to_string(1 + below(9)) : "'key' || n")
                   : (one_in(3) ? "zeroblob(n%7+" + size + ")" : value());
  }
  run("INSERT OR REPLACE INTO " + table.name + "(" + columns_of(table) + ") WITH RECURSIVE g(n) AS (SELECT " +
      std::to_string(below(300)) + " UNION ALL SELECT n+1 FROM g LIMIT " +
      std::to_string(1 + below(one_in(20) ? 400 : 40)) + ") SELECT " + list + " FROM g");
}

void RandomDatabase::update(const Table& table) {
  const std::string column = stored(table).name, how = one_in(3)   ? "UPDATE OR REPLACE "
                                                       : one_in(3) ? "UPDATE OR IGNORE "
                                                                   : "UPDATE ";
  std::string to = value();
  switch (below(5)) {
    // Of the same size: SQLite writes only the overflow pages that differ.
    case 0:
      to = "CASE WHEN typeof(" + column + ")='blob' THEN substr(" + bytes(6000) + ", 1, length(" + column + ")) ELSE " +
           column + " END";
      break;
    case 1: to = column; break;
    default: break;
  }
  run(how + table.name + " SET " + column + "=" + to + " WHERE " + some_rows(table, 6));
}

// Incremental writes go past every trigger, and only into the pages they hit.
void RandomDatabase::write_blob(const Table& table) {
  if (table.without_rowid) return;
  std::optional<int64_t> rowid;
  {
    auto query = need(app_.prepare("SELECT rowid FROM " + table.name + " LIMIT 1 OFFSET " + std::to_string(below(40))));
    if (need(query.step())) rowid = query.integer(0);
  }
  if (!rowid) return;
  auto plain = [](const std::string& quoted) {
    std::string out = quoted.substr(1, quoted.size() - 2);
    for (size_t at = 0; (at = out.find("\"\"", at)) != std::string::npos; at++) out.erase(at, 1);
    return out;
  };
  if (table.name.front() != '"') return;
  sqlite3_blob* blob = nullptr;
  if (sqlite3_blob_open(app_.handle(), "main", plain(table.name).c_str(), plain(stored(table).name).c_str(), *rowid, 1,
                        &blob) == SQLITE_OK) {
    int size = sqlite3_blob_bytes(blob);
    if (size > 0) {
      Bytes raw(1 + below(std::min(size, 700)));
      random_.fill(raw);
      raw[0] |=
          0x80;  // no digits: a text that became a number that way in a column of numbers can't be put back by SQL
      if (sqlite3_blob_write(blob, raw.data(), static_cast<int>(raw.size()),
                             static_cast<int>(below(static_cast<uint64_t>(size) - raw.size() + 1))) != SQLITE_OK)
        throw std::runtime_error("a blob can\'t be written");
    }
  }
  sqlite3_blob_close(blob);
}

void RandomDatabase::remove(const Table& table) {
  if (one_in(25)) {
    run("DELETE FROM " + table.name);
  } else {
    run("DELETE FROM " + table.name + " WHERE " + some_rows(table, one_in(4) ? 60 : 4));
  }
}

void RandomDatabase::search() {
  const std::string id = std::to_string(below(60));
  if (fts5_)
    run(one_in(3)   ? "DELETE FROM search5 WHERE rowid=" + id
        : one_in(9) ? "INSERT INTO search5(search5) VALUES('optimize')"
                    : "INSERT INTO search5(body, title) VALUES('word" + id + " and more', 'title" + id + "')");
  if (fts4_)
    run(one_in(3) ? "DELETE FROM search4 WHERE docid=" + id : "INSERT INTO search4(body) VALUES('word" + id + "')");
  if (rtree_)
    run(one_in(3) ? "DELETE FROM area WHERE id=" + id
                  : "INSERT OR REPLACE INTO area VALUES(" + id + ", " + id + ", " + id + "+1)");
}

void RandomDatabase::change_rows() {
  const Table& table = any();
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
    case 3: return insert(table);
    case 4: return insert_many(table);
    case 5:
    case 6:
    case 7: return update(table);
    case 8: return write_blob(table);
    case 9: return search();
    default: return remove(table);
  }
}

// The comparison reads every row after every transaction.
void RandomDatabase::keep_small() {
  const Table& table = any();
  if (need(app_.query_integer("SELECT count(*) FROM " + table.name)) > static_cast<int64_t>(rows_max_))
    run("DELETE FROM " + table.name + " WHERE " + some_rows(table, 1) + " OR " + stored(table).name + " IS NOT NULL");
}

RandomDatabase::Done RandomDatabase::transaction() {
  learn_if_changed();
  const bool schema = one_in(40);
  const std::vector<Table> before = tables_;
  run("BEGIN");
  // SQLite itself undoes a transaction when a rowid can't be had.
  auto is_open = [&] { return sqlite3_get_autocommit(app_.handle()) == 0; };
  for (uint64_t n = 1 + below(5); n > 0 && is_open(); n--) change_rows();
  if (is_open()) keep_small();
  if (schema && is_open()) {
    change_schema();
    if (is_open()) change_rows();
  }
  if (is_open() && one_in(12)) {
    run("SAVEPOINT part");
    change_rows();
    if (is_open()) run("ROLLBACK TO part; RELEASE part");
  }
  const bool committed = is_open() && !one_in(30) && run("COMMIT");
  if (is_open()) run("ROLLBACK");
  if (!committed) tables_ = before;
  return {committed, !schema};
}

bool RandomDatabase::maintenance() {
  learn_if_changed();
  switch (below(8)) {
    case 0: {
      // Pages of another size or with another bookkeeping, where the journal mode allows it.
      static const char* sizes[] = {"512", "1024", "4096", "8192"};
      static const char* kinds[] = {"NONE", "FULL", "INCREMENTAL"};
      if (one_in(2)) run("PRAGMA page_size=" + std::string(sizes[below(std::size(sizes))]));
      if (one_in(2)) run("PRAGMA auto_vacuum=" + std::string(kinds[below(std::size(kinds))]));
      run("VACUUM", true);
      return false;
    }
    case 1: run("ANALYZE", true); return false;
    case 2: run("REINDEX", true); return true;
    case 3: run("PRAGMA incremental_vacuum(3)"); return true;
    case 4: run("PRAGMA wal_checkpoint(PASSIVE)", true); return true;
    case 5: run("PRAGMA wal_checkpoint(FULL)", true); return true;
    case 6: run("PRAGMA wal_checkpoint(RESTART)", true); return true;
    default: run("PRAGMA wal_checkpoint(TRUNCATE)", true); return true;
  }
}

}  // namespace tillsync::test
