// The tables of the random application, how it changes them, and how it learns what others changed.
#include "differential/random_database.h"

#include <algorithm>

namespace tillsync::test {

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

// The schema as it is now, whoever made it.
void RandomDatabase::learn() {
  tables_.clear();
  indexes_.clear();
  fts5_ = fts4_ = rtree_ = false;
  auto tables = need(app_.prepare(
      "SELECT m.name, l.wr, l.type FROM sqlite_schema m JOIN pragma_table_list l ON l.name=m.name AND "
      "l.schema='main' WHERE m.type='table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.rowid"));
  while (need(tables.step())) {
    const std::string name = tables.text(0), type = tables.text(2);
    fts5_ |= name == "search5";
    fts4_ |= name == "search4";
    rtree_ |= name == "area";
    if (type != "table") continue;
    Table table{quote_identifier(name), {}, {}, tables.integer(1) != 0};
    auto columns = need(app_.prepare("SELECT name, hidden, pk FROM pragma_table_xinfo(?) ORDER BY cid"));
    columns.bind(1, name);
    while (need(columns.step())) {
      table.columns.push_back({quote_identifier(columns.text(0)), columns.integer(1) != 0});
      const auto place = static_cast<size_t>(columns.integer(2));
      if (place == 0) continue;
      table.key.resize(std::max(table.key.size(), place));
      table.key[place - 1] = table.columns.back().name;
    }
    tables_.push_back(std::move(table));
  }
  auto indexes =
      need(app_.prepare("SELECT name FROM sqlite_schema WHERE type='index' AND sql IS NOT NULL ORDER BY rowid"));
  while (need(indexes.step())) indexes_.push_back(quote_identifier(indexes.text(0)));
  schema_version_ = need(app_.query_integer("PRAGMA schema_version"));
}

void RandomDatabase::learn_if_changed() {
  if (need(app_.query_integer("PRAGMA schema_version")) != schema_version_) learn();
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
  learn();
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
  if (table.name == "\"audit\"") return make_table();  // triggers of others know its columns
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

}  // namespace tillsync::test
