// Databases whose next snapshot has to be a FULL, as rows of state.db, so that it comes whatever happens: what is in
// the store is sealed for other keys, or of another epoch.
//
// Errors: those of state.db. Durability and threads: those of the connection.
#pragma once

#include <optional>
#include <string>

#include "sqlite/connection.h"

namespace tillsync {

// Of every database; only_with_snapshots: that has a complete one. why: for a person.
Result<void> want_fulls(Connection& db, const std::string& why, bool only_with_snapshots);
// Why; nullopt: none is due.
Result<std::optional<std::string>> full_due(Connection& db, int64_t database);
Result<void> full_made(Connection& db, int64_t database);

}  // namespace tillsync
