#include "actionlog/log_dictionary.h"

#include <algorithm>

#include "actionlog/segment_rows.h"
#include "compression/zstd.h"

namespace tillsync {

bool is_dictionary_due(Sequence schema_sequence, Sequence dictionary_sequence, Sequence last) {
  using Plan = DictionaryPlan;
  if (dictionary_sequence <= schema_sequence) return last >= schema_sequence + Plan::kActionsMin;
  const Sequence wait = std::min(Plan::kGrowth * (dictionary_sequence - schema_sequence), Plan::kActionsMax);
  return last >= dictionary_sequence + wait;
}

namespace {

// Heads of the newest short segments of the schema, of whole transactions.
Result<std::vector<SegmentHead>> newest_segments(Connection& db, int64_t database_id, Sequence from, Sequence last) {
  TILLSYNC_LET(auto rows, db.cached("SELECT id, last_sequence, first_transaction, last_transaction FROM segments WHERE "
                                    "id BETWEEN ? AND ? AND content IS NOT NULL AND size<? ORDER BY id DESC LIMIT ?"));
  rows->bind(1, scoped_id(database_id, from)).bind(2, scoped_id(database_id, last));
  rows->bind(3, DictionaryPlan::kSampleSizeMax).bind(4, DictionaryPlan::kSamplesMax);
  std::vector<SegmentHead> heads;
  while (true) {
    TILLSYNC_LET(const bool row, rows->step());
    if (!row) return heads;
    SegmentHead head;
    head.first_sequence = number_of(rows->integer(0));
    head.last_sequence = rows->unsigned_integer(1);
    head.first_transaction = rows->unsigned_integer(2);
    head.last_transaction = rows->unsigned_integer(3);
    heads.push_back(head);
  }
}

}  // namespace

Result<std::optional<Bytes>> make_dictionary(StateDb& state, int64_t database_id, Sequence schema_sequence,
                                             Sequence last) {
  TILLSYNC_LET(const auto heads, newest_segments(*state.lease(), database_id, schema_sequence, last));
  std::vector<Bytes> samples;
  size_t bytes = 0;
  if (heads.size() >= DictionaryPlan::kSamplesMin) {
    for (auto& head : heads) {
      // One at a time: capture waits for state.db meanwhile.
      TILLSYNC_LET(const Segment segment, load_sealed(*state.lease(), database_id, head));
      if (segment.actions.empty()) break;  // trimmed, and so are those before
      SegmentContent content = encode_content(segment);
      content.bytes.resize(content.apart_at);
      bytes += content.bytes.size();
      if (bytes > DictionaryPlan::kSampleBytesMax) break;
      samples.push_back(std::move(content.bytes));
    }
  }
  if (samples.size() < DictionaryPlan::kSamplesMin) return std::optional<Bytes>();
  // The newest last: what is nearest to the end is found at the least cost.
  std::reverse(samples.begin(), samples.end());
  return std::optional(train_dictionary(samples, DictionaryPlan::kBytes));
}

Result<std::optional<Bytes>> dictionary_in_state(Connection& state, int64_t database_id, Sequence dictionary_sequence) {
  TILLSYNC_LET(auto row, state.cached("SELECT body FROM dictionaries WHERE id=?"));
  row->bind(1, scoped_id(database_id, dictionary_sequence));
  TILLSYNC_LET(const bool found, row->step());
  std::optional<Bytes> body;
  if (found) body = to_bytes(row->blob(0));
  row->reset();
  return body;
}

Result<void> keep_dictionary(Connection& state, int64_t database_id, Sequence dictionary_sequence,
                             ByteView dictionary) {
  TILLSYNC_LET(auto keep, state.cached("INSERT OR REPLACE INTO dictionaries(id, body) VALUES(?,?)"));
  TILLSYNC_TRY(keep->bind(1, scoped_id(database_id, dictionary_sequence)).bind(2, dictionary).run());
  // An anchor may be made after any segment that is known here, and has the dictionary of those that follow.
  TILLSYNC_LET(auto forget,
               state.cached("DELETE FROM dictionaries WHERE id>=?1 AND id<?1+(SELECT dictionary_sequence FROM segments "
                            "WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1)"));
  return forget->bind(1, scoped_id(database_id, 0)).bind(2, scoped_id(database_id, dictionary_sequence)).run();
}

}  // namespace tillsync
