// A new epoch, where the one before was lost (docs/formats.md, "Epochs and starts"): the terminal goes on in a line of
// its own, and what is in the store stays as it is.
//
// Order: begin_epoch() puts the epoch and the anchors of its logs into the store and notes them in state.db; the agent
// ends, and adopt_epoch() of its next start makes it the terminal's, when nothing of the old one runs. A crash in
// between leaves a number that nobody uses.
// What is lost: nothing that the database holds: a FULL of it follows. Rows of the log that were trimmed here before
// they were durable, which only a full disk makes possible, are in no log; that is said.
// Errors: those of the store and of state.db. Threads: one.
#pragma once

#include <optional>

#include "agent/daemon/epoch_claim.h"

namespace tillsync {

// store: below what asks for the claim.
Result<void> begin_epoch(const Services& services, ObjectStore& store, const EpochLoss& loss);
// The epoch of this start.
Result<uint64_t> adopt_epoch(StateDb& state);

struct EpochChange {
  uint64_t from = 0, to = 0;
  std::string why;
  Timestamp at;
};
// The last one; nullopt: it is the first epoch, or was told so in another way.
Result<std::optional<EpochChange>> last_epoch_change(StateDb& state);

}  // namespace tillsync
