#include "actionlog/log_sealer.h"

#include <algorithm>

#include "actionlog/log_dictionary.h"
#include "actionlog/segment_rows.h"
#include "base/checks.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {
// What a segment is built from is in memory, here and where it is read.
constexpr size_t kRowBytesMax = 2 << 20;

// Any two of these fit into a merged one.
bool can_be_merged(const Segment& segment) {
  if (segment.head.flags != 0 || segment.actions.size() > kMergedActionsMax / 2) return false;
  size_t bytes = 0;
  for (auto& a : segment.actions) bytes += row_bytes(a);
  return bytes <= kMergedRowBytesMax / 2;
}
}  // namespace

Result<LogSealer::LogEnd> LogSealer::log_end(Connection& db) {
  LogEnd end;
  TILLSYNC_LET(auto position, db.cached("SELECT flushed_sequence, sequence FROM databases WHERE id=?"));
  position->bind(1, database_id_);
  TILLSYNC_LET(bool found, position->step());
  TILLSYNC_CHECK(found);
  end.flushed = position->unsigned_integer(0);
  end.newest = position->unsigned_integer(1);
  position->reset();
  if (end.flushed >= end.newest) return end;
  TILLSYNC_LET(auto previous,
               db.cached("SELECT coalesce(link, sha256), schema_sequence, schema_id, dictionary_sequence "
                         "FROM segments WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"));
  previous->bind(1, scoped_id(database_id_, 0)).bind(2, scoped_id(database_id_, end.flushed));
  TILLSYNC_LET(found, previous->step());
  if (found) {
    TILLSYNC_LET(end.link, Digest::from_bytes(previous->blob(0)));
    end.schema_sequence = previous->unsigned_integer(1);
    end.schema_id = previous->integer(2);
    end.dictionary_sequence = previous->unsigned_integer(3);
  }
  previous->reset();
  return end;
}

Result<std::optional<SealedSegment>> LogSealer::build() {
  std::optional<StateDb::Lease> lease(state_.lease());
  TILLSYNC_LET(LogEnd log, log_end(**lease));
  if (log.flushed >= log.newest) return std::optional<SealedSegment>();
  std::optional<Bytes> new_dictionary;
  if (is_dictionary_due(log.schema_sequence, log.dictionary_sequence, log.flushed)) {
    // Capture does not wait for state.db while it is made.
    lease.reset();
    TILLSYNC_LET(new_dictionary, make_dictionary(state_, database_id_, log.schema_sequence, log.flushed));
    lease.emplace(state_.lease());
    TILLSYNC_LET(log, log_end(**lease));
  }
  Connection* const db = &**lease;
  const Sequence flushed = log.flushed, newest = log.newest;
  Segment segment;
  segment.head.previous = log.link;
  segment.head.schema_sequence = log.schema_sequence;
  segment.head.dictionary_sequence = log.dictionary_sequence;

  // Which transactions: one schema, and a change of schema alone.
  int64_t schema_id = 0;
  Sequence last = flushed;
  {
    TILLSYNC_LET(auto rows, db->cached("SELECT t.id, t.first_sequence, t.last_sequence, t.captured_at, s.uuid, "
                                       "t.flags, t.schema_id FROM transactions t"
                                       " JOIN capture_sessions s ON s.id=t.session_id WHERE t.id BETWEEN ? AND ? AND "
                                       "t.last_sequence>? ORDER BY t.id"));
    TILLSYNC_LET(int64_t first_transaction, db->query_integer("SELECT transaction_no FROM action_log WHERE id=" +
                                                              std::to_string(scoped_id(database_id_, flushed + 1))));
    rows->bind(1, scoped_id(database_id_, static_cast<uint64_t>(first_transaction)))
        .bind(2, scoped_id(database_id_, (uint64_t{1} << 48) - 1))
        .bind(3, flushed);
    while (true) {
      TILLSYNC_LET(bool row, rows->step());
      if (!row) break;
      uint32_t flags = static_cast<uint32_t>(rows->integer(5));
      bool alone = flags & (kSchemaChange | kRenumber);
      bool first = segment.transactions.empty();
      if (first) {
        schema_id = rows->integer(6);
        if (rows->unsigned_integer(1) <= flushed) segment.head.flags |= kStartsInside;
      } else if (rows->integer(6) != schema_id || alone || last - flushed >= kSealedActionsMax) {
        rows->reset();
        break;
      }
      TILLSYNC_LET(Uuid session, Uuid::parse(rows->text(4)));
      if (segment.sessions.empty() || segment.sessions.back() != session) segment.sessions.push_back(session);
      segment.transactions.push_back({number_of(rows->integer(0)),
                                      from_ms(rows->integer(3)),
                                      static_cast<uint32_t>(segment.sessions.size() - 1),
                                      flags,
                                      {}});
      last = rows->unsigned_integer(2);
      if (alone) {
        rows->reset();
        break;
      }
    }
  }
  bool cut_short;
  const RowLimits limits{kRowBytesMax, kSealedActionsMax};
  TILLSYNC_TRY(load_actions(*db, database_id_, flushed + 1, last, limits, segment, cut_short));
  TILLSYNC_CHECK(!segment.actions.empty());
  // Actions carry transaction numbers in state.db; here, positions.
  {
    TILLSYNC_LET(
        auto bounds,
        db->cached("SELECT id, first_sequence, last_sequence FROM transactions WHERE id BETWEEN ? AND ? ORDER BY id"));
    bounds->bind(1, scoped_id(database_id_, segment.transactions.front().number))
        .bind(2, scoped_id(database_id_, segment.transactions.back().number));
    size_t at = 0;
    uint32_t transaction = 0;
    size_t kept = 0;
    while (at < segment.actions.size()) {
      TILLSYNC_LET(bool row, bounds->step());
      TILLSYNC_CHECK(row);
      Sequence end = bounds->unsigned_integer(2);
      if (cut_short && end > segment.actions.back().sequence) {
        // Rather end before a transaction than inside it, unless it is the only one.
        if (kept > 0) {
          segment.actions.resize(kept);
          segment.transactions.resize(transaction);
          break;
        }
        segment.head.flags |= kEndsInside;
        end = segment.actions.back().sequence;
        segment.transactions.resize(1);
      }
      for (; at < segment.actions.size() && segment.actions[at].sequence <= end; at++)
        segment.actions[at].transaction_index = transaction;
      kept = at;
      transaction++;
    }
    // The rows may end where a transaction does: those after it have none here, and belong to the next segment.
    segment.transactions.resize(transaction);
    bounds->reset();
  }
  for (auto& t : segment.transactions) {
    TILLSYNC_LET(t.coincident, coincident_with(*db, database_id_, t.number));
  }
  set_range(segment);
  SegmentHead& head = segment.head;
  segment.user_columns = user_columns_;
  if (!(head.flags & kEndsInside)) TILLSYNC_TRY(load_hidden_rows(*db, database_id_, segment));

  // Digests are known at the newest sequence, and at changes of schema.
  if (head.last_sequence == newest) {
    TILLSYNC_LET(auto tables, db->cached("SELECT name, rows, digest FROM tracked_tables WHERE database_id=? AND live "
                                         "AND name<>'sqlite_schema' ORDER BY name"));
    tables->bind(1, database_id_);
    while (true) {
      TILLSYNC_LET(bool row, tables->step());
      if (!row) break;
      TILLSYNC_LET(auto digest, MultisetDigest::from_bytes(tables->blob(2)));
      segment.digests.push_back({tables->text(0), tables->unsigned_integer(1), digest});
    }
  } else {
    TILLSYNC_LET(auto point, db->cached("SELECT body FROM digest_points WHERE id=?"));
    point->bind(1, scoped_id(database_id_, head.last_sequence));
    TILLSYNC_LET(bool found, point->step());
    if (found) {
      ByteReader r(point->blob(0));
      TILLSYNC_LET(segment.digests, decode_digests(r));
    }
    point->reset();
  }
  std::sort(segment.digests.begin(), segment.digests.end());
  if (!segment.digests.empty()) head.state = state_digest(segment.digests);
  // Also where replay stops at the same schema: so that such places are found by the heads' schema sequences alone.
  const bool barrier = segment.transactions.front().flags & (kSchemaChange | kRenumber);
  if (schema_id != log.schema_id || barrier) {
    head.flags |= kCarriesSchema;
    head.schema_sequence = head.first_sequence;
    TILLSYNC_LET(auto schema, db->cached("SELECT body FROM schemas WHERE id=?"));
    schema->bind(1, schema_id);
    TILLSYNC_LET(bool found, schema->step());
    TILLSYNC_CHECK(found);
    segment.schema = to_bytes(schema->blob(0));
    schema->reset();
  } else {
    segment.digests.clear();
  }

  std::optional<Bytes> dictionary;
  if (new_dictionary) {
    head.flags |= kCarriesDictionary;
    head.dictionary_sequence = head.first_sequence;
    segment.dictionary = std::move(*new_dictionary);
  } else if (head.dictionary_sequence != 0) {
    TILLSYNC_LET(dictionary, dictionary_in_state(*db, database_id_, head.dictionary_sequence));
    if (!dictionary) head.dictionary_sequence = 0;
  }

  SealedSegment sealed;
  sealed.head = head;
  sealed.schema_id = schema_id;
  sealed.dictionary = segment.dictionary;
  if (can_be_merged(segment)) sealed.content = content_digest(segment);
  for (auto& t : segment.transactions)
    if (!t.coincident.empty()) sealed.coincident.emplace_back(t.number, encode_coincident(t.coincident));
  sealed.object = encode_segment(segment, lineage_, random_, dictionary ? ByteView(*dictionary) : ByteView());
  sealed.sha256 = sha256(sealed.object);
  sealed.key = keys::segment(keys::database_prefix(lineage_.terminal, lineage_.database, lineage_.epoch),
                             head.first_sequence, head.last_sequence);
  return std::optional<SealedSegment>(std::move(sealed));
}

Result<void> LogSealer::record(Connection& state, const SealedSegment& sealed, Timestamp now) {
  TILLSYNC_LET(
      auto insert,
      state.cached(
          "INSERT INTO segments(id, last_sequence, first_transaction, last_transaction, object_key, sha256, size,"
          " schema_sequence, schema_id, created_at, last_captured_at, state, content, user_columns, "
          "dictionary_sequence) "
          "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  const SegmentHead& h = sealed.head;
  insert->bind(1, scoped_id(database_id_, h.first_sequence))
      .bind(2, h.last_sequence)
      .bind(3, h.first_transaction)
      .bind(4, h.last_transaction);
  insert->bind(5, sealed.key)
      .bind(6, sealed.sha256.view())
      .bind(7, sealed.object.size())
      .bind(8, h.schema_sequence)
      .bind(9, sealed.schema_id)
      .bind(10, to_ms(now))
      .bind(11, to_ms(h.last_captured_at));
  if (sealed.content) insert->bind(12, h.state.view()).bind(13, sealed.content->view()).bind(14, user_columns_);
  TILLSYNC_TRY(insert->bind(15, h.dictionary_sequence).run());
  if (!sealed.dictionary.empty())
    TILLSYNC_TRY(keep_dictionary(state, database_id_, h.dictionary_sequence, sealed.dictionary));
  for (auto& [number, coincident] : sealed.coincident) {
    TILLSYNC_LET(auto keep, state.cached("UPDATE transactions SET coincident=? WHERE id=?"));
    TILLSYNC_TRY(keep->bind(1, ByteView(coincident)).bind(2, scoped_id(database_id_, number)).run());
  }
  TILLSYNC_LET(auto update, state.cached("UPDATE databases SET flushed_sequence=? WHERE id=?"));
  return update->bind(1, h.last_sequence).bind(2, database_id_).run();
}

}  // namespace tillsync
