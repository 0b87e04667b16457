// What waits to be put into the store, as rows of state.db, so that it goes on after a restart.
//
// Order: by lane, then as it was queued. Each has an owner: the log ("", whose rows go when they are sent), or the uuid
// of a backup, whose rows stay, marked as sent, until its step is complete: begun again, it finds what it need not do.
// Errors: those of state.db. Durability and threads: those of the connection it is given.
#pragma once

#include <optional>
#include <string>

#include "base/types.h"
#include "sqlite/connection.h"

namespace tillsync {

enum class Lane { log = 0, packs = 1, assets = 2 };  // also the values in state.db

struct Transfer {
  int64_t id = 0;
  Lane lane = Lane::log;
  int64_t database_id = 0;
  std::string owner = {};
  std::string key = {};
  std::string path = {};  // in the spool
  uint64_t size = 0;      // bytes
};

// Nothing happens where the owner has queued the key already.
Result<void> queue_transfer(Connection& db, const Transfer& transfer, Timestamp now);
// The first of the owner that was not sent yet, of all or of those behind another.
Result<std::optional<Transfer>> next_transfer(Connection& db, const std::string& owner,
                                              const Transfer* behind = nullptr);
// It was tried, and why it has to be tried again.
Result<void> transfer_failed(Connection& db, int64_t id, const std::string& why);
Result<void> transfer_sent(Connection& db, int64_t id, Timestamp now);
Result<void> forget_transfer(Connection& db, int64_t id);
Result<void> forget_transfers_of(Connection& db, const std::string& owner);

struct TransferTotals {
  uint64_t queued = 0, queued_bytes = 0;  // not sent yet
  uint64_t sent_bytes = 0;                // sent, and still in the queue
};
// Of all owners, or of one.
Result<TransferTotals> transfer_totals(Connection& db, const std::optional<std::string>& owner = std::nullopt);

}  // namespace tillsync
