#include "state/migrations.h"

#include "crypto/hash.h"

namespace tillsync {

namespace {

// Times are milliseconds since 1970 UTC. Ids of rows that belong to a database's log are scoped_id(database, number).
constexpr const char* kInitialSchema = R"sql(
CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One row a followed database: identity, position in its WAL, and how far the log has come.
CREATE TABLE databases(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  path TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  baseline_at INTEGER,                        -- NULL until the replica is whole
  page_size INTEGER NOT NULL DEFAULT 0,
  page_count INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 1,      -- counts snapshots; stamps pages that change
  schema_id INTEGER,
  sequence INTEGER NOT NULL DEFAULT 0,
  transaction_no INTEGER NOT NULL DEFAULT 0,
  last_capture_at INTEGER,
  flushed_sequence INTEGER NOT NULL DEFAULT 0, -- last sequence in a sealed segment
  durable_sequence INTEGER NOT NULL DEFAULT 0, -- last sequence in a segment the store holds
  replica_number INTEGER NOT NULL DEFAULT 0,  -- names the replica's files
  source TEXT NOT NULL DEFAULT 'none',        -- none, wal, scan
  wal_salt1 INTEGER NOT NULL DEFAULT 0,
  wal_salt2 INTEGER NOT NULL DEFAULT 0,
  wal_frame INTEGER NOT NULL DEFAULT 0,
  wal_checksum1 INTEGER NOT NULL DEFAULT 0,
  wal_checksum2 INTEGER NOT NULL DEFAULT 0,
  change_counter INTEGER NOT NULL DEFAULT 0,
  file_identity BLOB                          -- device, inode, size, mtime of the database file, and the place in the log, when all was captured
);

CREATE TABLE capture_sessions(id INTEGER PRIMARY KEY, database_id INTEGER NOT NULL, uuid TEXT NOT NULL UNIQUE, started_at INTEGER NOT NULL);

-- The application's schema as SQL, one row a version; sequence: the SCHEMA action that brought it, 0 for the baseline.
CREATE TABLE schemas(
  id INTEGER PRIMARY KEY, database_id INTEGER NOT NULL, sequence INTEGER NOT NULL, sha256 BLOB NOT NULL, body BLOB NOT NULL,
  recorded_at INTEGER NOT NULL);

CREATE TABLE tracked_tables(id INTEGER PRIMARY KEY, database_id INTEGER NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL DEFAULT 0,
  digest BLOB NOT NULL, live INTEGER NOT NULL DEFAULT 1, UNIQUE(database_id, name));

CREATE TABLE transactions(
  id INTEGER PRIMARY KEY,                     -- scoped transaction number
  first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
  captured_at INTEGER NOT NULL, session_id INTEGER NOT NULL, flags INTEGER NOT NULL, schema_id INTEGER NOT NULL);

CREATE TABLE action_log(
  id INTEGER PRIMARY KEY,                     -- scoped sequence
  transaction_no INTEGER NOT NULL,
  table_id INTEGER NOT NULL,
  action INTEGER NOT NULL,                    -- 1 CREATE, 2 UPDATE, 3 DELETE, 4 SCHEMA, 5 RENUMBER, 6 RESTORE
  row_id INTEGER, previous_row_id INTEGER,    -- NULL for WITHOUT ROWID
  entity_key BLOB,
  entity_created INTEGER NOT NULL DEFAULT 0,  -- sequence that created the entity, 0 for the baseline
  version INTEGER NOT NULL DEFAULT 0,
  dependencies BLOB,                          -- LEB128, each as this sequence minus the dependency's
  data BLOB, previous_data BLOB);             -- SQLite records

-- Every table's digest at a change of schema, where the next ones are counted anew: the end of a segment.
CREATE TABLE digest_points(id INTEGER PRIMARY KEY, body BLOB NOT NULL);

-- Rows of sqlite_stat tables: replayed, but no actions.
CREATE TABLE hidden_rows(id INTEGER PRIMARY KEY AUTOINCREMENT, database_id INTEGER NOT NULL, transaction_no INTEGER NOT NULL, table_name TEXT NOT NULL,
  action INTEGER NOT NULL, row_id INTEGER, data BLOB, previous_data BLOB);
CREATE INDEX hidden_rows_by_transaction ON hidden_rows(database_id, transaction_no);

-- Entities that changed since the baseline. An untouched row needs none: its uuid is derived.
CREATE TABLE entity_uuids(
  table_id INTEGER NOT NULL, entity_key BLOB NOT NULL,
  created_sequence INTEGER NOT NULL, version INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted INTEGER NOT NULL,
  PRIMARY KEY(table_id, entity_key)) WITHOUT ROWID;

-- Pages whose change is committed here and not yet written to the replica file (docs/formats.md, "Redo").
CREATE TABLE redo(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, generation INTEGER NOT NULL, body BLOB);

CREATE TABLE segments(
  id INTEGER PRIMARY KEY,                     -- scoped first sequence
  last_sequence INTEGER NOT NULL, first_transaction INTEGER NOT NULL, last_transaction INTEGER NOT NULL,
  object_key TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL, size INTEGER NOT NULL,
  schema_sequence INTEGER NOT NULL,           -- first sequence of the segment that carries this segment's schema
  schema_id INTEGER NOT NULL,
  created_at INTEGER NOT NULL, durable_at INTEGER);

CREATE TABLE transfer_queue(
  id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, database_id INTEGER, object_key TEXT NOT NULL UNIQUE, spool_path TEXT NOT NULL,
  size INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0, retry_count INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,
  error TEXT, created_at INTEGER NOT NULL);

CREATE TABLE snapshots(
  uuid TEXT PRIMARY KEY, database_id INTEGER NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '',
  snapshot_type TEXT NOT NULL CHECK(snapshot_type IN ('FULL', 'INCREMENTAL', 'DIFFERENTIAL')),
  parent_uuid TEXT, base_uuid TEXT, sequence INTEGER NOT NULL, transaction_no INTEGER NOT NULL, generation INTEGER NOT NULL,
  captured_at INTEGER NOT NULL, schema_version INTEGER NOT NULL, app_version TEXT NOT NULL, checksum TEXT,
  size INTEGER NOT NULL DEFAULT 0, stored_bytes INTEGER NOT NULL DEFAULT 0, table_counts TEXT NOT NULL DEFAULT '{}',
  action_log_count INTEGER NOT NULL DEFAULT 0, entity_uuid_count INTEGER NOT NULL DEFAULT 0,
  is_complete INTEGER NOT NULL DEFAULT 0, is_verified INTEGER NOT NULL DEFAULT 0, manifest_key TEXT NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;

-- Where the content of a run of pages is stored already (FULL snapshots refer to it instead of sending it again).
CREATE TABLE stored_blocks(
  database_id INTEGER NOT NULL, sha256 BLOB NOT NULL, pack_key TEXT NOT NULL, block INTEGER NOT NULL,
  PRIMARY KEY(database_id, sha256)) WITHOUT ROWID;

CREATE TABLE workflows(
  id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  status TEXT NOT NULL CHECK(status IN ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED')),
  type TEXT NOT NULL CHECK(type IN ('BACKUP', 'RESTORE', 'MIGRATION', 'REPLAY')),
  data TEXT NOT NULL DEFAULT '{}', created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, completed_at INTEGER,
  error TEXT, error_kind TEXT, retry_count INTEGER NOT NULL DEFAULT 0, max_retries INTEGER NOT NULL, not_before INTEGER NOT NULL DEFAULT 0);
CREATE INDEX workflows_by_status ON workflows(status);

CREATE TABLE workflow_steps(
  id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, workflow_id INTEGER NOT NULL REFERENCES workflows(id), step_type TEXT NOT NULL,
  status TEXT NOT NULL CHECK(status IN ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'SKIPPED')),
  data TEXT NOT NULL DEFAULT '{}', sequence INTEGER NOT NULL, started_at INTEGER, completed_at INTEGER, error TEXT,
  retry_count INTEGER NOT NULL DEFAULT 0, dependencies TEXT NOT NULL DEFAULT '[]', UNIQUE(workflow_id, sequence));

CREATE TABLE backup_sessions(
  id INTEGER PRIMARY KEY, session_uuid TEXT NOT NULL UNIQUE, workflow_uuid TEXT NOT NULL, database_id INTEGER NOT NULL, snapshot_uuid TEXT,
  status TEXT NOT NULL CHECK(status IN ('INITIALIZING', 'CAPTURING', 'PROCESSING', 'COMPLETING', 'COMPLETED', 'FAILED')),
  progress REAL NOT NULL DEFAULT 0, current_step TEXT NOT NULL DEFAULT '', start_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL,
  error TEXT);

CREATE TABLE restore_sessions(
  id INTEGER PRIMARY KEY, session_uuid TEXT NOT NULL UNIQUE, workflow_uuid TEXT NOT NULL, database_id INTEGER, snapshot_uuid TEXT,
  status TEXT NOT NULL CHECK(status IN ('INITIALIZING', 'CAPTURING', 'PROCESSING', 'COMPLETING', 'COMPLETED', 'FAILED')),
  progress REAL NOT NULL DEFAULT 0, current_step TEXT NOT NULL DEFAULT '', start_time INTEGER NOT NULL, last_update_time INTEGER NOT NULL,
  target TEXT NOT NULL, target_sequence INTEGER NOT NULL DEFAULT 0, migration_log TEXT NOT NULL DEFAULT '[]', replay_log TEXT NOT NULL DEFAULT '[]',
  error TEXT);
)sql";

// Page-level snapshots: pages of a damaged database, which no other snapshot goes on from.
constexpr const char* kDamagedSnapshots = "ALTER TABLE snapshots ADD COLUMN damage TEXT";

// When a transaction's last frame was written and when capture saw it: known where several databases are followed, of
// those that were seen by themselves (actionlog/coincidence.h).
constexpr const char* kCommitSpans = R"sql(
ALTER TABLE transactions ADD COLUMN written_at INTEGER;
ALTER TABLE transactions ADD COLUMN seen_at INTEGER;
CREATE INDEX transactions_by_time ON transactions(seen_at) WHERE seen_at IS NOT NULL;
)sql";

// A restore in place that is about to be committed, so that capture knows its transaction; those that the log has; and
// what was there before the last one, kept as a file.
constexpr const char* kActivations = R"sql(
CREATE TABLE pending_activations(
  database_id INTEGER PRIMARY KEY, workflow_uuid TEXT NOT NULL, schema_cookie INTEGER NOT NULL, restored_sequence INTEGER NOT NULL,
  state BLOB NOT NULL, record BLOB NOT NULL);
CREATE TABLE activations(
  database_id INTEGER NOT NULL, sequence INTEGER NOT NULL, transaction_no INTEGER NOT NULL, workflow_uuid TEXT NOT NULL,
  restored_sequence INTEGER NOT NULL, proven INTEGER, PRIMARY KEY(database_id, sequence)) WITHOUT ROWID;
CREATE TABLE safety_copies(
  database_id INTEGER PRIMARY KEY, workflow_uuid TEXT NOT NULL, path TEXT NOT NULL, sequence INTEGER NOT NULL,
  transaction_no INTEGER NOT NULL, digests BLOB, created_at INTEGER NOT NULL);
)sql";

// File assets (common/assets/asset_memory.h): what was read and need not be read again, and what the store has.
constexpr const char* kAssets = R"sql(
CREATE TABLE asset_files(
  asset TEXT NOT NULL, path BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, device INTEGER NOT NULL,
  pieces BLOB NOT NULL,                       -- their names, 32 bytes each
  seen_day INTEGER NOT NULL,                  -- days since 1970; rows not seen for a week go
  PRIMARY KEY(asset, path)) WITHOUT ROWID;
CREATE TABLE asset_chunks(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE asset_pieces(
  sha256 BLOB PRIMARY KEY, chunk_id INTEGER NOT NULL REFERENCES asset_chunks(id),
  byte_offset INTEGER NOT NULL, stored INTEGER NOT NULL, raw INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX asset_pieces_by_chunk ON asset_pieces(chunk_id);
CREATE TABLE asset_trees(asset TEXT PRIMARY KEY, content BLOB NOT NULL, sha256 BLOB NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
)sql";

// What the schedule has begun (common/schedule/scheduler.h), what the last restore drill and the last verification of
// each database found, and how far a workflow was, for after a restart.
constexpr const char* kSchedule = R"sql(
CREATE TABLE schedule_runs(job TEXT PRIMARY KEY, rule TEXT NOT NULL, begun_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE drills(
  database_id INTEGER PRIMARY KEY, workflow_uuid TEXT NOT NULL, finished_at INTEGER NOT NULL, error TEXT,
  restorable_until INTEGER,                   -- of the last one that succeeded, with its place in the log:
  sequence INTEGER, transaction_no INTEGER, succeeded_at INTEGER);
CREATE TABLE verifications(database_id INTEGER PRIMARY KEY, finished_at INTEGER NOT NULL, snapshots INTEGER NOT NULL,
  proven INTEGER NOT NULL, segments INTEGER NOT NULL, bytes INTEGER NOT NULL, findings TEXT NOT NULL);
ALTER TABLE workflows ADD COLUMN progress TEXT;
)sql";

// Who queued a transfer, and whether the store has it; uploads in parts that were begun and have not ended
// (common/transfer).
constexpr const char* kTransfers = R"sql(
CREATE TABLE transfers(
  id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, database_id INTEGER,
  owner TEXT NOT NULL DEFAULT '',             -- '': the log; else the uuid of a BACKUP
  object_key TEXT NOT NULL, spool_path TEXT NOT NULL, size INTEGER NOT NULL, retry_count INTEGER NOT NULL DEFAULT 0,
  error TEXT, created_at INTEGER NOT NULL, sent_at INTEGER, UNIQUE(owner, object_key));
INSERT INTO transfers(id, lane, database_id, object_key, spool_path, size, retry_count, error, created_at)
  SELECT id, lane, database_id, object_key, spool_path, size, retry_count, error, created_at FROM transfer_queue;
DROP TABLE transfer_queue;
ALTER TABLE transfers RENAME TO transfer_queue;
CREATE TABLE uploads(
  object_key TEXT PRIMARY KEY, upload_id TEXT NOT NULL, token TEXT NOT NULL, object_size INTEGER NOT NULL,
  part_size INTEGER NOT NULL, began_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE upload_parts(
  object_key TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL, etag TEXT NOT NULL,
  PRIMARY KEY(object_key, number)) WITHOUT ROWID;
)sql";

// Segments that are merged into one (common/actionlog/log_merger.h). `content` is NULL where a segment can't be, as in
// those that an earlier version sealed.
constexpr const char* kMerges = R"sql(
ALTER TABLE segments ADD COLUMN link BLOB;        -- of a merged one; NULL: sha256
ALTER TABLE segments ADD COLUMN state BLOB;       -- digest of the tables at the end, 32 zero bytes if not counted
ALTER TABLE segments ADD COLUMN content BLOB;     -- digest of what it holds
ALTER TABLE segments ADD COLUMN user_columns TEXT;
ALTER TABLE segments ADD COLUMN last_captured_at INTEGER;
CREATE INDEX segments_to_merge ON segments(id) WHERE content IS NOT NULL;
ALTER TABLE transactions ADD COLUMN coincident BLOB; -- as it was sealed; NULL: none
-- What the store does not have yet; at most one a database.
CREATE TABLE merges(
  id INTEGER PRIMARY KEY,                         -- scoped first sequence
  last_sequence INTEGER NOT NULL, object_key TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL, link BLOB NOT NULL, size INTEGER NOT NULL);
-- Segments whose place a merged one took, while their objects may still be there.
CREATE TABLE merged_parts(
  object_key TEXT PRIMARY KEY, id INTEGER NOT NULL, sha256 BLOB NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX merged_parts_by_id ON merged_parts(id);
)sql";

constexpr const char* kDictionaries = R"sql(
ALTER TABLE segments ADD COLUMN dictionary_sequence INTEGER NOT NULL DEFAULT 0; -- first sequence of the segment that carries it; 0: none
CREATE TABLE dictionaries(
  id INTEGER PRIMARY KEY,                         -- scoped first sequence of the segment that carries it
  body BLOB NOT NULL);
)sql";

constexpr Migration kMigrations[] = {
    {1, "Initial schema", kInitialSchema},
    {2, "Snapshots of damaged databases", kDamagedSnapshots},
    {3, "Spans of commits", kCommitSpans},
    {4, "Restores in place", kActivations},
    {5, "File assets", kAssets},
    {6, "Schedule, drills and verifications", kSchedule},
    {7, "Owners of transfers, and uploads", kTransfers},
    {8, "Merged segments", kMerges},
    {9, "Dictionaries of the log", kDictionaries},
};

// The table of migrations is there before the first of them.
constexpr const char* kMigrationsTable =
    "CREATE TABLE IF NOT EXISTS migrations(id INTEGER PRIMARY KEY, version INTEGER NOT NULL UNIQUE, name TEXT NOT NULL,"
    " applied_at INTEGER NOT NULL, checksum TEXT NOT NULL)";

}  // namespace

std::span<const Migration> state_migrations() { return kMigrations; }

Result<void> migrate(Connection& connection, std::span<const Migration> migrations, Clock& clock) {
  TILLSYNC_TRY(connection.execute(kMigrationsTable));
  int latest = migrations.empty() ? 0 : migrations.back().version;
  TILLSYNC_LET(int64_t current, connection.query_integer("SELECT coalesce(max(version), 0) FROM migrations"));
  if (current > latest)
    return Error{ErrorKind::schema, 0,
                 "state.db has schema version " + std::to_string(current) + " and this tillsync knows up to " +
                     std::to_string(latest) + "; install the newer tillsync again"};
  for (const Migration& migration : migrations) {
    std::string checksum = sha256(as_bytes(migration.sql)).hex();
    if (migration.version <= current) {
      TILLSYNC_LET(auto recorded, connection.prepare("SELECT checksum FROM migrations WHERE version=?"));
      recorded.bind(1, migration.version);
      TILLSYNC_LET(bool found, recorded.step());
      if (!found || recorded.text(0) != checksum)
        return Error{ErrorKind::schema, 0,
                     "state.db: migration " + std::to_string(migration.version) +
                         " was applied in another form than this tillsync's"};
      continue;
    }
    TILLSYNC_LET(auto transaction, Transaction::begin(connection));
    TILLSYNC_TRY(connection.execute(migration.sql).with("migration " + std::to_string(migration.version)));
    TILLSYNC_LET(auto record,
                 connection.prepare("INSERT INTO migrations(version, name, applied_at, checksum) VALUES(?,?,?,?)"));
    TILLSYNC_TRY(
        record.bind(1, migration.version).bind(2, migration.name).bind(3, to_ms(clock.now())).bind(4, checksum).run());
    TILLSYNC_TRY(transaction.commit());
  }
  return {};
}

}  // namespace tillsync
