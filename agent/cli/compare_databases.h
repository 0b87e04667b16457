// Are two databases equal? The demo's own proof, which shares no code with capture, snapshots or restore.
//
// Purpose: for the schema and for each table, rows and the SHA-256 over type and value of every column of every row,
// rows ordered by all columns; on the side, SQLite's integrity_check and foreign keys of the restored one. Errors:
// those of SQLite; that databases differ is a result, not an error. Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace tillsync {

struct TableComparison {
  std::string name;
  uint64_t expected_rows = 0, found_rows = 0;
  std::string expected_digest, found_digest;  // hex; empty: no such table
  bool is_equal() const {
    return !expected_digest.empty() && expected_digest == found_digest && expected_rows == found_rows;
  }
};

struct DatabaseComparison {
  std::vector<TableComparison> tables;  // the schema first
  std::string integrity;                // "ok", or what is wrong with the found one
  bool is_equal() const;
  uint64_t rows() const;
};

Result<DatabaseComparison> compare_databases(const std::string& expected, const std::string& found);

}  // namespace tillsync
