// Turns captured actions in state.db into sealed segments.
//
// Purpose: one segment holds whole transactions of one schema, up to about 4 MiB of rows; a change of schema or a
// renumbering stands alone in its segment; a transaction that is larger is spread over several.
// When the log has grown enough, the next one carries a dictionary made of those before it (log_dictionary.h).
// Durability: build() only reads. The caller puts the object into the spool, then calls record(), then makes state.db
// durable, and only then sends it: an object is sealed once, and only those bytes are ever sent.
// Errors: what state.db reports; corrupt when it does not hold together.
// Threads: any, one sealer per database at a time.
#pragma once

#include "actionlog/segment.h"
#include "state/state_db.h"

namespace tillsync {

struct SealedSegment {
  SegmentHead head;
  Digest sha256;  // of the object
  Bytes object;
  std::string key;  // of the object in the store
  int64_t schema_id = 0;
  std::optional<Digest> content;  // content_digest(), if it can be merged
  std::vector<std::pair<TransactionNo, Bytes>> coincident;
  Bytes dictionary;  // if it carries one
};

class LogSealer {
 public:
  LogSealer(StateDb& state, int64_t database_id, Lineage lineage, std::string user_columns, Random& random)
      : state_(state),
        database_id_(database_id),
        lineage_(std::move(lineage)),
        user_columns_(std::move(user_columns)),
        random_(random) {}

  // The next segment after databases.flushed_sequence; nullopt when everything is sealed.
  Result<std::optional<SealedSegment>> build();
  // In the caller's state.db transaction: the row in `segments`, and flushed_sequence.
  Result<void> record(Connection& state, const SealedSegment& sealed, Timestamp now);

 private:
  struct LogEnd {
    Sequence flushed = 0, newest = 0;  // sealed, captured
    Digest link;                       // the rest: of the last segment
    Sequence schema_sequence = 0, dictionary_sequence = 0;
    int64_t schema_id = 0;
  };
  Result<LogEnd> log_end(Connection& db);

  StateDb& state_;
  int64_t database_id_;
  Lineage lineage_;
  std::string user_columns_;
  Random& random_;
};

}  // namespace tillsync
