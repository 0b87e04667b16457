// The actions in state.db, in order: the one place where tests of capture read its log.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "actionlog/log_writer.h"
#include "state/state_db.h"
#include "support/results.h"

namespace tillsync::test {

struct LoggedAction {
  Sequence sequence = 0;
  TransactionNo transaction = 0;
  ActionKind kind = ActionKind::create;
  std::string table;
  std::optional<int64_t> rowid, previous_rowid;
  Bytes key, before, after;  // records; empty for none
};

// Those of the database after the sequence.
inline std::vector<LoggedAction> logged_after(StateDb& state, int64_t database_id, Sequence after) {
  std::vector<LoggedAction> all;
  auto db = state.lease();
  auto* query = must(db->cached(
      "SELECT a.id, a.transaction_no, a.action, t.name, a.row_id, a.previous_row_id, a.entity_key, a.data,"
      " a.previous_data FROM action_log a JOIN tracked_tables t ON t.id=a.table_id WHERE a.id > ? AND a.id <= ?"
      " ORDER BY a.id"));
  query->bind(1, scoped_id(database_id, after)).bind(2, scoped_id(database_id, (uint64_t{1} << 48) - 1));
  while (must(query->step())) {
    LoggedAction a;
    a.sequence = number_of(query->integer(0));
    a.transaction = query->unsigned_integer(1);
    a.kind = static_cast<ActionKind>(query->integer(2));
    a.table = query->text(3);
    a.rowid = query->optional_integer(4);
    a.previous_rowid = query->optional_integer(5);
    a.key = to_bytes(query->blob(6));
    a.after = to_bytes(query->blob(7));
    a.before = to_bytes(query->blob(8));
    all.push_back(std::move(a));
  }
  query->reset();
  return all;
}

}  // namespace tillsync::test
