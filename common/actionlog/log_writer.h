// Writes captured rows into state.db: actions, entities, dependencies, table digests.
//
// Purpose: the log half of the one commit point. All calls happen inside the caller's state.db transaction; the caller
// commits, then calls committed(), or drops the writer and loads a new one.
// Layout: tables transactions, action_log, entity_uuids, tracked_tables, hidden_rows (state/migrations.cpp).
// Errors: what state.db reports; corrupt when a record does not parse.
// Threads: one.
#pragma once

#include <memory>
#include <unordered_map>

#include "actionlog/coincidence.h"
#include "schema/row_identity.h"
#include "state/state_db.h"

namespace tillsync {

enum class ActionKind : uint8_t { create = 1, update = 2, remove = 3, schema = 4, renumber = 5, restore = 6 };
const char* to_string(ActionKind kind);  // CREATE, UPDATE, DELETE, SCHEMA, RENUMBER, RESTORE

enum TransactionFlag : uint32_t {
  kCatchUp = 1,       // several transactions of the application whose borders were not seen
  kSchemaChange = 2,  // ends its segment; replay does not cross it
  kRenumber = 4,      // likewise
  kRestore = 16,      // a restore in place (actionlog/activations.h); 8 is taken in segments
};

// A row change with its entity key.
struct LoggedRow {
  ActionKind action;
  std::optional<int64_t> rowid;           // after; before for remove. nullopt: WITHOUT ROWID
  std::optional<int64_t> previous_rowid;  // when it differs
  ByteView key, before, after;
};

// count, then name, rows, 32 bytes each.
Bytes encode_digests(const std::vector<TableDigest>& tables);
Result<std::vector<TableDigest>> decode_digests(ByteReader& in);

class LogWriter {
 public:
  static Result<std::unique_ptr<LogWriter>> load(StateDb& state, int64_t database_id, int64_t session_id);

  // The schema that rows are read with from now on. schema_id: row in `schemas`.
  Result<void> set_schema(std::shared_ptr<const Schema> schema, int64_t schema_id);
  const std::shared_ptr<const Schema>& schema() const { return schema_; }
  int64_t schema_id() const { return schema_id_; }

  // Dependencies on actions at or below this sequence are left out: a snapshot holds them.
  void set_dependency_floor(Sequence floor) { dependency_floor_ = floor; }

  // committed: when, if that is known and of use.
  void begin_transaction(Timestamp captured_at, uint32_t flags, std::optional<CommitSpan> committed = std::nullopt);
  uint32_t transaction_flags() const { return flags_; }  // of the transaction begun last
  // Appends one action; the table's digest follows.
  Result<void> row(const Table& table, const LoggedRow& row);
  // A change of sqlite_schema, or a RENUMBER of a table: no digest, no entity.
  Result<void> mark(ActionKind kind, const std::string& table, ByteView before, ByteView after);
  // Writes the transaction if it has actions; says how many.
  Result<uint64_t> end_transaction();

  // Baseline and tables whose digests are made anew: counts rows without actions.
  Result<void> reset_digest(const Table& table);
  Result<void> count_row(const Table& table, int64_t rowid, ByteView record);

  // Digests that changed, and the log's position; before the commit.
  Result<void> write_totals(Connection& state);

  Sequence sequence() const { return sequence_; }
  TransactionNo transaction() const { return transaction_; }
  std::optional<Timestamp> last_capture_at() const { return last_capture_at_; }
  std::vector<TableDigest> digests() const;  // live tables of the schema, by name

 private:
  struct Tracked {
    int64_t id = 0;
    TableDigest digest;
    bool changed = false;
    std::unique_ptr<RowIdentity> identity;
    const Table* table = nullptr;
  };
  LogWriter(StateDb& state, int64_t database_id, int64_t session_id)
      : state_(&state), database_id_(database_id), session_id_(session_id) {}
  Result<Tracked*> tracked(const std::string& name, const Table* table);
  Result<void> hidden(const Table& table, const LoggedRow& row);
  // Brings the entity to this action; says what it was.
  struct Entity {
    Sequence created = 0;   // by which action; 0: in the baseline
    int64_t version = 0;    // after this action
    Sequence previous = 0;  // last action before this one
  };
  Result<Entity> update_entity(const Tracked& tracked, const LoggedRow& row);
  Result<void> collect_dependencies(Tracked& tracked, const LoggedRow& row, Sequence previous);

  StateDb* state_;
  int64_t database_id_, session_id_;
  std::shared_ptr<const Schema> schema_;
  int64_t schema_id_ = 0;
  Sequence dependency_floor_ = 0;
  std::unordered_map<std::string, Tracked> tables_;
  std::unordered_map<const Table*, Tracked*> by_table_;
  Sequence sequence_ = 0;
  TransactionNo transaction_ = 0;
  std::optional<Timestamp> last_capture_at_;
  Sequence first_sequence_ = 0;
  Timestamp captured_at_{};
  uint32_t flags_ = 0;
  std::optional<CommitSpan> committed_;
  Bytes dependencies_, parent_key_;
};

}  // namespace tillsync
