#include "agent/daemon/new_epoch.h"

#include <algorithm>

#include "actionlog/state_anchor.h"
#include "agent/daemon/epoch_documents.h"
#include "agent/logging/log.h"
#include "ports/object_keys.h"
#include "state/full_due.h"

namespace tillsync {

namespace {

// Where the log of a database goes on.
struct Cut {
  int64_t database = 0;
  std::string name;
  Sequence last = 0;  // that stays in the epoch before
  std::optional<LogAnchor> anchor;
};

Result<std::vector<Cut>> cuts(const Services& services) {
  auto db = services.state->lease();
  std::vector<Cut> all;
  TILLSYNC_LET(auto rows, db->prepare("SELECT id, name, durable_sequence FROM databases"));
  while (true) {
    TILLSYNC_LET(const bool row, rows.step());
    if (!row) break;
    Cut cut{rows.integer(0), rows.text(1), rows.unsigned_integer(2), {}};
    TILLSYNC_LET(auto oldest, db->prepare("SELECT first_sequence FROM transactions WHERE id BETWEEN ? AND ? AND "
                                          "last_sequence>? ORDER BY id LIMIT 1"));
    oldest.bind(1, scoped_id(cut.database, 0))
        .bind(2, scoped_id(cut.database, (uint64_t{1} << 48) - 1))
        .bind(3, cut.last);
    TILLSYNC_LET(const bool has_rows, oldest.step());
    const Sequence durable = cut.last;
    if (has_rows) cut.last = std::max(cut.last, oldest.unsigned_integer(0) - 1);
    TILLSYNC_LET(cut.anchor, anchor_from_state(*db, cut.database, cut.last, services.clock->now()));
    if (cut.anchor) cut.last = cut.anchor->first_sequence - 1;
    // What follows is sealed anew, and without it.
    if (cut.anchor && cut.anchor->dictionary.empty()) cut.anchor->dictionary_sequence = 0;
    if (cut.last > durable)
      log::error(
          "{}: sequences {} to {} were sealed for the epoch that is lost and are no longer here: the log of "
          "the new one does not have them; the database's content is in its first snapshot",
          cut.name, durable + 1, cut.last);
    all.push_back(std::move(cut));
  }
  return all;
}

Result<uint64_t> take_number(const Services& services, ObjectStore& store, const EpochLoss& loss) {
  uint64_t number = services.epoch;
  TILLSYNC_TRY(for_each_object(store, keys::epochs_prefix(services.terminal), [&](auto& object) -> Result<void> {
    number = std::max(number, keys::number_of_epoch(object.key).value_or(0));
    return {};
  }));
  while (true) {
    number++;
    Json document{{"epoch", number}, {"terminal", services.terminal.str()}, {"from", services.epoch}};
    if (loss.displaced_by) document["displaced_by"] = *loss.displaced_by;
    document["reason"] = loss.why;
    document["created_at"] = to_rfc3339(services.clock->now());
    const std::string text = encode_document(services, std::move(document), kEpochDocument);
    BytesSource source(as_bytes(text));
    auto put = store.put(keys::epoch(services.terminal, number), source);
    if (put) return number;
    if (put.error().kind != ErrorKind::conflict) return std::move(put).error();
  }
}

}  // namespace

Result<void> begin_epoch(const Services& services, ObjectStore& store, const EpochLoss& loss) {
  TILLSYNC_LET(const auto logs, cuts(services));
  TILLSYNC_LET(const uint64_t number, take_number(services, store, loss));
  Json last = Json::object();
  for (auto& cut : logs) {
    last[std::to_string(cut.database)] = cut.last;
    if (!cut.anchor) continue;
    const Lineage lineage{services.terminal.id, cut.name, number, services.terminal.keys};
    const Bytes object = cut.anchor->encode(lineage, *services.random);
    BytesSource source(object);
    TILLSYNC_TRY(store.put(keys::anchor(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch),
                                        cut.anchor->first_sequence),
                           source));
  }
  TILLSYNC_TRY(services.state->set_setting("next_epoch", Json{{"from", services.epoch},
                                                              {"epoch", number},
                                                              {"why", loss.why},
                                                              {"at", to_ms(services.clock->now())},
                                                              {"last_sequences", last}}
                                                             .dump()));
  return services.state->make_durable();
}

Result<uint64_t> adopt_epoch(StateDb& state) {
  TILLSYNC_LET(const auto kept, state.setting("epoch"));
  TILLSYNC_LET(const auto next, state.setting("next_epoch"));
  if (!next) {
    if (!kept) TILLSYNC_TRY(state.set_setting("epoch", "1"));
    return kept ? std::stoull(*kept) : 1;
  }
  const Json begun = parse_json(*next);
  if (!begun.is_object()) return Error{ErrorKind::corrupt, 0, "state.db: its setting next_epoch does not parse"};
  const auto number = begun.at("epoch").get<uint64_t>();
  auto db = state.lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  for (auto& [id, sequence] : begun.at("last_sequences").items()) {
    const int64_t database = std::stoll(id);
    const auto last = sequence.get<Sequence>();
    TILLSYNC_LET(auto unsealed, db->prepare("DELETE FROM segments WHERE id BETWEEN ? AND ?"));
    TILLSYNC_TRY(
        unsealed.bind(1, scoped_id(database, last + 1)).bind(2, scoped_id(database, (uint64_t{1} << 48) - 1)).run());
    TILLSYNC_LET(auto position, db->prepare("UPDATE databases SET epoch=?1, flushed_sequence=min(sequence, ?2), "
                                            "durable_sequence=min(sequence, ?2) WHERE id=?3"));
    TILLSYNC_TRY(position.bind(1, number).bind(2, last).bind(3, database).run());
  }
  // Sealed for the epoch before, or stored there. Its spool files go with the leftovers.
  TILLSYNC_TRY(
      db->execute("DELETE FROM transfer_queue WHERE owner=''; DELETE FROM stored_blocks; "
                  "DELETE FROM merges; DELETE FROM merged_parts; "
                  "DELETE FROM settings WHERE key IN ('start', 'epoch_marks', 'next_epoch')"));
  TILLSYNC_TRY(want_fulls(*db, "the first of epoch " + std::to_string(number), false));
  TILLSYNC_LET(auto setting, db->prepare("INSERT OR REPLACE INTO settings(key, value) VALUES(?, ?)"));
  TILLSYNC_TRY(setting.bind(1, "epoch").bind(2, std::to_string(number)).run());
  setting.reset();
  TILLSYNC_TRY(setting.bind(1, "epoch_change").bind(2, *next).run());
  setting.reset();
  TILLSYNC_TRY(transaction.commit());
  return number;
}

Result<std::optional<EpochChange>> last_epoch_change(StateDb& state) {
  TILLSYNC_LET(const auto kept, state.setting("epoch_change"));
  if (!kept) return std::optional<EpochChange>();
  const Json change = parse_json(*kept);
  if (!change.is_object()) return Error{ErrorKind::corrupt, 0, "state.db: its setting epoch_change does not parse"};
  return std::optional(EpochChange{change.at("from").get<uint64_t>(), change.at("epoch").get<uint64_t>(),
                                   change.at("why").get<std::string>(), from_ms(change.at("at").get<int64_t>())});
}

}  // namespace tillsync
