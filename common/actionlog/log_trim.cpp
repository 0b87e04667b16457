#include "actionlog/log_trim.h"

#include <algorithm>

namespace tillsync {

Result<uint64_t> trim_log(StateDb& state, int64_t database_id, Timestamp captured_before, uint64_t actions_max,
                          TrimUpTo up_to) {
  auto db = state.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  const int64_t lowest = scoped_id(database_id, 0), highest = scoped_id(database_id, (uint64_t{1} << 48) - 1);
  // The times of a log never run backwards, so the first transaction that stays ends the search. The whole of it: a
  // transaction is durable with its last action.
  Sequence last = 0;
  TransactionNo last_transaction = 0;
  uint64_t actions = 0;
  {
    TILLSYNC_LET(auto rows, db->cached("SELECT t.id, t.first_sequence, t.last_sequence FROM transactions t"
                                       " JOIN databases d ON d.id=?4 WHERE t.id BETWEEN ?1 AND ?2 AND t.captured_at<?3"
                                       " AND t.last_sequence<=iif(?5, coalesce((SELECT max(last_sequence) FROM segments"
                                       " WHERE id BETWEEN ?1 AND ?2), 0), d.durable_sequence) ORDER BY t.id"));
    rows->bind(1, lowest).bind(2, highest).bind(3, to_ms(captured_before)).bind(4, database_id);
    rows->bind(5, up_to == TrimUpTo::sealed ? 1 : 0);
    while (actions < actions_max) {
      TILLSYNC_LET(bool row, rows->step());
      if (!row) break;
      last_transaction = number_of(rows->integer(0));
      last = rows->unsigned_integer(2);
      actions += last - rows->unsigned_integer(1) + 1;
    }
    rows->reset();
  }
  if (last == 0) return uint64_t{0};
  // A transaction of a million rows is not one step: what an earlier call left of it begins with its oldest row.
  TILLSYNC_LET(auto oldest, db->cached("SELECT min(id) FROM action_log WHERE id BETWEEN ? AND ?"));
  oldest->bind(1, lowest).bind(2, highest);
  TILLSYNC_LET(bool found, oldest->step());
  const Sequence first = found && !oldest->is_null(0) ? number_of(oldest->integer(0)) : last + 1;
  oldest->reset();
  const Sequence end = std::min(last, first + actions_max - 1);
  TILLSYNC_LET(auto remove, db->cached("DELETE FROM action_log WHERE id BETWEEN ? AND ?"));
  TILLSYNC_TRY(remove->bind(1, lowest).bind(2, scoped_id(database_id, end)).run());
  const auto removed = static_cast<uint64_t>(db->changes());
  TILLSYNC_LET(auto done, db->cached("DELETE FROM transactions WHERE id BETWEEN ? AND ? AND last_sequence<=?"));
  TILLSYNC_TRY(done->bind(1, lowest).bind(2, scoped_id(database_id, last_transaction)).bind(3, end).run());
  const auto gone = static_cast<uint64_t>(db->changes());
  TILLSYNC_LET(auto hidden,
               db->cached("DELETE FROM hidden_rows WHERE database_id=?1 AND transaction_no<coalesce((SELECT "
                          "min(id) FROM transactions WHERE id BETWEEN ?2 AND ?3)-?2, ?4+1)"));
  TILLSYNC_TRY(hidden->bind(1, database_id).bind(2, lowest).bind(3, highest).bind(4, last_transaction).run());
  TILLSYNC_TRY(transaction.commit());
  return std::max(removed, gone);
}

}  // namespace tillsync
