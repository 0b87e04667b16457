#include "actionlog/activations.h"

namespace tillsync {

namespace {
Result<Digest> digest_of(ByteView bytes) {
  Digest digest{};
  if (bytes.size() != digest.bytes.size()) return Error{ErrorKind::corrupt, 0, "state.db: a digest of another size"};
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}
}  // namespace

Result<std::optional<PendingActivation>> read_pending_activation(Connection& state, int64_t database_id) {
  TILLSYNC_LET(auto query, state.cached("SELECT workflow_uuid, schema_cookie, restored_sequence, state, record FROM "
                                        "pending_activations WHERE database_id=?"));
  query->bind(1, database_id);
  TILLSYNC_LET(bool row, query->step());
  if (!row) return std::optional<PendingActivation>();
  PendingActivation pending;
  TILLSYNC_LET(pending.workflow, Uuid::parse(query->text(0)));
  pending.schema_cookie = static_cast<uint32_t>(query->integer(1));
  pending.restored_sequence = query->unsigned_integer(2);
  TILLSYNC_LET(pending.state, digest_of(query->blob(3)));
  pending.record = to_bytes(query->blob(4));
  query->reset();
  return std::optional(std::move(pending));
}

Result<void> write_pending_activation(Connection& state, int64_t database_id, const PendingActivation& pending) {
  TILLSYNC_LET(auto put, state.cached("INSERT OR REPLACE INTO pending_activations(database_id, workflow_uuid, "
                                      "schema_cookie, restored_sequence, state, record) VALUES(?,?,?,?,?,?)"));
  return put->bind(1, database_id)
      .bind(2, pending.workflow.str())
      .bind(3, pending.schema_cookie)
      .bind(4, pending.restored_sequence)
      .bind(5, pending.state.view())
      .bind(6, ByteView(pending.record))
      .run();
}

Result<void> clear_pending_activation(Connection& state, int64_t database_id) {
  TILLSYNC_LET(auto gone, state.cached("DELETE FROM pending_activations WHERE database_id=?"));
  return gone->bind(1, database_id).run();
}

Result<void> record_activation(Connection& state, int64_t database_id, const PendingActivation& pending,
                               const CapturedActivation& captured) {
  TILLSYNC_LET(auto put, state.cached("INSERT OR REPLACE INTO activations(database_id, sequence, transaction_no, "
                                      "workflow_uuid, restored_sequence, proven) VALUES(?,?,?,?,?,?)"));
  TILLSYNC_TRY(put->bind(1, database_id)
                   .bind(2, captured.sequence)
                   .bind(3, captured.transaction)
                   .bind(4, pending.workflow.str())
                   .bind(5, pending.restored_sequence)
                   .bind(6, captured.proven)
                   .run());
  return clear_pending_activation(state, database_id);
}

Result<std::optional<CapturedActivation>> captured_activation(Connection& state, int64_t database_id,
                                                              const Uuid& workflow) {
  TILLSYNC_LET(auto query, state.cached("SELECT sequence, transaction_no, proven FROM activations WHERE database_id=? "
                                        "AND workflow_uuid=? ORDER BY sequence DESC LIMIT 1"));
  query->bind(1, database_id).bind(2, workflow.str());
  TILLSYNC_LET(bool row, query->step());
  if (!row) return std::optional<CapturedActivation>();
  CapturedActivation captured;
  captured.sequence = query->unsigned_integer(0);
  captured.transaction = query->unsigned_integer(1);
  if (!query->is_null(2)) captured.proven = query->integer(2) != 0;
  query->reset();
  return std::optional(captured);
}

Result<std::vector<RolledBack>> rolled_back(Connection& state, int64_t database_id) {
  TILLSYNC_LET(auto query, state.cached("SELECT sequence, restored_sequence FROM activations WHERE database_id=? ORDER "
                                        "BY sequence DESC"));
  query->bind(1, database_id);
  std::vector<RolledBack> ranges;
  // From the newest back: what lies between a restore and the moment it went to is undone, other restores included.
  std::optional<Sequence> position;
  while (true) {
    TILLSYNC_LET(bool row, query->step());
    if (!row) break;
    const Sequence mark = query->unsigned_integer(0), to = query->unsigned_integer(1);
    if (position && mark > *position) continue;
    if (to + 1 < mark) ranges.insert(ranges.begin(), {to + 1, mark - 1});
    position = to;
  }
  return ranges;
}

}  // namespace tillsync
