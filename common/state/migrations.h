// Numbered migrations of state.db. A migration that was released is never edited: its checksum is kept in the database
// and a difference is refused.
#pragma once

#include <span>

#include "ports/clock.h"
#include "sqlite/connection.h"

namespace tillsync {

struct Migration {
  int version;
  const char* name;
  const char* sql;
};

std::span<const Migration> state_migrations();

// Brings the database to the newest of `migrations`; each step is one transaction, so an interrupted step leaves the
// old version. Errors: schema when the database is newer, or a recorded checksum differs.
Result<void> migrate(Connection& connection, std::span<const Migration> migrations, Clock& clock);

}  // namespace tillsync
