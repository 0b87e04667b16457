#include "actionlog/coincidence.h"

#include <algorithm>
#include <map>
#include <optional>

#include "state/state_db.h"

namespace tillsync {

namespace {

struct Candidate {
  int64_t id = 0;  // scoped
  CommitSpan span;
  int found = 0;
};

// Of each database the transactions whose spans overlap this one; the first, and how many there are.
Result<std::map<int64_t, Candidate>> overlapping(Connection& state, const CommitSpan& span) {
  TILLSYNC_LET(auto query, state.cached("SELECT id, written_at, seen_at FROM transactions"
                                        " WHERE seen_at BETWEEN ?1 AND ?2+?3 AND written_at<=?2"));
  query->bind(1, span.written_at).bind(2, span.seen_at).bind(3, kCommitSpanMax);
  std::map<int64_t, Candidate> all;
  while (true) {
    TILLSYNC_LET(bool row, query->step());
    if (!row) return all;
    Candidate& one = all[database_of(query->integer(0))];
    if (one.found++ == 0) one = {query->integer(0), {query->integer(1), query->integer(2)}, 1};
  }
}

}  // namespace

Result<std::vector<Coincident>> coincident_with(Connection& state, int64_t database_id, TransactionNo transaction) {
  std::vector<Coincident> found;
  std::optional<CommitSpan> span;
  {
    TILLSYNC_LET(auto query, state.cached("SELECT written_at, seen_at FROM transactions WHERE id=?"));
    query->bind(1, scoped_id(database_id, transaction));
    TILLSYNC_LET(bool row, query->step());
    if (row && !query->is_null(0)) span = CommitSpan{query->integer(0), query->integer(1)};
    query->reset();
  }
  if (!span) return found;
  TILLSYNC_LET(auto candidates, overlapping(state, *span));
  for (auto& [other_id, other] : candidates) {
    if (other_id == database_id || other.found != 1) continue;
    // And the other way round: nothing else of this database fits to it.
    TILLSYNC_LET(auto back, overlapping(state, other.span));
    if (back[database_id].found != 1) continue;
    TILLSYNC_LET(auto name, state.cached("SELECT name FROM databases WHERE id=?"));
    name->bind(1, other_id);
    TILLSYNC_LET(bool row, name->step());
    if (row) found.push_back({name->text(0), number_of(other.id)});
    name->reset();
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.database < b.database; });
  return found;
}

}  // namespace tillsync
