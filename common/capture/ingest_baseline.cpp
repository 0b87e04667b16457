// The first copy of a database, and a new one when its pages have another size.
#include "base/checks.h"
#include "capture/ingest.h"

namespace tillsync {

namespace {
class BaselineRows : public RowSink {
 public:
  BaselineRows(LogWriter& log, const Table& table) : log_(log), table_(table) {}
  Result<void> row(const RowChange& change) override { return log_.count_row(table_, change.rowid, change.after); }

 private:
  LogWriter& log_;
  const Table& table_;
};
class NoRows : public RowSink {
 public:
  Result<void> row(const RowChange&) override { return {}; }
};
}  // namespace

Result<std::unique_ptr<Ingest>> Ingest::baseline(const Setup& setup, DatabaseReader& source,
                                                 const CapturePosition& position, Ingest* previous,
                                                 const ScanEvents& events) {
  // Whatever happens now, the files of the replica it was made from may be replaced.
  if (previous) previous->invalidate_pins();
  if (source.page_count() >= kPagesMax)
    return Error{ErrorKind::schema, 0,
                 "the database has " + std::to_string(source.page_count()) + " pages, more than can be followed"};
  std::unique_ptr<Ingest> ingest(new Ingest(setup));
  TILLSYNC_LET(ingest->pending_, read_pending_activation(*setup.state->lease(), setup.database_id));
  Replica::Setup replica{setup.files, setup.state, setup.folder, setup.database_id, 0, setup.pulse};
  int64_t old_number, generation, captured_before;
  {
    auto db = setup.state->lease();
    TILLSYNC_LET(captured_before, db->query_integer("SELECT baseline_at IS NOT NULL FROM databases WHERE id=" +
                                                    std::to_string(setup.database_id)));
    TILLSYNC_LET(old_number, db->query_integer("SELECT replica_number FROM databases WHERE id=" +
                                               std::to_string(setup.database_id)));
    TILLSYNC_LET(generation,
                 db->query_integer("SELECT generation FROM databases WHERE id=" + std::to_string(setup.database_id)));
  }
  ingest->generation_ = static_cast<uint32_t>(generation);
  replica.number = old_number + 1;
  const PageNo count = source.page_count();
  const uint32_t page_size = source.page_size();  // the source may be gone when this is recorded
  TILLSYNC_LET(ingest->replica_, Replica::create(replica, page_size, count));
  Bytes content(page_size);
  for (PageNo page = 1; page <= count; page++) {
    TILLSYNC_TRY(source.read(page, content));
    TILLSYNC_TRY(ingest->replica_->write_baseline_page(page, content));
    if (page % 256 == 0 && events.progress && !events.progress(page, count))
      return Error{ErrorKind::cancelled, 0, "stopped while the first copy was made"};
  }
  if (events.copied) events.copied();

  TILLSYNC_TRY(ingest->begin_batch());
  TILLSYNC_LET(ingest->log_, LogWriter::load(*setup.state, setup.database_id, setup.session_id));
  TILLSYNC_LET(Image after, image_of(*ingest->replica_, count));
  ingest->trees_ = std::make_unique<TreeDiff>(ingest->replica_->owners(), setup.pulse);
  TILLSYNC_LET(Schema schema, schema_of(after));
  auto new_schema = std::make_shared<const Schema>(std::move(schema));

  bool lost_copy = false;
  if (previous) {
    // The difference is logged first; it needs the old schema on one side and every page on both. It goes through an
    // owner map of its own, because page numbers mean different places on the two sides.
    OwnerMap none;
    TreeDiff trees(none, setup.pulse);
    std::vector<PageNo> all;
    TILLSYNC_LET(Image before, image_of(*previous->replica_, previous->replica_->page_count()));
    for (PageNo page = 1; page <= std::max(before.page_count, count); page++) all.push_back(page);
    ingest->schema_ = previous->schema_;
    TILLSYNC_TRY(ingest->log_->set_schema(previous->schema_, previous->log_->schema_id()));
    ingest->log_->begin_transaction(setup.clock->now(), kCatchUp);
    TILLSYNC_TRY(ingest->mark_activation(after));
    TILLSYNC_TRY(ingest->diff(before, after, all, true, trees));
    trees.abandon();
    TILLSYNC_TRY(ingest->log_->end_transaction());
    TILLSYNC_TRY(ingest->record_marked());
    ingest->barrier_ = ingest->log_->transaction_flags() & (kSchemaChange | kRenumber);
  } else {
    TILLSYNC_LET(int64_t schema_id, ingest->record_schema(*new_schema));
    TILLSYNC_TRY(ingest->log_->set_schema(new_schema, schema_id));
    // The copy that would tell what changed is lost. The log says so, and replay does not cross it.
    lost_copy = captured_before != 0;
  }
  ingest->schema_ = new_schema;
  TILLSYNC_TRY(ingest->log_->set_schema(new_schema, ingest->log_->schema_id()));

  // The owner map, and the digests with it.
  TILLSYNC_TRY(ingest->trees_->begin({nullptr, 0, 0}, after, {}));
  if (count) {
    NoRows ignore;
    TILLSYNC_TRY(ingest->trees_->tree({}, {1, false, 0}, ignore));
    for (auto& table : new_schema->tables) {
      TILLSYNC_TRY(ingest->log_->reset_digest(table));
      BaselineRows rows(*ingest->log_, table);
      TILLSYNC_TRY(ingest->trees_->tree({}, {table.root, table.without_rowid, table.key_fields}, rows));
    }
  }
  if (lost_copy) {
    // After the digests, which its digest point holds.
    ingest->log_->begin_transaction(setup.clock->now(), kCatchUp);
    TILLSYNC_TRY(ingest->mark_activation(after));
    TILLSYNC_TRY(ingest->log_->mark(ActionKind::schema, "sqlite_schema", {}, {}));
    TILLSYNC_TRY(ingest->log_->end_transaction());
    TILLSYNC_TRY(ingest->record_marked());
    ingest->barrier_ = true;
  }
  std::vector<PageNo> owners;
  ingest->trees_->finish(owners);
  TILLSYNC_TRY(ingest->replica_->finish_baseline(ingest->generation_));

  Connection& db = *ingest->batch_lease();
  TILLSYNC_TRY(db.execute("DELETE FROM redo WHERE id BETWEEN " + std::to_string(scoped_id(setup.database_id, 0)) +
                          " AND " + std::to_string(scoped_id(setup.database_id, ~0u))));
  TILLSYNC_LET(auto update, db.cached("UPDATE databases SET baseline_at=?, page_size=?, replica_number=? WHERE id=?"));
  TILLSYNC_TRY(update->bind(1, to_ms(setup.clock->now()))
                   .bind(2, page_size)
                   .bind(3, replica.number)
                   .bind(4, setup.database_id)
                   .run());
  TILLSYNC_TRY(ingest->commit(position));
  // Only now may the old files go: a power cut could take state.db back to them.
  TILLSYNC_TRY(setup.state->make_durable());
  Replica::remove_files(*setup.files, setup.folder, old_number);
  return ingest;
}

}  // namespace tillsync
