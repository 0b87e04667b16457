#include "agent/daemon/log_begin.h"

#include <algorithm>
#include <map>

#include "actionlog/state_anchor.h"
#include "agent/config/retention_policy.h"
#include "agent/logging/log.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kSequenceMax = (uint64_t{1} << 48) - 1;

// Up to where the log can go.
Result<Sequence> last_to_go(Connection& db, int64_t database, uint64_t epoch, Timestamp now, Milliseconds kept) {
  // From the newest moment and not from now: a till that stands still loses nothing.
  TILLSYNC_LET(auto base,
               db.prepare("WITH own AS (SELECT sequence, captured_at FROM snapshots WHERE is_complete AND "
                          "damage IS NULL AND database_id=?1 AND epoch=?2) SELECT coalesce(max(sequence), 0) "
                          "FROM own WHERE captured_at<=min(?3, (SELECT max(captured_at) FROM own))-?4"));
  base.bind(1, database).bind(2, epoch).bind(3, to_ms(now)).bind(4, static_cast<int64_t>(kept.count()));
  TILLSYNC_TRY(base.step());
  TILLSYNC_LET(auto last, db.prepare("SELECT coalesce(max(last_sequence), 0) FROM segments WHERE id BETWEEN ?1 AND ?2 "
                                     "AND last_sequence<=?3 AND durable_at IS NOT NULL AND id<(SELECT max(id) FROM "
                                     "segments WHERE id BETWEEN ?1 AND ?4 AND durable_at IS NOT NULL)"));
  last.bind(1, scoped_id(database, 0)).bind(2, scoped_id(database, base.unsigned_integer(0)));
  last.bind(3, base.unsigned_integer(0)).bind(4, scoped_id(database, kSequenceMax));
  TILLSYNC_TRY(last.step());
  return last.unsigned_integer(0);
}

// The last sequence of each epoch's log among the segments that go, by the folder of the log.
Result<std::map<std::string, Sequence>> ends_of_epochs(Connection& db, int64_t database, Sequence last) {
  std::map<std::string, Sequence> ends;
  TILLSYNC_LET(auto rows, db.prepare("SELECT object_key, last_sequence FROM segments WHERE id BETWEEN ? AND ?"));
  rows.bind(1, scoped_id(database, 0)).bind(2, scoped_id(database, last));
  while (true) {
    TILLSYNC_LET(const bool row, rows.step());
    if (!row) return ends;
    const std::string key = rows.text(0);
    Sequence& end = ends[key.substr(0, key.rfind('/') + 1)];
    end = std::max(end, rows.unsigned_integer(1));
  }
}

}  // namespace

Result<std::optional<Sequence>> move_log_begin(const Services& services, int64_t database_id,
                                               const std::string& database) {
  const RetentionPolicy policy = policy_of(services.config->retention);
  std::vector<std::pair<Lineage, LogAnchor>> anchors;
  Sequence last;
  {
    auto db = services.state->lease();
    TILLSYNC_LET(last, last_to_go(*db, database_id, services.epoch, services.clock->now(), policy.log));
    if (last == 0) return std::optional<Sequence>();
    TILLSYNC_LET(const auto ends, ends_of_epochs(*db, database_id, last));
    for (uint64_t epoch = 1; epoch <= services.epoch; epoch++) {
      Lineage lineage{services.terminal.id, database, epoch, services.terminal.keys};
      const auto end = ends.find(keys::log_prefix(keys::database_prefix(lineage.terminal, database, epoch)));
      if (end == ends.end()) continue;
      TILLSYNC_LET(auto anchor, anchor_from_state(*db, database_id, end->second, services.clock->now()));
      if (!anchor) continue;
      if (anchor->dictionary_sequence != 0 && anchor->dictionary.empty()) {
        log::warn("{}: state.db lost a dictionary of its log, so none of the log in the store goes", database);
        return std::optional<Sequence>();
      }
      anchors.emplace_back(std::move(lineage), std::move(*anchor));
    }
  }
  for (auto& [lineage, anchor] : anchors) {
    const Bytes object = anchor.encode(lineage, *services.random);
    BytesSource source(object);
    auto put = services.store->put(
        keys::anchor(keys::database_prefix(lineage.terminal, database, lineage.epoch), anchor.first_sequence), source);
    // The same begin, whose answer was lost.
    if (!put && put.error().kind != ErrorKind::conflict) return std::move(put).error();
  }
  // They are known no more: neither to go on from, nor to verify.
  {
    auto db = services.state->lease();
    TILLSYNC_LET(auto gone, db->prepare("DELETE FROM segments WHERE id BETWEEN ? AND ?"));
    TILLSYNC_TRY(gone.bind(1, scoped_id(database_id, 0)).bind(2, scoped_id(database_id, last)).run());
  }
  return std::optional(last + 1);
}

}  // namespace tillsync
