#include "actionlog/log_merger.h"

#include "actionlog/segment_rows.h"
#include "crypto/hash.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kSequenceMax = (uint64_t{1} << 48) - 1;

// Puts the part behind what is there.
void append_part(Segment& merged, Segment part) {
  std::vector<uint32_t> tables, sessions;
  for (auto& name : part.tables) tables.push_back(index_of_name(merged.tables, name));
  for (auto& session : part.sessions) {
    if (merged.sessions.empty() || merged.sessions.back() != session) merged.sessions.push_back(session);
    sessions.push_back(static_cast<uint32_t>(merged.sessions.size() - 1));
  }
  const auto first = static_cast<uint32_t>(merged.transactions.size());
  for (auto& t : part.transactions) {
    t.session_index = sessions[t.session_index];
    merged.transactions.push_back(std::move(t));
  }
  for (auto& a : part.actions) {
    a.transaction_index += first;
    a.table_index = tables[a.table_index];
    merged.actions.push_back(std::move(a));
  }
  for (auto& h : part.hidden) {
    h.transaction_index += first;
    h.table_index = tables[h.table_index];
    merged.hidden.push_back(std::move(h));
  }
  merged.parts.push_back(part.actions.size());
}

}  // namespace

Result<Sequence> LogMerger::newest_snapshot(Connection& db) {
  TILLSYNC_LET(auto query, db.cached("SELECT coalesce(max(sequence), 0) FROM snapshots WHERE is_complete AND damage IS "
                                     "NULL AND database_id=? AND epoch=?"));
  query->bind(1, database_id_).bind(2, lineage_.epoch);
  TILLSYNC_TRY(query->step());
  const Sequence newest = query->unsigned_integer(0);
  query->reset();
  return newest;
}

// The first run of at least two, from the sequence on; empty for none.
Result<std::vector<LogMerger::Part>> LogMerger::next_parts(Connection& db, Sequence from, Sequence up_to) {
  // An epoch before keeps what it has.
  const std::string folder = keys::log_prefix(prefix());
  TILLSYNC_LET(auto rows, db.cached("SELECT id, last_sequence, first_transaction, last_transaction, sha256, "
                                    "schema_sequence, schema_id, state, content, user_columns, dictionary_sequence "
                                    "FROM segments WHERE id "
                                    "BETWEEN ?1 AND ?2 AND last_sequence<=?3 AND content IS NOT NULL AND durable_at IS "
                                    "NOT NULL AND substr(object_key, 1, length(?4))=?4 ORDER BY id"));
  rows->bind(1, scoped_id(database_id_, from)).bind(2, scoped_id(database_id_, up_to)).bind(3, up_to).bind(4, folder);
  std::vector<Part> run;
  uint64_t actions = 0;
  while (true) {
    TILLSYNC_LET(bool row, rows->step());
    if (!row) break;
    Part part;
    part.head.first_sequence = number_of(rows->integer(0));
    part.head.last_sequence = rows->unsigned_integer(1);
    part.head.first_transaction = rows->unsigned_integer(2);
    part.head.last_transaction = rows->unsigned_integer(3);
    TILLSYNC_LET(part.link, Digest::from_bytes(rows->blob(4)));
    part.head.schema_sequence = rows->unsigned_integer(5);
    part.schema_id = rows->integer(6);
    TILLSYNC_LET(part.head.state, Digest::from_bytes(rows->blob(7)));
    TILLSYNC_LET(part.content, Digest::from_bytes(rows->blob(8)));
    part.user_columns = rows->text(9);
    part.head.dictionary_sequence = rows->unsigned_integer(10);
    const uint64_t more = part.head.last_sequence - part.head.first_sequence + 1;
    const bool goes_on = !run.empty() && run.back().head.last_sequence + 1 == part.head.first_sequence &&
                         run.back().schema_id == part.schema_id &&
                         run.back().head.schema_sequence == part.head.schema_sequence &&
                         run.back().user_columns == part.user_columns && actions + more <= kMergedActionsMax;
    if (!goes_on && run.size() > 1) break;
    if (!goes_on) {
      run.clear();
      actions = 0;
    }
    actions += more;
    run.push_back(std::move(part));
  }
  rows->reset();
  if (run.size() < 2) run.clear();
  return run;
}

// As many of them as go into one; nullopt when a part is not what was sealed, which is then left out from now on.
Result<std::optional<Segment>> LogMerger::join(Connection& db, const std::vector<Part>& parts) {
  Segment merged;
  size_t bytes = 0;
  for (auto& one : parts) {
    TILLSYNC_LET(Segment part, load_sealed(db, database_id_, one.head));
    const bool as_sealed = content_digest(part) == one.content;
    for (auto& a : part.actions) bytes += row_bytes(a);
    if (merged.parts.size() > 1 && (!as_sealed || bytes > kMergedRowBytesMax)) break;
    if (!as_sealed) {
      left_out_.push_back("state.db no longer holds sequences " + std::to_string(one.head.first_sequence) + " to " +
                          std::to_string(one.head.last_sequence) +
                          " as they were sealed; their segment stays as it is");
      TILLSYNC_LET(auto leave, db.cached("UPDATE segments SET content=NULL WHERE id=?"));
      TILLSYNC_TRY(leave->bind(1, scoped_id(database_id_, one.head.first_sequence)).run());
      return std::optional<Segment>();
    }
    merged.head.state = one.head.state;
    merged.head.link = one.link;
    merged.head.dictionary_sequence = one.head.dictionary_sequence;
    append_part(merged, std::move(part));
  }
  set_range(merged);
  merged.head.flags = kMerged;
  merged.head.schema_sequence = parts.front().head.schema_sequence;
  merged.user_columns = parts.front().user_columns;
  return std::optional(std::move(merged));
}

// Of the segment that ends there; nullopt where sequences were lost.
Result<std::optional<Digest>> LogMerger::link_before(Connection& db, Sequence first) {
  TILLSYNC_LET(auto before, db.cached("SELECT last_sequence, coalesce(link, sha256) FROM segments WHERE id BETWEEN ? "
                                      "AND ? ORDER BY id DESC LIMIT 1"));
  before->bind(1, scoped_id(database_id_, 0)).bind(2, scoped_id(database_id_, first - 1));
  TILLSYNC_LET(const bool found, before->step());
  std::optional<Digest> link;
  if (found && before->unsigned_integer(0) + 1 == first) {
    TILLSYNC_LET(link, Digest::from_bytes(before->blob(1)));
  }
  before->reset();
  return link;
}

std::string LogMerger::prefix() const {
  return keys::database_prefix(lineage_.terminal, lineage_.database, lineage_.epoch);
}

Result<std::optional<MergedSegment>> LogMerger::build() {
  std::optional<Segment> merged;
  {
    auto db = state_.lease();
    TILLSYNC_LET(const int64_t under_way,
                 db->query_integer("SELECT count(*) FROM merges WHERE id>>48=" + std::to_string(database_id_)));
    if (under_way > 0) return std::optional<MergedSegment>();
    TILLSYNC_LET(const Sequence up_to, newest_snapshot(*db));
    // Rows that are here, and a segment before them to follow.
    TILLSYNC_LET(auto oldest, db->cached("SELECT max((SELECT min(id) FROM action_log WHERE id BETWEEN ?1 AND ?2), "
                                         "(SELECT min(id) FROM segments WHERE id BETWEEN ?1 AND ?2)+1)"));
    oldest->bind(1, scoped_id(database_id_, 0)).bind(2, scoped_id(database_id_, kSequenceMax));
    TILLSYNC_TRY(oldest->step());
    const bool any = !oldest->is_null(0);
    Sequence from = any ? number_of(oldest->integer(0)) : 0;
    oldest->reset();
    while (any && !merged) {
      TILLSYNC_LET(const auto parts, next_parts(*db, from, up_to));
      if (parts.empty()) return std::optional<MergedSegment>();
      TILLSYNC_LET(merged, join(*db, parts));
      if (!merged) continue;
      TILLSYNC_LET(const auto before, link_before(*db, merged->head.first_sequence));
      if (before) {
        merged->head.previous = *before;
      } else {
        from = merged->head.first_sequence + 1;
        merged.reset();
      }
    }
  }
  if (!merged) return std::optional<MergedSegment>();
  MergedSegment made;
  made.head = merged->head;
  made.parts = merged->parts.size();
  made.object = encode_segment(*merged, lineage_, random_);
  made.sha256 = sha256(made.object);
  made.key = keys::merged_segment(prefix(), made.head.first_sequence, made.head.last_sequence);
  return std::optional(std::move(made));
}

Result<void> LogMerger::record(Connection& state, const MergedSegment& merged) {
  TILLSYNC_LET(auto insert, state.cached("INSERT INTO merges(id, last_sequence, object_key, sha256, link, size) "
                                         "VALUES(?,?,?,?,?,?)"));
  insert->bind(1, scoped_id(database_id_, merged.head.first_sequence)).bind(2, merged.head.last_sequence);
  insert->bind(3, merged.key).bind(4, merged.sha256.view()).bind(5, merged.head.link.view());
  return insert->bind(6, merged.object.size()).run();
}

Result<void> LogMerger::stored(Connection& state, const std::string& key, Timestamp now) {
  TILLSYNC_LET(auto merge, state.cached("SELECT id, last_sequence FROM merges WHERE object_key=?"));
  merge->bind(1, key);
  TILLSYNC_LET(const bool found, merge->step());
  if (!found) return {};
  const int64_t first = merge->integer(0), last = first - static_cast<int64_t>(number_of(first)) + merge->integer(1);
  merge->reset();
  // Where a prune took its first part away meanwhile, the merged one begins before the log does and counts for nothing.
  TILLSYNC_LET(auto whole, state.cached("SELECT count(*) FROM segments WHERE id=?"));
  whole->bind(1, first);
  TILLSYNC_TRY(whole->step());
  const bool takes_their_place = whole->integer(0) > 0;
  whole->reset();
  if (takes_their_place) {
    TILLSYNC_LET(auto parts, state.cached("INSERT OR IGNORE INTO merged_parts(object_key, id, sha256, size) SELECT "
                                          "object_key, id, sha256, size FROM segments WHERE id BETWEEN ? AND ?"));
    TILLSYNC_TRY(parts->bind(1, first).bind(2, last).run());
    TILLSYNC_LET(
        auto take,
        state.cached("INSERT OR REPLACE INTO segments(id, last_sequence, first_transaction, last_transaction, "
                     "object_key, sha256, size, schema_sequence, schema_id, created_at, last_captured_at, durable_at, "
                     "dictionary_sequence, link) SELECT m.id, m.last_sequence, a.first_transaction, "
                     "z.last_transaction, m.object_key, "
                     "m.sha256, m.size, z.schema_sequence, z.schema_id, z.created_at, z.last_captured_at, ?3, "
                     "z.dictionary_sequence, "
                     "m.link "
                     "FROM merges m JOIN segments a ON a.id=m.id JOIN segments z ON z.id BETWEEN ?1 AND ?2 AND "
                     "z.last_sequence=m.last_sequence WHERE m.id=?1"));
    TILLSYNC_TRY(take->bind(1, first).bind(2, last).bind(3, to_ms(now)).run());
    TILLSYNC_LET(auto gone, state.cached("DELETE FROM segments WHERE id BETWEEN ? AND ?"));
    TILLSYNC_TRY(gone->bind(1, first + 1).bind(2, last).run());
  }
  TILLSYNC_LET(auto done, state.cached("DELETE FROM merges WHERE id=?"));
  return done->bind(1, first).run();
}

Result<bool> LogMerger::forget(Connection& state, const std::string& key) {
  TILLSYNC_LET(auto gone, state.cached("DELETE FROM merges WHERE object_key=?"));
  TILLSYNC_TRY(gone->bind(1, key).run());
  return state.changes() > 0;
}

}  // namespace tillsync
