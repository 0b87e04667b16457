// Reads captured transactions out of state.db into a segment, for those who seal and those who merge.
//
// Units: bytes of rows as row_bytes() counts them. Errors: what state.db reports; corrupt when a row does not parse.
// Threads: those of the connection.
#pragma once

#include "actionlog/segment.h"

namespace tillsync {

// What a merged segment holds at most, but for its last row.
constexpr size_t kMergedActionsMax = 4096;
constexpr size_t kMergedRowBytesMax = 512 << 10;

struct RowLimits {
  size_t bytes = SIZE_MAX, actions = SIZE_MAX;
};
// Images and what goes with them in memory.
inline size_t row_bytes(const SegmentAction& action) { return action.before.size() + action.after.size() + 32; }

uint32_t index_of_name(std::vector<std::string>& names, const std::string& name);

// Actions without their transactions. cut_short: there are more than the limits allow.
Result<void> load_actions(Connection& db, int64_t database_id, Sequence first, Sequence last, const RowLimits& limits,
                          Segment& segment, bool& cut_short);
// Those of the transactions that the segment has; its head says which.
Result<void> load_hidden_rows(Connection& db, int64_t database_id, Segment& segment);
// What was sealed before as a segment of its own, of whole transactions: all of it but its head.
Result<Segment> load_sealed(Connection& db, int64_t database_id, const SegmentHead& head);

// Sequences, transactions and times of the head, from what the segment holds.
void set_range(Segment& segment);

// What transactions.coincident holds.
Bytes encode_coincident(const std::vector<Coincident>& coincident);
Result<std::vector<Coincident>> decode_coincident(ByteView bytes);

}  // namespace tillsync
