// The application's schema, read without loading its file.
//
// Purpose: what the row decoder, the renderer, the digests and the replay must know of each table. The SQL texts of
// sqlite_schema are loaded, not run, by an empty in-memory database and asked for with PRAGMAs; the application's file
// is not opened. Functions and collations that only the application has need not be there.
// Errors: schema, with the object's name, when a CREATE TABLE can't be understood.
// Threads: values; read_schema() from any thread.
// Source: SQLite file format §2.3 (record order), §2.4 (WITHOUT ROWID), PRAGMA table_xinfo, index_xinfo, table_list.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

// A row of sqlite_schema; texts converted to UTF-8.
struct SchemaObject {
  std::string type, name, table_name;
  PageNo root = 0;
  std::optional<std::string> sql;
  bool same_definition(const SchemaObject& o) const {
    return type == o.type && name == o.name && table_name == o.table_name && sql == o.sql;
  }
};

enum class Affinity : uint8_t { blob, text, numeric, integer, real };

struct Column {
  std::string name;
  Affinity affinity = Affinity::blob;
  bool virtual_generated = false;  // not in the record
  bool stored_generated = false;   // in the record, not in INSERT
  Bytes default_record;            // one-field record of what a too short record means here; empty for NULL
};

struct ForeignKey {
  std::string parent_table;
  std::vector<int> columns;                 // of the child, in order
  std::vector<std::string> parent_columns;  // empty: the parent's primary key
};

struct Table {
  std::string name;
  PageNo root = 0;
  bool without_rowid = false;
  int rowid_alias = -1;             // column that is the rowid (INTEGER PRIMARY KEY), -1 for none
  std::vector<Column> columns;      // as declared
  std::vector<int> record_columns;  // column of each field of the record
  std::vector<int> key_columns;     // declared primary key, in key order; empty for none
  size_t key_fields = 0;            // WITHOUT ROWID: how many leading record fields are the key
  std::vector<ForeignKey> foreign_keys;

  // How an entity of this table is named: by the rowid, or by the values of key_columns.
  bool keyed_by_rowid() const { return rowid_alias >= 0 || (key_columns.empty() && !without_rowid); }
  bool has_declared_key() const { return rowid_alias >= 0 || !key_columns.empty(); }
  // sqlite_stat1 and its kin: hints of the query planner, replayed but shown nowhere.
  bool is_statistics() const { return name.starts_with("sqlite_stat"); }
  int field_of(int column) const;  // record field that holds a column, -1 when none does
  int column_named(std::string_view column) const;
};

class Schema {
 public:
  std::vector<SchemaObject> objects;  // in the order of sqlite_schema, without sqlite_schema itself
  std::vector<Table> tables;          // those that have a b-tree; virtual tables and views have none
  uint32_t text_encoding = 1;

  const Table* find(std::string_view name) const;
  // SHA-256 over type, name, tbl_name and sql of every object: root pages left out, so that VACUUM changes nothing.
  Digest digest() const;
  // Compact form kept in state.db and in segments (docs/formats.md, "Schema").
  Bytes encode() const;
  static Result<Schema> decode(ByteView bytes);
};

// objects: as found in sqlite_schema.
Result<Schema> read_schema(std::vector<SchemaObject> objects, uint32_t text_encoding);

// A text value of a database as UTF-8. encoding: 1 UTF-8, 2 UTF-16le, 3 UTF-16be. Lone surrogates become U+FFFD;
// `valid`, if given, says whether everything could be converted.
std::string text_to_utf8(ByteView text, uint32_t encoding, bool* valid = nullptr);

}  // namespace tillsync
