// SQL steps that bring a restored database to a later version of the application's schema.
//
// Layout: a folder with files NNN_name.sql, NNN a number from 1 on (leading zeros do not count) that is the schema
// version afterwards. The numbers follow each other without a gap. Other files are not looked at, but a .sql file of
// another form is an error, because it may be a step that somebody mistyped.
// Effect: each file is run in one transaction, which also sets `PRAGMA user_version = NNN` if that is how the version
// is asked for; another query must answer NNN afterwards by the SQL's own doing. Foreign keys are not enforced on the
// way, as SQLite advises for changes of tables, but a step that leaves more violations than there were is refused. A
// step may neither begin nor end a transaction, nor attach another database.
// Errors: schema, with file, line and statement; usage for a folder that is not of this form; no_space and the like as
// SQLite says. A step that failed left nothing; those before it stay, each whole: the staged file is then of no use.
// Threads: one at a time.
#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "ports/clock.h"
#include "ports/files.h"
#include "sqlite/connection.h"

namespace tillsync {

struct MigrationStep {
  int64_t version = 0;  // of the schema afterwards
  std::string name;     // of the file
  std::string sql;
  Digest checksum;  // SHA-256 of the file
};

struct AppliedMigration {
  int64_t version = 0;
  std::string name;
  Digest checksum;
  Timestamp applied_at;
  Milliseconds elapsed{0};
};
Json to_json(const AppliedMigration& applied);  // {version, name, checksum, applied_at, elapsed_ms}

// How the version of a schema is asked for: the database's `schema_version`.
struct SchemaVersionQuery {
  std::string sql = "PRAGMA user_version";
  bool is_user_version() const;
  Result<int64_t> ask(Connection& db) const;
};

class SchemaMigrations {
 public:
  // All steps of the folder, by version.
  static Result<SchemaMigrations> read(FileSystem& files, const std::string& folder);
  const std::vector<MigrationStep>& steps() const { return steps_; }
  // The version that the last step leads to; 0 without steps.
  int64_t newest() const { return steps_.empty() ? 0 : steps_.back().version; }

  // Whether a snapshot of this version can be brought to the target. Asked before anything is fetched: schema, when the
  // snapshot is newer than the target, or a step on the way is not there.
  Result<void> check(int64_t snapshot_version, int64_t target_version) const;
  // Brings a staged database, which nobody else has open, from the version it has to the target.
  Result<std::vector<AppliedMigration>> apply(Connection& db, int64_t target_version, const SchemaVersionQuery& query,
                                              Clock& clock) const;
  // The same for a file. vfs: as for Connection::open().
  Result<std::vector<AppliedMigration>> apply(const std::string& path, const char* vfs, int64_t target_version,
                                              const SchemaVersionQuery& query, Clock& clock) const;

 private:
  std::vector<MigrationStep> steps_;
};

}  // namespace tillsync
