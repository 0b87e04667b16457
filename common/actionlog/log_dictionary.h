// When a log gets a dictionary, and what it is made of.
//
// Purpose: a segment of a few sales is a quarter smaller with one (docs/formats.md, "Segment"): the same tables,
// columns and words come again in each. It is made of the segments that were sealed last, of the same schema; anew each
// time the log has grown eightfold since, and then every kActionsMax: what it takes stays small beside what it saves.
// Memory: kSampleBytesMax of segments as they are before compression, twice, and 1 MiB while it is made.
// Errors: those of state.db. Threads: any.
#pragma once

#include "actionlog/segment.h"
#include "state/state_db.h"

namespace tillsync {

struct DictionaryPlan {
  static constexpr Sequence kActionsMin = 2048, kActionsMax = 1 << 18;
  static constexpr uint64_t kGrowth = 8;
  static constexpr size_t kSamplesMin = 16, kSamplesMax = 128, kSampleBytesMax = 512 << 10, kBytes = 32 << 10;
  static constexpr size_t kSampleSizeMax = 32 << 10;  // of a segment as it is stored
};

// Whether the segment that follows sequence `last` should carry a new one.
bool is_dictionary_due(Sequence schema_sequence, Sequence dictionary_sequence, Sequence last);

// From what state.db still has of the segments up to `last`; nullopt while that is too little.
Result<std::optional<Bytes>> make_dictionary(StateDb& state, int64_t database_id, Sequence schema_sequence,
                                             Sequence last);

// That of the log, as state.db has it; nullopt where it does not.
Result<std::optional<Bytes>> dictionary_in_state(Connection& state, int64_t database_id, Sequence dictionary_sequence);
// In the caller's transaction. Those that were replaced before the first segment that state.db knows are forgotten.
Result<void> keep_dictionary(Connection& state, int64_t database_id, Sequence dictionary_sequence, ByteView dictionary);

}  // namespace tillsync
