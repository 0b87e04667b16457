// Runs the application's CREATE statements in an empty in-memory database and asks SQLite what they mean.
#include <algorithm>
#include <set>

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

// Text after a fixed beginning of an SQLite message: the name of a missing function or collation.
std::optional<std::string> name_after(const std::string& message, std::string_view beginning) {
  auto at = message.find(beginning);
  if (at == std::string::npos) return std::nullopt;
  auto name = message.substr(at + beginning.size());
  return name.substr(0, name.find('('));
}

void stand_in_function(sqlite3_context* context, int, sqlite3_value**) {
  sqlite3_result_error(context, "a function of the application", -1);
}
int stand_in_collation(void*, int, const void*, int, const void*) { return 0; }

class Reader {
 public:
  static Result<Reader> create(uint32_t text_encoding) {
    Reader reader;
    TILLSYNC_LET(reader.db_,
                 Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY));
    // The same encoding, so that default values come out in the bytes the application's records hold.
    const char* names[] = {"UTF-8", "UTF-16le", "UTF-16be"};
    TILLSYNC_TRY(reader.db_.execute(std::string("PRAGMA encoding='") + names[text_encoding - 1] + "'"));
    sqlite3_db_config(reader.db_.handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
    // An application may rely on "double-quoted" strings in its schema.
    sqlite3_db_config(reader.db_.handle(), SQLITE_DBCONFIG_DQS_DDL, 1, nullptr);
    return reader;
  }

  Result<void> create_table(const SchemaObject& object) {
    for (int attempt = 0; attempt < 100; attempt++) {
      auto done = db_.execute(*object.sql);
      if (done) return {};
      std::string message = sqlite3_errmsg(db_.handle());
      // There is no error code that names the missing function; a wrong guess only repeats the error.
      if (auto function = name_after(message, "no such function: "); function && functions_.insert(*function).second) {
        sqlite3_create_function_v2(db_.handle(), function->c_str(), -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr,
                                   stand_in_function, nullptr, nullptr, nullptr);
      } else if (auto collation = name_after(message, "no such collation sequence: ");
                 collation && collations_.insert(*collation).second) {
        sqlite3_create_collation_v2(db_.handle(), collation->c_str(), SQLITE_UTF8, nullptr, stand_in_collation,
                                    nullptr);
      } else {
        return Error{ErrorKind::schema, done.error().code,
                     "table '" + object.name + "' can't be understood: " + message};
      }
    }
    return Error{ErrorKind::schema, 0, "table '" + object.name + "' needs too many functions of the application"};
  }

  Result<Table> describe(const SchemaObject& object) {
    Table table;
    table.name = object.name;
    table.root = object.root;
    bool strict = false;
    {
      TILLSYNC_LET(auto list, db_.prepare("SELECT wr, strict FROM pragma_table_list(?) WHERE schema='main'"));
      list.bind(1, table.name);
      TILLSYNC_LET(bool found, list.step());
      if (!found) return Error{ErrorKind::schema, 0, "table '" + table.name + "' is not what its SQL says"};
      table.without_rowid = list.integer(0) != 0;
      strict = list.integer(1) != 0;
    }
    std::vector<std::pair<int64_t, int>> key;  // position in the key, column
    std::string first_key_type;
    struct Default {
      size_t column;
      std::string expression, type;
    };
    std::vector<Default> defaults;
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
        if (!info.is_null(2) && info.integer(4) == 0) defaults.push_back({table.columns.size(), info.text(2), type});
        table.columns.push_back(std::move(column));
      }
    }
    for (auto& d : defaults) {
      TILLSYNC_LET(table.columns[d.column].default_record, default_of(d.expression, d.type, strict));
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
    TILLSYNC_TRY(read_foreign_keys(table));
    return table;
  }

 private:
  Reader() = default;

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

  // The value ADD COLUMN gives to rows that are too short, as a one-field record. An expression that needs the
  // application or the time can't be the default of such a row: SQLite refuses it in ADD COLUMN.
  Result<Bytes> default_of(const std::string& expression, const std::string& type, bool strict) {
    std::string column_type = strict && type == "ANY" ? "" : type;
    TILLSYNC_TRY(db_.execute("DROP TABLE IF EXISTS temp.tillsync_default"));
    auto made = db_.execute("CREATE TEMP TABLE tillsync_default(x " + column_type +
                            "); INSERT INTO temp.tillsync_default VALUES((" + expression + "))");
    if (!made) return Bytes();
    TILLSYNC_LET(auto query, db_.prepare("SELECT x, CAST(x AS BLOB) FROM temp.tillsync_default"));
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
  std::set<std::string> functions_, collations_;
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
  TILLSYNC_LET(auto reader, Reader::create(text_encoding));
  for (auto& object : objects) {
    if (object.type != "table" || is_virtual(object)) continue;
    if (auto columns = internal_columns(object.name)) {
      schema.tables.push_back(internal_table(object, *columns));
      continue;
    }
    if (!object.sql) return Error{ErrorKind::schema, 0, "table '" + object.name + "' has no SQL in sqlite_schema"};
    TILLSYNC_TRY(reader.create_table(object));
    TILLSYNC_LET(Table table, reader.describe(object));
    schema.tables.push_back(std::move(table));
  }
  schema.objects = std::move(objects);
  return schema;
}

}  // namespace tillsync
