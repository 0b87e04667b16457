#include "actionlog/state_anchor.h"

#include "state/state_db.h"

namespace tillsync {

Result<std::optional<LogAnchor>> anchor_from_state(Connection& db, int64_t database, Sequence last, Timestamp now) {
  TILLSYNC_LET(auto segment, db.prepare("SELECT s.last_sequence, s.last_transaction, coalesce(t.captured_at, "
                                        "s.created_at), coalesce(s.link, s.sha256), s.schema_sequence, c.body, "
                                        "s.dictionary_sequence, d.body FROM segments s JOIN "
                                        "schemas c ON c.id=s.schema_id LEFT JOIN dictionaries d ON "
                                        "d.id=?1+s.dictionary_sequence LEFT JOIN transactions t ON "
                                        "t.id=?1+s.last_transaction WHERE s.id BETWEEN ?1 AND ?2 ORDER BY s.id DESC "
                                        "LIMIT 1"));
  segment.bind(1, scoped_id(database, 0)).bind(2, scoped_id(database, last));
  TILLSYNC_LET(const bool found, segment.step());
  if (!found) return std::optional<LogAnchor>();
  LogAnchor anchor;
  anchor.first_sequence = segment.unsigned_integer(0) + 1;
  anchor.last_transaction = segment.unsigned_integer(1);
  anchor.last_captured_at = from_ms(segment.integer(2));
  anchor.pruned_at = now;
  TILLSYNC_LET(anchor.previous, Digest::from_bytes(segment.blob(3)));
  anchor.schema_sequence = segment.unsigned_integer(4);
  anchor.schema = to_bytes(segment.blob(5));
  anchor.dictionary_sequence = segment.unsigned_integer(6);
  anchor.dictionary = to_bytes(segment.blob(7));
  return std::optional(std::move(anchor));
}

}  // namespace tillsync
