// The shop's tables and what is in them before the first sale.
#pragma once

#include "agent/demo/pos_sqlite.h"
#include "base/result.h"

namespace tillsync::pos {

inline constexpr int kCustomers = 200;

// One transaction: afterwards the shop is there, or nothing is.
Result<void> make_shop(sqlite3* connection, int products, uint64_t seed);

}  // namespace tillsync::pos
