// Restores in place, as the log knows them.
//
// Purpose: a restore in place is one transaction that the agent itself commits to the application's database; the log
// marks it, even where the agent ends between the commit and its capture. How it is recognised: before the commit
// state.db holds the schema cookie that the transaction writes, which is above the one before by 65,536 and more; the
// transaction, or the scan, that finds that cookie, or one up to 32,767 changes of schema later, is the restore. It
// gets a RESTORE action and the flag kRestore. Layout: docs/formats.md, "state.db": pending_activations, activations.
// Errors: what state.db reports. Threads: as StateDb.
#pragma once

#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/types.h"
#include "crypto/hash.h"
#include "sqlite/connection.h"

namespace tillsync {

// What state.db knows of an activation before it is captured.
struct PendingActivation {
  Uuid workflow;
  uint32_t schema_cookie = 0;
  Sequence restored_sequence = 0;  // the moment that was restored
  Digest state{};                  // of all table digests then; zero: not known
  Bytes record;                    // of the RESTORE action: one field, a JSON text

  bool matches(uint32_t cookie) const { return cookie - schema_cookie < 0x8000; }
};

// nullopt: none is waited for.
Result<std::optional<PendingActivation>> read_pending_activation(Connection& state, int64_t database_id);
Result<void> write_pending_activation(Connection& state, int64_t database_id, const PendingActivation& pending);
Result<void> clear_pending_activation(Connection& state, int64_t database_id);

struct CapturedActivation {
  Sequence sequence = 0;  // of the RESTORE action
  TransactionNo transaction = 0;
  // Whether the tables then held what was restored; nullopt: other changes came with it, so nothing can be said.
  std::optional<bool> proven;
};
// Instead of the pending one, in the commit that has the RESTORE action.
Result<void> record_activation(Connection& state, int64_t database_id, const PendingActivation& pending,
                               const CapturedActivation& captured);
// nullopt: the log has none of this workflow.
Result<std::optional<CapturedActivation>> captured_activation(Connection& state, int64_t database_id,
                                                              const Uuid& workflow);

// Actions that a later restore in place undid: the sequences from first to last of each range, in order.
struct RolledBack {
  Sequence first = 0, last = 0;
};
Result<std::vector<RolledBack>> rolled_back(Connection& state, int64_t database_id);

}  // namespace tillsync
