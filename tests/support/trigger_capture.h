// Capture as others do it: triggers and tables of their own in the application's database. What tillsync spares a till.
//
// Purpose: the other side of a benchmark. Three designs:
//   undo   one row a change, and the row as it was for UPDATE and DELETE
//   json   one row a change, with the row before and after as JSON text, and the time
//   full   one row a change, the time, and the row before and after in a table of images
// Threads: one.
#pragma once

#include <string>
#include <vector>

#include "agent/demo/pos_sqlite.h"

namespace tillsync::pos {

namespace triggers {

struct Column {
  std::string name;
  bool may_hold_blob;
};
struct Target {
  std::string name, row;  // row: the column that names a row, "rowid" where there is one
  std::vector<Column> columns;
};

inline Result<std::vector<Target>> targets(sqlite3* connection) {
  std::vector<Target> all;
  constexpr const char* kQuery =
      "SELECT l.name, l.wr, c.name, c.type IN ('', 'BLOB'), c.pk FROM pragma_table_list l, pragma_table_info(l.name) c "
      "WHERE l.schema='main' AND l.type='table' AND l.name NOT LIKE 'sqlite_%' AND l.name NOT LIKE 'cap_%' ORDER BY "
      "l.name, c.cid";
  sqlite3_stmt* raw = nullptr;
  if (int code = sqlite3_prepare_v2(connection, kQuery, -1, &raw, nullptr); code != SQLITE_OK)
    return failure(connection, code, "list the tables");
  auto text = [&](int column) { return std::string(reinterpret_cast<const char*>(sqlite3_column_text(raw, column))); };
  while (sqlite3_step(raw) == SQLITE_ROW) {
    if (all.empty() || all.back().name != text(0)) all.push_back({text(0), "rowid", {}});
    all.back().columns.push_back({text(2), sqlite3_column_int(raw, 3) != 0});
    if (sqlite3_column_int(raw, 1) != 0 && sqlite3_column_int(raw, 4) == 1) all.back().row = text(2);
  }
  sqlite3_finalize(raw);
  return all;
}

inline std::string list(const Target& target, const std::string& prefix) {
  std::string out;
  for (auto& column : target.columns) out += "," + prefix + column.name;
  return out;
}

// JSON has no BLOBs: what builds it in a trigger has to write them out.
inline std::string json(const Target& target, const std::string& side) {
  std::string out;
  for (auto& column : target.columns) {
    const std::string value = side + "." + column.name;
    out += (out.empty() ? "'" : ",'") + column.name + "',";
    out += column.may_hold_blob
               ? "CASE typeof(" + value + ") WHEN 'blob' THEN hex(" + value + ") ELSE " + value + " END"
               : value;
  }
  return "json_object(" + out + ")";
}

inline std::string trigger(const Target& target, const std::string& event, const std::string& body) {
  return "CREATE TRIGGER cap_" + event + "_" + target.name + " AFTER " + event + " ON " + target.name + " BEGIN " +
         body + " END;";
}

}  // namespace triggers

// design: undo, json or full. Once for a database.
inline Result<void> install_capture_triggers(sqlite3* connection, const std::string& design) {
  using namespace triggers;
  TILLSYNC_LET(auto all, targets(connection));
  std::string sql = "BEGIN IMMEDIATE;";
  if (design == "json")
    sql += "CREATE TABLE cap_log(seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl, op, row, before, after, at);";
  else
    sql += std::string("CREATE TABLE cap_log(seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl, op, row") +
           (design == "full" ? ", at);" : ");");
  int number = 0;
  for (auto& target : all) {
    const std::string n = std::to_string(++number), image = "cap_image_" + n;
    const std::string seq = "(SELECT max(seq) FROM cap_log)", old_row = "OLD." + target.row,
                      new_row = "NEW." + target.row;
    if (design == "json") {
      auto log = [&](const std::string& op, const std::string& row, const std::string& before,
                     const std::string& after) {
        return "INSERT INTO cap_log(tbl, op, row, before, after, at) VALUES('" + target.name + "','" + op + "'," + row +
               "," + before + "," + after + ",julianday('now'));";
      };
      sql += trigger(target, "INSERT", log("INSERT", new_row, "NULL", json(target, "NEW")));
      sql += trigger(target, "UPDATE", log("UPDATE", old_row, json(target, "OLD"), json(target, "NEW")));
      sql += trigger(target, "DELETE", log("DELETE", old_row, json(target, "OLD"), "NULL"));
      continue;
    }
    const bool full = design == "full";
    auto log = [&](int op, const std::string& row) {
      return std::string("INSERT INTO cap_log(tbl, op, row") + (full ? ", at" : "") + ") VALUES(" + n + "," +
             std::to_string(op) + "," + row + (full ? ",julianday('now'));" : ");");
    };
    auto keep = [&](const std::string& key, const std::string& side) {
      return "INSERT INTO " + image + " VALUES(" + key + list(target, side) + ");";
    };
    if (full) {
      sql += "CREATE TABLE " + image + "(seq, side" + list(target, "") + ", PRIMARY KEY(seq, side)) WITHOUT ROWID;";
      sql += trigger(target, "INSERT", log(1, new_row) + keep(seq + ",1", "NEW."));
      sql += trigger(target, "UPDATE", log(2, old_row) + keep(seq + ",0", "OLD.") + keep(seq + ",1", "NEW."));
      sql += trigger(target, "DELETE", log(3, old_row) + keep(seq + ",0", "OLD."));
    } else {
      sql += "CREATE TABLE " + image + "(seq INTEGER PRIMARY KEY" + list(target, "old_") + ");";
      sql += trigger(target, "INSERT", log(1, new_row));
      sql += trigger(target, "UPDATE", log(2, old_row) + keep("last_insert_rowid()", "OLD."));
      sql += trigger(target, "DELETE", log(3, old_row) + keep("last_insert_rowid()", "OLD."));
    }
  }
  return run(connection, sql + "COMMIT");
}

}  // namespace tillsync::pos
