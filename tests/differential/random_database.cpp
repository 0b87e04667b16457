#include "differential/random_database.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "support/results.h"

namespace tillsync::test {

std::string RandomDatabase::pragmas(SeededRandom& random) {
  auto one_of = [&](std::initializer_list<const char*> all) {
    return std::string(all.begin()[random.below(all.size())]);
  };
  std::string sql =
      "PRAGMA page_size=" + one_of({"512", "512", "1024", "1024", "2048", "4096", "4096", "8192", "65536"}) +
      "; PRAGMA encoding='" + one_of({"UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"}) +
      "'; PRAGMA auto_vacuum=" + one_of({"NONE", "NONE", "FULL", "INCREMENTAL"}) +
      "; PRAGMA secure_delete=" + one_of({"OFF", "ON", "FAST"}) + "; PRAGMA synchronous=OFF; ";
  sql += "PRAGMA journal_mode=" + one_of({"WAL", "WAL", "WAL", "WAL", "WAL", "DELETE", "PERSIST"}) + "; ";
  sql += "PRAGMA foreign_keys=" + one_of({"ON", "OFF"}) + "; ";
  sql += "PRAGMA cache_size=" + one_of({"10", "2000"}) + "; ";  // a small cache spills frames before the commit
  sql += "PRAGMA wal_autocheckpoint=" + one_of({"0", "20", "1000"}) + ";";
  return sql;
}

// False when it failed on a constraint, or on anything where that may happen.
bool RandomDatabase::run(const std::string& sql, bool may_be_refused) {
  int code = sqlite3_exec(app_.handle(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return true;
  int primary = code & 0xff;
  // A key that others refer to may be gone since. AUTOINCREMENT runs full behind the largest rowid.
  const bool mismatch = std::string_view(sqlite3_errmsg(app_.handle())).starts_with("foreign key mismatch") ||
                        std::string_view(sqlite3_errmsg(app_.handle())).starts_with("no such");
  bool expected = primary == SQLITE_CONSTRAINT || mismatch || primary == SQLITE_MISMATCH || primary == SQLITE_TOOBIG ||
                  primary == SQLITE_FULL ||
                  (may_be_refused && (primary == SQLITE_ERROR || primary == SQLITE_LOCKED || primary == SQLITE_BUSY));
  if (!expected) FAIL("SQL: " << std::string(sqlite3_errmsg(app_.handle())) << " in " << sql.substr(0, 2000));
  return false;
}

std::string RandomDatabase::bytes(uint64_t size) {
  Bytes raw(size);
  random_.fill(raw);
  return "x'" + to_hex(raw) + "'";
}

std::string RandomDatabase::integer() {
  static const char* borders[] = {"0",
                                  "1",
                                  "-1",
                                  "127",
                                  "128",
                                  "-128",
                                  "-129",
                                  "32767",
                                  "32768",
                                  "-32769",
                                  "8388607",
                                  "8388608",
                                  "-8388609",
                                  "2147483647",
                                  "2147483648",
                                  "-2147483649",
                                  "140737488355327",
                                  "140737488355328",
                                  "-140737488355329",
                                  "9223372036854775807",
                                  "-9223372036854775807-1"};
  return one_in(3) ? borders[below(std::size(borders))] : std::to_string(below(200));
}

std::string RandomDatabase::value() {
  static const uint64_t sizes[] = {0, 1, 7, 30, 120, 450, 450, 1100, 5000};
  switch (below(14)) {
    case 0: return "NULL";
    case 1:
    case 2:
    case 3: return integer();
    case 4: return std::to_string(below(1000)) + "." + std::to_string(below(100));
    case 5: {
      static const char* odd[] = {"9e999", "-9e999", "9e999-9e999", "0.0",
                                  "-0.0",  "3.0",    "1e300",       "4611686018427387904.0"};
      return odd[below(std::size(odd))];
    }
    case 6:
    case 7: return "'k" + std::to_string(below(120)) + "'";
    case 8: return "'" + std::string(sizes[below(std::size(sizes))], static_cast<char>('a' + below(26))) + "'";
    case 9: {
      static const char* odd[] = {"''",
                                  "'12'",
                                  "' 5 '",
                                  "'1e3'",
                                  "'0x10'",
                                  "'Äpfel €'",
                                  "'A'",
                                  "'a'",
                                  "'a  '",
                                  "CAST(x'ff4180' AS TEXT)",
                                  "CAST(x'00d841' AS TEXT)",
                                  "x''",
                                  "'x' || char(0) || 'y'"};
      return odd[below(std::size(odd))];
    }
    case 10: return "zeroblob(" + std::to_string(sizes[below(std::size(sizes))]) + ")";
    case 11: return one_in(200) ? bytes(100000) : bytes(sizes[below(std::size(sizes))]);
    default: return bytes(sizes[below(5)]);
  }
}

std::string RandomDatabase::new_name(const char* stem) {
  static const char* kinds[] = {"", " of day", "\"q", "Ü", "-ORDER"};
  return quote_identifier(stem + std::to_string(++names_) + kinds[one_in(3) ? below(std::size(kinds)) : 0]);
}

std::string RandomDatabase::column_type(bool strict) {
  static const char* strict_types[] = {"INTEGER", "INT", "TEXT", "REAL", "BLOB", "ANY"};
  static const char* types[] = {"INTEGER", "INT", "TEXT",        "REAL",          "BLOB",
                                "NUMERIC", "",    "VARCHAR(20)", "DECIMAL(10,2)", "DOUBLE"};
  return strict ? strict_types[below(std::size(strict_types))] : types[below(std::size(types))];
}

void RandomDatabase::make_table() {
  Table table;
  table.name = new_name("t");
  const bool strict = one_in(6);
  const uint64_t kind = below(9), count = one_in(15) ? 40 + below(60) : 1 + below(6);
  std::string sql = "CREATE TABLE " + table.name + "(", constraints, suffix = strict ? " STRICT" : "";
  static const char* collations[] = {"", "", " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY"};
  auto add = [&](const std::string& name, const std::string& rest) {
    if (!table.columns.empty()) sql += ", ";
    sql += name + " " + rest;
    table.columns.push_back({name, false});
  };
  if (kind <= 2) {
    std::string id = new_name("id");
    add(id, kind == 0   ? "INTEGER PRIMARY KEY"
            : kind == 1 ? "INTEGER PRIMARY KEY AUTOINCREMENT"
                        : "INTEGER PRIMARY KEY DESC");
    table.key = {id};
  }
  for (uint64_t i = 0; i < count || table.columns.empty(); i++) {
    std::string rest = column_type(strict);
    if (one_in(5)) rest += collations[below(std::size(collations))];
    if (one_in(8)) rest += " DEFAULT " + std::string(one_in(2) ? "'d'" : "17");
    if (one_in(12)) rest += " NOT NULL DEFAULT 5";
    if (one_in(25)) rest += " UNIQUE";
    if (!strict && one_in(12) && !tables_.empty()) {
      for (auto& parent : tables_) {
        if (parent.key.size() != 1) continue;
        static const char* actions[] = {"CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION"};
        rest += " REFERENCES " + parent.name + "(" + parent.key[0] + ") ON DELETE " + actions[below(4)] +
                " ON UPDATE " + actions[below(4)];
        if (one_in(2)) rest += " DEFERRABLE INITIALLY DEFERRED";
        break;
      }
    }
    add(new_name("c"), rest);
  }
  if (kind >= 3 && kind <= 6) {
    // A declared key of one to three columns, of a rowid table or of a tree of its own.
    const uint64_t fields = 1 + below(std::min<uint64_t>(3, table.columns.size()));
    constraints = ", PRIMARY KEY(";
    for (uint64_t i = 0; i < fields; i++) {
      const std::string& name = table.columns[table.columns.size() - 1 - i].name;
      constraints += (i ? ", " : "") + name + (one_in(3) ? collations[below(std::size(collations))] : "") +
                     (one_in(5) ? " DESC" : "");
      table.key.push_back(name);
    }
    constraints += ")";
    table.without_rowid = kind >= 5;
    if (table.without_rowid) suffix += strict ? ", WITHOUT ROWID" : " WITHOUT ROWID";
  }
  if (one_in(5)) {
    const std::string source = table.columns.back().name, virtual_name = new_name("g"), stored_name = new_name("g");
    const std::string type = strict ? "ANY" : "";
    sql += ", " + virtual_name + " " + type + " AS (coalesce(" + source + ", 'none'))" + ", " + stored_name + " " +
           type + " AS (typeof(" + source + ")) STORED";
    table.columns.push_back({virtual_name, true});
    table.columns.push_back({stored_name, true});
  }
  if (run(sql + constraints + ")" + suffix, true)) tables_.push_back(table);
}

void RandomDatabase::make_search() {
  if (one_in(4) && run("CREATE VIRTUAL TABLE search5 USING fts5(body, title)", true)) fts5_ = true;
  if (one_in(4) && run("CREATE VIRTUAL TABLE search4 USING fts4(body)", true)) fts4_ = true;
  if (one_in(4) && run("CREATE VIRTUAL TABLE area USING rtree(id, x0, x1)", true)) rtree_ = true;
}

void RandomDatabase::create() {
  for (uint64_t n = 3 + below(5); n > 0 || tables_.empty(); n -= n > 0) make_table();
  make_search();
  run("CREATE TABLE audit(what, at)");
  tables_.push_back({"audit", {{"what", false}, {"at", false}}, {}, false});
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
    auto query = must(app_.prepare("SELECT rowid FROM " + table.name + " LIMIT 1 OFFSET " + std::to_string(below(40))));
    if (must(query.step())) rowid = query.integer(0);
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
      CHECK(sqlite3_blob_write(blob, raw.data(), static_cast<int>(raw.size()),
                               static_cast<int>(below(static_cast<uint64_t>(size) - raw.size() + 1))) == SQLITE_OK);
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
  if (must(app_.query_integer("SELECT count(*) FROM " + table.name)) > 250)
    run("DELETE FROM " + table.name + " WHERE " + some_rows(table, 1) + " OR " + stored(table).name + " IS NOT NULL");
}

// Make anew, copy, drop, rename: how SQLite's documentation changes a table.
void RandomDatabase::rebuild(Table& table) {
  const std::string made = new_name("n"), list = columns_of(table);
  if (!run("CREATE TABLE " + made + " AS SELECT " + list + " FROM " + table.name, true)) return;
  if (!run("DROP TABLE " + table.name, true)) {
    run("DROP TABLE " + made);
    return;
  }
  std::erase_if(table.columns, [](const Column& c) { return c.generated; });
  table.key.clear();
  table.without_rowid = false;
  if (!run("ALTER TABLE " + made + " RENAME TO " + table.name, true)) table.name = made;
}

void RandomDatabase::change_schema() {
  const size_t at = below(tables_.size());
  Table& table = tables_[at];
  if (table.name == "audit") return make_table();  // triggers of others know its columns
  switch (below(13)) {
    case 0: return make_table();
    case 1:
      if (tables_.size() > 4 && run("DROP TABLE " + table.name, true))
        tables_.erase(tables_.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    case 2:
    case 3: {
      const std::string name = new_name("a");
      static const char* rests[] = {" TEXT DEFAULT 'late'",      "",
                                    " INTEGER DEFAULT 7",        " REAL DEFAULT 3",
                                    " BLOB DEFAULT x'0102'",     " NUMERIC DEFAULT '12'",
                                    " TEXT NOT NULL DEFAULT 12", " DEFAULT NULL"};
      if (run("ALTER TABLE " + table.name + " ADD COLUMN " + name + rests[below(std::size(rests))], true))
        table.columns.push_back({name, false});
      return;
    }
    case 4: {
      const std::string name = new_name("r");
      Column& column = table.columns[below(table.columns.size())];
      if (column.name.starts_with("\"id") ||
          !run("ALTER TABLE " + table.name + " RENAME COLUMN " + column.name + " TO " + name, true))
        return;
      for (auto& field : table.key)
        if (field == column.name) field = name;
      column.name = name;
      return;
    }
    case 5: {
      const std::string name = new_name("t");
      if (run("ALTER TABLE " + table.name + " RENAME TO " + name, true)) table.name = name;
      return;
    }
    case 6: {
      const size_t c = below(table.columns.size());
      size_t kept = 0;
      for (auto& column : table.columns) kept += !column.generated;
      if (kept > 1 && run("ALTER TABLE " + table.name + " DROP COLUMN " + table.columns[c].name, true))
        table.columns.erase(table.columns.begin() + static_cast<std::ptrdiff_t>(c));
      return;
    }
    case 7:
    case 8: {
      const std::string name = new_name("i"), column = stored(table).name;
      static const char* forms[] = {"", " DESC", " COLLATE NOCASE"};
      std::string sql = std::string("CREATE ") + (one_in(5) ? "UNIQUE " : "") + "INDEX " + name + " ON " + table.name +
                        "(" + (one_in(4) ? "length(" + column + ")" : column + forms[below(3)]) + ")";
      if (one_in(4)) sql += " WHERE " + column + " IS NOT NULL";
      if (run(sql, true)) indexes_.push_back(name);
      return;
    }
    case 9:
      if (!indexes_.empty()) {
        run("DROP INDEX IF EXISTS " + indexes_.back());
        indexes_.pop_back();
      }
      return;
    case 10: run("CREATE VIEW " + new_name("v") + " AS SELECT * FROM " + table.name, true); return;
    case 11:
      run("CREATE TRIGGER " + new_name("w") + " AFTER UPDATE ON " + table.name +
              " BEGIN INSERT INTO audit VALUES('seen', " + integer() + "); END",
          true);
      return;
    default: rebuild(table); return;
  }
}

bool RandomDatabase::transaction() {
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
  return !schema;
}

bool RandomDatabase::maintenance() {
  switch (below(6)) {
    case 0: run("VACUUM", true); return false;
    case 1: run("ANALYZE", true); return false;
    case 2: run("REINDEX", true); return true;
    case 3: run("PRAGMA incremental_vacuum(3)"); return true;
    case 4: run("PRAGMA wal_checkpoint(RESTART)", true); return true;
    default: run("PRAGMA wal_checkpoint(TRUNCATE)", true); return true;
  }
}

}  // namespace tillsync::test
