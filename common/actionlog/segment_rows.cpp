#include "actionlog/segment_rows.h"

#include <algorithm>

namespace tillsync {

uint32_t index_of_name(std::vector<std::string>& names, const std::string& name) {
  auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) at = names.insert(names.end(), name);
  return static_cast<uint32_t>(at - names.begin());
}

Result<void> load_actions(Connection& db, int64_t database_id, Sequence first, Sequence last, const RowLimits& limits,
                          Segment& segment, bool& cut_short) {
  cut_short = false;
  TILLSYNC_LET(auto rows, db.cached("SELECT a.id, a.action, t.name, a.row_id, a.previous_row_id, a.entity_created, "
                                    "a.version, a.dependencies, a.data,"
                                    " a.previous_data FROM action_log a JOIN tracked_tables t ON t.id=a.table_id WHERE "
                                    "a.id BETWEEN ? AND ? ORDER BY a.id"));
  rows->bind(1, scoped_id(database_id, first)).bind(2, scoped_id(database_id, last));
  size_t bytes = 0;
  while (true) {
    TILLSYNC_LET(bool row, rows->step());
    if (!row) return {};
    if (bytes > limits.bytes || segment.actions.size() >= limits.actions) {
      rows->reset();
      cut_short = true;
      return {};
    }
    SegmentAction a;
    a.sequence = number_of(rows->integer(0));
    a.kind = static_cast<ActionKind>(rows->integer(1));
    a.table_index = index_of_name(segment.tables, rows->text(2));
    a.rowid = rows->optional_integer(3);
    a.previous_rowid = rows->optional_integer(4);
    a.entity_created = rows->unsigned_integer(5);
    a.version = rows->unsigned_integer(6);
    ByteReader dependencies(rows->blob(7));
    while (dependencies.remaining()) {
      uint64_t distance = dependencies.uvar();
      if (!dependencies.ok()) break;
      a.dependencies.push_back(a.sequence - distance);
    }
    a.after = to_bytes(rows->blob(8));
    a.before = to_bytes(rows->blob(9));
    bytes += row_bytes(a);
    segment.actions.push_back(std::move(a));
  }
}

Result<void> load_hidden_rows(Connection& db, int64_t database_id, Segment& segment) {
  TILLSYNC_LET(auto rows,
               db.cached("SELECT transaction_no, table_name, action, row_id, data, previous_data FROM hidden_rows"
                         " WHERE database_id=? AND transaction_no BETWEEN ? AND ? ORDER BY id"));
  rows->bind(1, database_id).bind(2, segment.head.first_transaction).bind(3, segment.head.last_transaction);
  while (true) {
    TILLSYNC_LET(bool row, rows->step());
    if (!row) return {};
    HiddenRow h;
    for (size_t i = 0; i < segment.transactions.size(); i++)
      if (segment.transactions[i].number == rows->unsigned_integer(0)) h.transaction_index = static_cast<uint32_t>(i);
    h.table_index = index_of_name(segment.tables, rows->text(1));
    h.kind = static_cast<ActionKind>(rows->integer(2));
    h.rowid = rows->optional_integer(3);
    h.after = to_bytes(rows->blob(4));
    h.before = to_bytes(rows->blob(5));
    segment.hidden.push_back(std::move(h));
  }
}

Result<Segment> load_sealed(Connection& db, int64_t database_id, const SegmentHead& head) {
  Segment segment;
  segment.head = head;
  bool cut_short;
  TILLSYNC_TRY(load_actions(db, database_id, head.first_sequence, head.last_sequence, {}, segment, cut_short));
  TILLSYNC_LET(auto rows, db.cached("SELECT t.id, t.last_sequence, t.captured_at, s.uuid, t.flags, t.coincident FROM "
                                    "transactions t JOIN capture_sessions s ON s.id=t.session_id WHERE t.id BETWEEN ? "
                                    "AND ? ORDER BY t.id"));
  rows->bind(1, scoped_id(database_id, head.first_transaction)).bind(2, scoped_id(database_id, head.last_transaction));
  size_t at = 0;
  while (true) {
    TILLSYNC_LET(bool row, rows->step());
    if (!row) break;
    TILLSYNC_LET(Uuid session, Uuid::parse(rows->text(3)));
    if (segment.sessions.empty() || segment.sessions.back() != session) segment.sessions.push_back(session);
    TILLSYNC_LET(auto coincident, decode_coincident(rows->blob(5)));
    const auto index = static_cast<uint32_t>(segment.transactions.size());
    segment.transactions.push_back({number_of(rows->integer(0)), from_ms(rows->integer(2)),
                                    static_cast<uint32_t>(segment.sessions.size() - 1),
                                    static_cast<uint32_t>(rows->integer(4)), std::move(coincident)});
    for (; at < segment.actions.size() && segment.actions[at].sequence <= rows->unsigned_integer(1); at++)
      segment.actions[at].transaction_index = index;
  }
  // They name one of the transactions.
  if (!segment.transactions.empty()) TILLSYNC_TRY(load_hidden_rows(db, database_id, segment));
  return segment;
}

void set_range(Segment& segment) {
  SegmentHead& head = segment.head;
  head.first_sequence = segment.actions.front().sequence;
  head.last_sequence = segment.actions.back().sequence;
  head.first_transaction = segment.transactions.front().number;
  head.last_transaction = segment.transactions.back().number;
  head.first_captured_at = segment.transactions.front().captured_at;
  head.last_captured_at = segment.transactions.back().captured_at;
}

Bytes encode_coincident(const std::vector<Coincident>& coincident) {
  Bytes out;
  ByteWriter w(out);
  for (auto& other : coincident) {
    w.sized(other.database);
    w.uvar(other.transaction);
  }
  return out;
}

Result<std::vector<Coincident>> decode_coincident(ByteView bytes) {
  std::vector<Coincident> all;
  ByteReader r(bytes);
  while (r.remaining()) {
    std::string database = r.text();
    all.push_back({std::move(database), r.uvar()});
    if (!r.ok()) return Error{ErrorKind::corrupt, 0, "state.db: what a transaction coincides with does not parse"};
  }
  return all;
}

}  // namespace tillsync
