// Puts the application's schema into an empty in-memory database and asks SQLite what it means.
//
// The texts are not run. They stand in sqlite_schema there as they do in the application's file, and SQLite loads them
// as it does when a file is opened: one CREATE TABLE each, under the name of its row, parsed and never executed. A
// store that somebody tampered with can make this fail, and nothing else. Functions and collations that only the
// application has need not exist for it.
#include <algorithm>

#include "dbfile/record.h"
#include "schema/schema.h"
#include "sqlite/connection.h"

namespace tillsync {

namespace {

// SQLite makes these itself; CREATE TABLE refuses their names.
std::optional<std::vector<std::string>> internal_columns(const std::string& name) {
  if (name == "sqlite_sequence") return {{"name", "seq"}};
  if (name == "sqlite_stat1") return {{"tbl", "idx", "stat"}};
  if (name == "sqlite_stat2") return {{"tbl", "idx", "sampleno", "sample"}};
  if (name == "sqlite_stat3") return {{"tbl", "idx", "neq", "nlt", "ndlt", "sample"}};
  if (name == "sqlite_stat4") return {{"tbl", "idx", "neq", "nlt", "ndlt", "sample"}};
  return std::nullopt;
}

// Source: "Datatypes in SQLite" §3.1, in its order.
Affinity affinity_of(std::string type, bool strict) {
  for (auto& c : type)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (strict && type == "ANY") return Affinity::blob;
  if (has("INT")) return Affinity::integer;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return Affinity::text;
  if (type.empty() || has("BLOB")) return Affinity::blob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return Affinity::real;
  return Affinity::numeric;
}

// Has nothing to compare: no table of ours has two rows.
int stand_in_collation(void*, int, const void*, int, const void*) { return 0; }
void make_collation(void*, sqlite3* db, int encoding, const char* name) {
  sqlite3_create_collation_v2(db, name, encoding, nullptr, stand_in_collation, nullptr);
}

class Reader {
 public:
  static Result<Reader> create(uint32_t text_encoding) {
    Reader reader;
    TILLSYNC_LET(reader.db_,
                 Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY));
    sqlite3* db = reader.db_.handle();
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
    sqlite3_collation_needed(db, nullptr, make_collation);
    // A CREATE VIRTUAL TABLE in the place of a table finds nothing that it could start.
    const char* no_modules[] = {nullptr};
    sqlite3_drop_modules(db, no_modules);
    // The same encoding, so that default values come out in the bytes the application's records hold.
    const char* names[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    TILLSYNC_TRY(reader.db_.execute(std::string("PRAGMA encoding='") + names[text_encoding - 1] + "'"));
    return reader;
  }

  // All tables share two root pages, one of each kind, with one row of one field: default_of() reads past its end.
  Result<void> load(const std::vector<const SchemaObject*>& tables) {
    TILLSYNC_TRY(
        db_.execute("CREATE TABLE r(x); INSERT INTO r VALUES(NULL);"
                    "CREATE TABLE w(x PRIMARY KEY) WITHOUT ROWID; INSERT INTO w VALUES(0)"));
    TILLSYNC_LET(int64_t rowid_root, db_.query_integer("SELECT rootpage FROM sqlite_schema WHERE name='r'"));
    TILLSYNC_LET(int64_t key_root, db_.query_integer("SELECT rootpage FROM sqlite_schema WHERE name='w'"));
    TILLSYNC_TRY(db_.execute("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema"));
    {
      TILLSYNC_LET(auto insert, db_.prepare("INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql)"
                                            " VALUES('table', ?1, ?1, ?2, ?3)"));
      for (const SchemaObject* table : tables)
        TILLSYNC_TRY(insert.bind(1, table->name).bind(2, rowid_root).bind(3, *table->sql).run());
    }
    TILLSYNC_TRY(reload());
    // Only now it is known which tables are WITHOUT ROWID.
    std::vector<std::string> keyed;
    {
      TILLSYNC_LET(auto list, db_.prepare("SELECT name FROM pragma_table_list WHERE schema='main' AND wr"));
      while (true) {
        TILLSYNC_LET(bool row, list.step());
        if (!row) break;
        keyed.push_back(list.text(0));
      }
    }
    if (keyed.empty()) return {};
    TILLSYNC_TRY(db_.execute("PRAGMA writable_schema=ON"));
    {
      TILLSYNC_LET(auto update, db_.prepare("UPDATE sqlite_schema SET rootpage=? WHERE name=?"));
      for (auto& name : keyed) TILLSYNC_TRY(update.bind(1, key_root).bind(2, name).run());
    }
    return reload();
  }

  Result<Table> describe(const SchemaObject& object) {
    Table table;
    table.name = object.name;
    table.root = object.root;
    bool strict = false;
    {
      TILLSYNC_LET(auto list, db_.prepare("SELECT wr, strict FROM pragma_table_list(?)"
                                          " WHERE schema='main' AND type IN ('table', 'shadow')"));
      list.bind(1, table.name);
      TILLSYNC_LET(bool found, list.step());
      if (!found) return Error{ErrorKind::schema, 0, "table '" + table.name + "' is not what its SQL says"};
      table.without_rowid = list.integer(0) != 0;
      strict = list.integer(1) != 0;
    }
    std::vector<std::pair<int64_t, int>> key;  // position in the key, column
    std::string first_key_type;
    std::vector<int> defaults;
    {
      TILLSYNC_LET(auto info,
                   db_.prepare("SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid"));
      info.bind(1, table.name);
      while (true) {
        TILLSYNC_LET(bool row, info.step());
        if (!row) break;
        Column column;
        column.name = info.text(0);
        std::string type = info.text(1);
        column.affinity = affinity_of(type, strict);
        column.virtual_generated = info.integer(4) == 2;
        column.stored_generated = info.integer(4) == 3;
        int at = static_cast<int>(table.columns.size());
        if (info.integer(3) > 0) {
          key.emplace_back(info.integer(3), at);
          first_key_type = type;
        }
        if (!info.is_null(2) && info.integer(4) == 0) defaults.push_back(at);
        table.columns.push_back(std::move(column));
      }
    }
    std::sort(key.begin(), key.end());
    for (auto& [position, column] : key) table.key_columns.push_back(column);
    for (auto& c : first_key_type)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    // "INTEGER PRIMARY KEY DESC" looks the same in table_xinfo but has an index of its own and is no alias.
    if (!table.without_rowid && key.size() == 1 && first_key_type == "INTEGER") {
      TILLSYNC_LET(auto index, primary_key_index(table.name));
      if (!index) table.rowid_alias = table.key_columns[0];
    }
    TILLSYNC_TRY(set_record_order(table));
    for (int column : defaults) {
      bool in_key = table.without_rowid && table.field_of(column) < static_cast<int>(table.key_fields);
      if (in_key || column == table.rowid_alias) continue;  // every record has it
      Column& c = table.columns[static_cast<size_t>(column)];
      TILLSYNC_LET(c.default_record, default_of(table, c.name));
    }
    TILLSYNC_TRY(read_foreign_keys(table));
    return table;
  }

 private:
  Reader() = default;

  // SQLite forgets the schema, and loads it when it is asked for.
  Result<void> reload() {
    TILLSYNC_TRY(db_.execute("PRAGMA writable_schema=RESET"));
    auto loaded = db_.prepare("SELECT 1 FROM sqlite_schema");
    if (loaded) return {};
    return Error{ErrorKind::schema, loaded.error().code,
                 std::string("the schema can't be understood: ") + sqlite3_errmsg(db_.handle())};
  }

  Result<std::optional<std::string>> primary_key_index(const std::string& table) {
    TILLSYNC_LET(auto list, db_.prepare("SELECT name FROM pragma_index_list(?) WHERE origin='pk'"));
    list.bind(1, table);
    TILLSYNC_LET(bool found, list.step());
    if (!found) return std::optional<std::string>();
    return std::optional<std::string>(list.text(0));
  }

  Result<void> set_record_order(Table& table) {
    std::vector<bool> placed(table.columns.size());
    if (table.without_rowid) {
      TILLSYNC_LET(auto index, primary_key_index(table.name));
      if (!index)
        return Error{ErrorKind::schema, 0, "table '" + table.name + "' is WITHOUT ROWID but has no primary key"};
      TILLSYNC_LET(auto info, db_.prepare("SELECT cid, key FROM pragma_index_xinfo(?) ORDER BY seqno"));
      info.bind(1, *index);
      while (true) {
        TILLSYNC_LET(bool row, info.step());
        if (!row) break;
        int column = static_cast<int>(info.integer(0));
        if (column < 0 || table.columns[static_cast<size_t>(column)].virtual_generated) continue;
        table.record_columns.push_back(column);
        placed[static_cast<size_t>(column)] = true;
        if (info.integer(1)) table.key_fields++;
      }
      // PRIMARY KEY(a, b, a): the record holds each column once.
      table.key_columns.assign(table.record_columns.begin(),
                               table.record_columns.begin() + static_cast<ptrdiff_t>(table.key_fields));
    }
    for (size_t i = 0; i < table.columns.size(); i++)
      if (!placed[i] && !table.columns[i].virtual_generated) table.record_columns.push_back(static_cast<int>(i));
    return {};
  }

  Result<void> read_foreign_keys(Table& table) {
    TILLSYNC_LET(
        auto list,
        db_.prepare("SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?) ORDER BY id, seq"));
    list.bind(1, table.name);
    int64_t current = -1;
    while (true) {
      TILLSYNC_LET(bool row, list.step());
      if (!row) return {};
      if (list.integer(0) != current) {
        current = list.integer(0);
        table.foreign_keys.push_back({list.text(1), {}, {}});
      }
      table.foreign_keys.back().columns.push_back(table.column_named(list.text(2)));
      if (!list.is_null(3)) table.foreign_keys.back().parent_columns.push_back(list.text(3));
    }
  }

  // What SQLite reads where a record ends before this column, as ADD COLUMN leaves it in the rows that were there.
  // Read, not worked out from the text: DEFAULT abc is 'abc', DEFAULT (1+2) is NULL in such a row, and the affinity
  // counts.
  // Only the tree of the table is there to be read: no index of it, which SQLite likes better where it holds the
  // column.
  Result<Bytes> default_of(const Table& table, const std::string& column) {
    std::string c = quote_identifier(column), how = " NOT INDEXED";
    if (table.without_rowid) {
      // Of these SQLite scans an index for all of NOT INDEXED.
      TILLSYNC_LET(auto key, primary_key_index(table.name));
      if (key) how = " INDEXED BY " + quote_identifier(*key);
    }
    TILLSYNC_LET(auto query, db_.prepare("SELECT " + c + ", CAST(" + c + " AS BLOB) FROM main." +
                                         quote_identifier(table.name) + how));
    TILLSYNC_LET(bool found, query.step());
    Bytes record;
    if (!found || query.is_null(0)) return record;
    sqlite3_stmt* handle = query.handle();
    Value v;
    switch (sqlite3_column_type(handle, 0)) {
      case SQLITE_INTEGER:
        v.type = ValueType::integer;
        v.integer = sqlite3_column_int64(handle, 0);
        break;
      case SQLITE_FLOAT:
        v.type = ValueType::real;
        v.real = sqlite3_column_double(handle, 0);
        break;
      // The cast keeps the bytes as the database holds them; reading as text would convert UTF-16.
      case SQLITE_TEXT:
        v.type = ValueType::text;
        v.bytes = query.blob(1);
        break;
      default:
        v.type = ValueType::blob;
        v.bytes = query.blob(0);
        break;
    }
    RecordWriter writer;
    writer.add(v);
    writer.finish(record);
    return record;
  }

  Connection db_;
};

Table internal_table(const SchemaObject& object, const std::vector<std::string>& names) {
  Table table;
  table.name = object.name;
  table.root = object.root;
  for (auto& name : names) {
    table.record_columns.push_back(static_cast<int>(table.columns.size()));
    Column column;
    column.name = name;
    table.columns.push_back(std::move(column));
  }
  return table;
}

bool is_virtual(const SchemaObject& object) { return object.type == "table" && object.root == 0; }

}  // namespace

Result<Schema> read_schema(std::vector<SchemaObject> objects, uint32_t text_encoding) {
  Schema schema;
  schema.text_encoding = text_encoding;
  std::vector<const SchemaObject*> texts;
  for (auto& object : objects) {
    if (object.type != "table" || is_virtual(object) || internal_columns(object.name)) continue;
    if (!object.sql) return Error{ErrorKind::schema, 0, "table '" + object.name + "' has no SQL in sqlite_schema"};
    texts.push_back(&object);
  }
  TILLSYNC_LET(auto reader, Reader::create(text_encoding));
  TILLSYNC_TRY(reader.load(texts));
  for (auto& object : objects) {
    if (object.type != "table" || is_virtual(object)) continue;
    if (auto columns = internal_columns(object.name)) {
      schema.tables.push_back(internal_table(object, *columns));
      continue;
    }
    TILLSYNC_LET(Table table, reader.describe(object));
    schema.tables.push_back(std::move(table));
  }
  schema.objects = std::move(objects);
  return schema;
}

}  // namespace tillsync
