// What the last restore drill of each database proved, in state.db.
//
// A drill is a RESTORE to a staging file that does all but the activation. A failed one does not undo what an earlier
// one proved: restorable_until stays, and grows old. Errors: those of state.db. Threads: as StateDb.
#pragma once

#include <optional>
#include <string>

#include "base/ids.h"
#include "base/types.h"
#include "state/state_db.h"

namespace tillsync {

struct DrillRecord {
  Timestamp finished_at;             // of the last one
  std::optional<std::string> error;  // nullopt: it succeeded
  // Of the last one that succeeded:
  std::optional<Timestamp> restorable_until;  // everything committed up to here was restored and proven
  std::optional<Timestamp> succeeded_at;
  Sequence sequence = 0;
  TransactionNo transaction = 0;
};

struct DrillSuccess {
  Uuid workflow;
  Timestamp finished_at, restorable_until;
  Sequence sequence = 0;
  TransactionNo transaction = 0;
};
Result<void> record_drill(Connection& db, int64_t database, const DrillSuccess& success);
Result<void> record_failed_drill(Connection& db, int64_t database, const Uuid& workflow, Timestamp finished_at,
                                 const std::string& error);
// nullopt: there was none.
Result<std::optional<DrillRecord>> read_drill(Connection& db, int64_t database);

}  // namespace tillsync
