#include "agent/daemon/drill_record.h"

namespace tillsync {

Result<void> record_drill(Connection& db, int64_t database, const DrillSuccess& success) {
  TILLSYNC_LET(auto put,
               db.prepare("INSERT OR REPLACE INTO drills(database_id, workflow_uuid, finished_at, error, "
                          "restorable_until, sequence, transaction_no, succeeded_at) VALUES(?,?,?,NULL,?,?,?,?)"));
  return put.bind(1, database)
      .bind(2, success.workflow.str())
      .bind(3, to_ms(success.finished_at))
      .bind(4, to_ms(success.restorable_until))
      .bind(5, success.sequence)
      .bind(6, success.transaction)
      .bind(7, to_ms(success.finished_at))
      .run();
}

Result<void> record_failed_drill(Connection& db, int64_t database, const Uuid& workflow, Timestamp finished_at,
                                 const std::string& error) {
  TILLSYNC_LET(auto put,
               db.prepare("INSERT INTO drills(database_id, workflow_uuid, finished_at, error) VALUES(?1,?2,?3,?4) ON "
                          "CONFLICT(database_id) DO UPDATE SET workflow_uuid=?2, finished_at=?3, error=?4"));
  return put.bind(1, database).bind(2, workflow.str()).bind(3, to_ms(finished_at)).bind(4, error).run();
}

Result<std::optional<DrillRecord>> read_drill(Connection& db, int64_t database) {
  TILLSYNC_LET(auto query, db.prepare("SELECT finished_at, error, restorable_until, sequence, transaction_no, "
                                      "succeeded_at FROM drills WHERE database_id=?"));
  query.bind(1, database);
  TILLSYNC_LET(bool found, query.step());
  if (!found) return std::optional<DrillRecord>();
  DrillRecord record;
  record.finished_at = from_ms(query.integer(0));
  if (!query.is_null(1)) record.error = query.text(1);
  if (!query.is_null(2)) {
    record.restorable_until = from_ms(query.integer(2));
    record.sequence = query.unsigned_integer(3);
    record.transaction = query.unsigned_integer(4);
    record.succeeded_at = from_ms(query.integer(5));
  }
  return std::optional(record);
}

}  // namespace tillsync
