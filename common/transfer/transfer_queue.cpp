#include "transfer/transfer_queue.h"

namespace tillsync {

Result<void> queue_transfer(Connection& db, const Transfer& transfer, Timestamp now) {
  TILLSYNC_LET(auto insert,
               db.cached("INSERT INTO transfer_queue(lane, database_id, owner, object_key, spool_path, size, "
                         "created_at) VALUES(?,?,?,?,?,?,?) ON CONFLICT(owner, object_key) DO NOTHING"));
  return insert->bind(1, static_cast<int>(transfer.lane))
      .bind(2, transfer.database_id)
      .bind(3, transfer.owner)
      .bind(4, transfer.key)
      .bind(5, transfer.path)
      .bind(6, transfer.size)
      .bind(7, to_ms(now))
      .run();
}

Result<std::optional<Transfer>> next_transfer(Connection& db, const std::string& owner, const Transfer* behind) {
  TILLSYNC_LET(auto next,
               db.cached("SELECT id, lane, database_id, object_key, spool_path, size FROM transfer_queue WHERE owner=? "
                         "AND sent_at IS NULL AND (lane, id) > (?,?) ORDER BY lane, id LIMIT 1"));
  next->bind(1, owner).bind(2, behind ? static_cast<int>(behind->lane) : -1).bind(3, behind ? behind->id : 0);
  TILLSYNC_LET(bool found, next->step());
  std::optional<Transfer> transfer;
  if (found)
    transfer = Transfer{.id = next->integer(0),
                        .lane = static_cast<Lane>(next->integer(1)),
                        .database_id = next->integer(2),
                        .owner = owner,
                        .key = next->text(3),
                        .path = next->text(4),
                        .size = next->unsigned_integer(5)};
  next->reset();
  return transfer;
}

Result<void> transfer_failed(Connection& db, int64_t id, const std::string& why) {
  TILLSYNC_LET(auto update, db.cached("UPDATE transfer_queue SET retry_count=retry_count+1, error=? WHERE id=?"));
  return update->bind(1, why).bind(2, id).run();
}

Result<void> transfer_sent(Connection& db, int64_t id, Timestamp now) {
  TILLSYNC_LET(auto update, db.cached("UPDATE transfer_queue SET sent_at=?, error=NULL WHERE id=?"));
  return update->bind(1, to_ms(now)).bind(2, id).run();
}

Result<void> forget_transfer(Connection& db, int64_t id) {
  TILLSYNC_LET(auto remove, db.cached("DELETE FROM transfer_queue WHERE id=?"));
  return remove->bind(1, id).run();
}

Result<void> forget_transfers_of(Connection& db, const std::string& owner) {
  TILLSYNC_LET(auto remove, db.cached("DELETE FROM transfer_queue WHERE owner=?"));
  return remove->bind(1, owner).run();
}

Result<TransferTotals> transfer_totals(Connection& db, const std::optional<std::string>& owner) {
  TILLSYNC_LET(auto sums, db.cached("SELECT count(*) FILTER (WHERE sent_at IS NULL), "
                                    "coalesce(sum(size) FILTER (WHERE sent_at IS NULL), 0), "
                                    "coalesce(sum(size) FILTER (WHERE sent_at IS NOT NULL), 0) FROM transfer_queue "
                                    "WHERE ?1 IS NULL OR owner=?1"));
  sums->bind(1, owner);
  TILLSYNC_TRY(sums->step());
  TransferTotals totals{sums->unsigned_integer(0), sums->unsigned_integer(1), sums->unsigned_integer(2)};
  sums->reset();
  return totals;
}

}  // namespace tillsync
