// A random application: tables of every kind, transactions of every kind, changes of schema in between.
//
// Purpose: what the capture is compared against SQLite with. Everything comes from the seed. Statements may fail on
// constraints, as those of applications do; any other refusal by SQLite is an exception, which ends the writer.
// It keeps nothing that the database does not say: another process may change the schema, or go on after its death.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "sqlite/connection.h"
#include "support/seeded_random.h"

namespace tillsync::test {

// What must not fail in the writer, where there is no test to end.
template <class T>
T need(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().context);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class RandomDatabase {
 public:
  // first_name: names that it makes are numbered from here on. rows_max: about where it empties a table.
  RandomDatabase(Connection& app, SeededRandom& random, int first_name, uint64_t rows_max)
      : app_(app), random_(random), rows_max_(rows_max), names_(first_name) {}

  // Page size, encoding, auto-vacuum, journal mode: before the first table.
  static std::string file_pragmas(SeededRandom& random);
  // Of each connection.
  static std::string connection_pragmas(SeededRandom& random);
  void create();
  struct Done {
    bool committed = false;
    bool schema_kept = true;
  };
  Done transaction();
  // What is done outside of transactions: VACUUM, checkpoints, ANALYZE, …; false when it may change the schema.
  bool maintenance();
  // Called before each statement, with its text.
  std::function<void(const std::string& sql)> on_statement;

 private:
  struct Column {
    std::string name;  // quoted
    bool generated = false;
  };
  struct Table {
    std::string name;  // quoted
    std::vector<Column> columns;
    std::vector<std::string> key;  // quoted; empty: none but the rowid
    bool without_rowid = false;
  };
  bool run(const std::string& sql, bool may_be_refused = false);
  uint64_t below(uint64_t n) { return random_.below(n); }
  bool one_in(uint64_t n) { return random_.below(n) == 0; }
  std::string bytes(uint64_t size);
  std::string integer();
  std::string value();
  std::string new_name(const char* stem);
  std::string column_type(bool strict);
  Table& any() { return tables_[below(tables_.size())]; }
  const Column& stored(const Table& table);
  std::string some_rows(const Table& table, uint64_t rows);
  std::string values_row(const Table& table);
  std::string columns_of(const Table& table);
  void learn();
  void learn_if_changed();
  void make_table();
  void make_search();
  void change_rows();
  void insert(const Table& table);
  void insert_many(const Table& table);
  void update(const Table& table);
  void write_blob(const Table& table);
  void remove(const Table& table);
  void search();
  void change_schema();
  void rebuild(Table& table);
  void keep_small();

  Connection& app_;
  SeededRandom& random_;
  const uint64_t rows_max_;
  std::vector<Table> tables_;
  std::vector<std::string> indexes_;
  bool fts5_ = false, fts4_ = false, rtree_ = false;
  int names_ = 0;
  int64_t schema_version_ = -1;
};

}  // namespace tillsync::test
