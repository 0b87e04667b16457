#include "actionlog/log_query.h"

#include <algorithm>
#include <map>

namespace tillsync {

namespace {
// Rows looked at for one page, filtered or not: state.db is not held longer than that takes.
constexpr size_t kRowsLookedAtMax = 20000;
}  // namespace

Result<LogPage> query_log(StateDb& state, int64_t database_id, const Lineage& lineage, const Json& user_columns,
                          const LogFilter& filter) {
  LogPage page;
  auto db = state.lease();
  RenderContext context;
  context.lineage = lineage;
  context.user_columns = user_columns;
  {
    TILLSYNC_LET(int64_t durable,
                 db->query_integer("SELECT durable_sequence FROM databases WHERE id=" + std::to_string(database_id)));
    context.durable_sequence = static_cast<Sequence>(durable);
    TILLSYNC_LET(context.rolled_back, rolled_back(*db, database_id));
  }
  Sequence first = std::max(filter.after + 1, filter.from.value_or(1));
  if (filter.since) {
    TILLSYNC_LET(
        auto start,
        db->cached("SELECT min(first_sequence) FROM transactions WHERE id BETWEEN ? AND ? AND captured_at>=?"));
    start->bind(1, scoped_id(database_id, 0))
        .bind(2, scoped_id(database_id, (uint64_t{1} << 48) - 1))
        .bind(3, to_ms(*filter.since));
    TILLSYNC_LET(bool found, start->step());
    bool none = !found || start->is_null(0);
    if (!none) first = std::max(first, start->unsigned_integer(0));
    start->reset();
    if (none) return page;
  }
  Sequence last = std::min<Sequence>(filter.to.value_or((uint64_t{1} << 48) - 1), (uint64_t{1} << 48) - 1);
  TILLSYNC_LET(auto rows,
               db->prepare("SELECT a.id, a.action, n.name, a.row_id, a.previous_row_id, a.entity_created, a.version, "
                           "a.dependencies, a.data, a.previous_data,"
                           " a.transaction_no, t.captured_at, t.flags, t.schema_id, s.uuid, t.first_sequence, "
                           "t.last_sequence FROM action_log a"
                           " JOIN tracked_tables n ON n.id=a.table_id JOIN transactions t ON t.id=?3+a.transaction_no"
                           " JOIN capture_sessions s ON s.id=t.session_id WHERE a.id BETWEEN ?1 AND ?2 ORDER BY a.id"));
  rows.bind(1, scoped_id(database_id, first)).bind(2, scoped_id(database_id, last)).bind(3, scoped_id(database_id, 0));
  std::map<int64_t, std::shared_ptr<const Schema>> schemas;
  TransactionNo batch_transaction = 0;
  std::vector<Coincident> coincident;
  std::map<std::pair<std::string, int64_t>, uint64_t> batches;
  size_t looked_at = 0;
  while (true) {
    TILLSYNC_LET(bool row, rows.step());
    if (!row) return page;
    SegmentAction a;
    a.sequence = number_of(rows.integer(0));
    if (page.actions.size() >= filter.limit || looked_at++ >= kRowsLookedAtMax) {
      page.next = a.sequence - 1;
      return page;
    }
    std::string table = rows.text(2);
    if (filter.table && table != *filter.table && !(rows.integer(1) == static_cast<int>(ActionKind::schema))) continue;
    a.kind = static_cast<ActionKind>(rows.integer(1));
    a.rowid = rows.optional_integer(3);
    a.previous_rowid = rows.optional_integer(4);
    a.entity_created = rows.unsigned_integer(5);
    a.version = rows.unsigned_integer(6);
    ByteReader dependencies(rows.blob(7));
    while (dependencies.remaining()) {
      uint64_t distance = dependencies.uvar();
      if (!dependencies.ok()) break;
      a.dependencies.push_back(a.sequence - distance);
    }
    a.after = to_bytes(rows.blob(8));
    a.before = to_bytes(rows.blob(9));
    ActionToRender what;
    what.action = &a;
    what.table = &table;
    what.transaction.number = rows.unsigned_integer(10);
    what.transaction.captured_at = from_ms(rows.integer(11));
    what.transaction.flags = static_cast<uint32_t>(rows.integer(12));
    TILLSYNC_LET(what.session, Uuid::parse(rows.text(14)));
    auto& schema = schemas[rows.integer(13)];
    if (!schema) {
      TILLSYNC_LET(auto body, db->cached("SELECT body FROM schemas WHERE id=?"));
      body->bind(1, rows.integer(13));
      TILLSYNC_LET(bool found, body->step());
      if (!found)
        return Error{ErrorKind::corrupt, 0,
                     "state.db: the schema of transaction " + std::to_string(what.transaction.number) + " is missing"};
      TILLSYNC_LET(Schema read, Schema::decode(body->blob(0)));
      body->reset();
      schema = std::make_shared<const Schema>(std::move(read));
    }
    context.schema = schema;
    if (what.transaction.number != batch_transaction) {
      batch_transaction = what.transaction.number;
      TILLSYNC_LET(coincident, coincident_with(*db, database_id, batch_transaction));
      batches.clear();
      TILLSYNC_LET(auto counts, db->cached("SELECT n.name, a.action, count(*) FROM action_log a JOIN tracked_tables n "
                                           "ON n.id=a.table_id WHERE a.id BETWEEN ? AND ? GROUP BY 1, 2"));
      counts->bind(1, scoped_id(database_id, rows.unsigned_integer(15)))
          .bind(2, scoped_id(database_id, rows.unsigned_integer(16)));
      while (true) {
        TILLSYNC_LET(bool more, counts->step());
        if (!more) break;
        batches[{counts->text(0), counts->integer(1)}] = counts->unsigned_integer(2);
      }
    }
    what.transaction.coincident = coincident;
    what.batch_rows = batches[{table, static_cast<int64_t>(a.kind)}];
    Json action = render_action(what, context);
    if (filter.table && action["table"] != *filter.table) continue;
    if (filter.entity && action["entity_id"] != *filter.entity) continue;
    page.actions.push_back(std::move(action));
  }
}

}  // namespace tillsync
