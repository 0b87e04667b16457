// Reads a whole log back and proves it: names, gaps, hash chain, and that its rows lead to the states it states.
//
// Purpose: each segment gets its own verdict, so that one bad segment does not hide the rest. Table digests run along
// from the first place where they are known (a segment that carries them, or a snapshot's manifest, given as `known`);
// every state that is stated later is compared with them. After a change of schema or a renumbering, where tables are
// counted anew, and after a bad segment, they wait for the next known place. Memory: one segment, one digest a table.
// Errors: what could not be looked at (offline, denied …), and cancelled. What does not match is in the verdicts.
// Threads: one.
#pragma once

#include <map>

#include "actionlog/log_reader.h"

namespace tillsync {

struct SegmentVerdict {
  std::string key;
  std::optional<Error> error;  // what does not match
  bool stated = false;         // it states the digests at its end
  bool proven = false;         // and the rows lead to them
};

struct LogVerdict {
  std::vector<SegmentVerdict> segments;
  uint64_t actions = 0;
  bool ok() const;
};

// Table digests known from elsewhere, by the sequence they hold at.
using KnownStates = std::map<Sequence, std::vector<TableDigest>>;

// first_needed: the sequence the log has to begin with at the latest; 0: any will do. A log that was pruned begins
// where its anchor says, and nowhere else.
Result<LogVerdict> verify_log(
    ObjectStore& store, const Lineage& lineage, const KnownStates& known, Sequence first_needed,
    const std::function<bool(uint64_t items, uint64_t bytes, uint64_t bytes_total)>& progress = nullptr);

// True for an error that says something about the object, not about the way to it.
bool is_about_data(const Error& error);

}  // namespace tillsync
