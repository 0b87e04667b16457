#include "capture/ingest.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "actionlog/segment.h"
#include "base/checks.h"
#include "capture/count_tables.h"
#include "capture/table_rows.h"

namespace tillsync {

// The state.db transaction of the batch that is being built.
struct Ingest::OpenBatch {
  StateDb::Lease lease;
  Transaction transaction;
};

namespace {

// One side of a transaction: its changed pages on top of the replica.
class AfterReader : public PageReader {
 public:
  AfterReader(Replica& replica, PageSource& source, std::vector<SourcePage>& pages)
      : replica_(replica), source_(source), pages_(pages) {
    index_.reserve(pages.size());
    for (size_t i = 0; i < pages.size(); i++) index_[pages[i].page] = i;
  }
  Result<PageRef> page(PageNo number) override {
    auto changed = index_.find(number);
    if (changed == index_.end()) return replica_.page(number);
    SourcePage& page = pages_[changed->second];
    if (page.content) return page.content;
    TILLSYNC_LET(PageRef content, source_.read(number, page.where));
    return content;
  }

 private:
  Replica& replica_;
  PageSource& source_;
  std::vector<SourcePage>& pages_;
  std::unordered_map<PageNo, size_t> index_;
};

Tree tree_of(const Table& table) { return {table.root, table.without_rowid, table.key_fields}; }

// Anything that changes how a record is read, or how its entity is named.
bool same_shape(const Schema& a, const Table& x, const Schema& b, const Table& y) {
  auto sql_of = [](const Schema& schema, const Table& table) -> const SchemaObject* {
    for (auto& object : schema.objects)
      if (object.type == "table" && object.name == table.name) return &object;
    return nullptr;
  };
  auto *p = sql_of(a, x), *q = sql_of(b, y);
  return x.name == y.name && p && q && p->sql == q->sql;
}

}  // namespace

Ingest::Ingest(const Setup& setup)
    : setup_(setup), spill_{setup.files, setup.state->vfs(), setup.folder + "/pairing.tmp", setup.pulse} {}
Ingest::~Ingest() = default;

Result<std::unique_ptr<Ingest>> Ingest::load(const Setup& setup) {
  std::unique_ptr<Ingest> ingest(new Ingest(setup));
  Replica::Setup replica{setup.files, setup.state, setup.folder, setup.database_id, 0, setup.pulse};
  uint32_t page_size;
  PageNo page_count;
  int64_t schema_id;
  {
    auto db = setup.state->lease();
    TILLSYNC_LET(auto row,
                 db->prepare("SELECT baseline_at, page_size, page_count, generation, replica_number, source, "
                             "wal_salt1, wal_salt2, wal_frame,"
                             " wal_checksum1, wal_checksum2, change_counter, schema_id FROM databases WHERE id=?"));
    row.bind(1, setup.database_id);
    TILLSYNC_LET(bool found, row.step());
    TILLSYNC_CHECK(found);
    if (row.is_null(0)) return std::unique_ptr<Ingest>();
    page_size = static_cast<uint32_t>(row.integer(1));
    page_count = static_cast<PageNo>(row.integer(2));
    ingest->generation_ = static_cast<uint32_t>(row.integer(3));
    replica.number = row.integer(4);
    std::string source = row.text(5);
    ingest->position_.source = source == "wal" ? CapturePosition::Source::wal : CapturePosition::Source::scan;
    auto number = [&](int column) { return static_cast<uint32_t>(row.integer(column)); };
    ingest->position_.wal = {{number(6), number(7)}, number(8), {number(9), number(10)}};
    ingest->position_.change_counter = number(11);
    schema_id = row.integer(12);
  }
  TILLSYNC_LET(ingest->replica_, Replica::open(replica, page_size, page_count));
  ingest->trees_ = std::make_unique<TreeDiff>(ingest->replica_->owners(), setup.pulse);
  TILLSYNC_LET(Image image, image_of(*ingest->replica_, page_count));
  TILLSYNC_LET(Schema schema, schema_of(image));
  ingest->schema_ = std::make_shared<const Schema>(std::move(schema));
  TILLSYNC_LET(ingest->log_, LogWriter::load(*setup.state, setup.database_id, setup.session_id));
  TILLSYNC_TRY(ingest->log_->set_schema(ingest->schema_, schema_id));
  TILLSYNC_LET(ingest->pending_, read_pending_activation(*setup.state->lease(), setup.database_id));
  return ingest;
}

Result<void> Ingest::begin_batch() {
  if (batch_) return {};
  auto lease = setup_.state->lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*lease));
  batch_.reset(new OpenBatch{std::move(lease), std::move(transaction)});
  return {};
}

StateDb::Lease& Ingest::batch_lease() { return batch_->lease; }

Result<int64_t> Ingest::record_schema(const Schema& schema) {
  auto db = setup_.state->lease();
  TILLSYNC_LET(
      auto insert,
      db->prepare(
          "INSERT INTO schemas(database_id, sequence, sha256, body, recorded_at) VALUES(?,?,?,?,?) RETURNING id"));
  Digest digest = schema.digest();
  Bytes body = schema.encode();
  insert.bind(1, setup_.database_id)
      .bind(2, log_->sequence())
      .bind(3, digest.view())
      .bind(4, ByteView(body))
      .bind(5, to_ms(setup_.clock->now()));
  TILLSYNC_LET(bool row, insert.step());
  TILLSYNC_CHECK(row);
  int64_t id = insert.integer(0);
  insert.reset();
  return id;
}

Result<void> Ingest::count_table(const Image& image, const Table& table) {
  TILLSYNC_TRY(log_->reset_digest(table));
  return walk_tree(image, table.root, [&](int64_t rowid, ByteView record) -> Result<void> {
    TILLSYNC_TRY(unless_stopped(setup_.pulse, "rows were counted"));
    return log_->count_row(table, rowid, record);
  });
}

// sqlite_schema comes first: its rows say which trees there are after the transaction.
Result<void> Ingest::diff_schema(const Image& before, const Image& after, TreeDiff& trees, bool whole,
                                 std::shared_ptr<const Schema>& next, bool& changed) {
  changed = false;
  next = schema_;
  if (!whole && before.page_count != 0 && !trees.touched(1)) return {};
  TILLSYNC_LET(DatabaseHeader header, header_of(after));
  uint32_t before_encoding = schema_->text_encoding;
  struct Marks : RowSink {
    Result<void> row(const RowChange& change) override {
      any = true;
      SchemaObject old_object, new_object;
      if (!change.before.empty()) {
        TILLSYNC_LET(old_object, schema_object_of(change.before, before_encoding));
      }
      if (!change.after.empty()) {
        TILLSYNC_LET(new_object, schema_object_of(change.after, after_encoding));
      }
      // VACUUM, auto-vacuum and DROP move root pages: no change of schema.
      if (!change.before.empty() && !change.after.empty() && old_object.same_definition(new_object)) return {};
      auto name = [](const SchemaObject& o) { return o.type + "\n" + o.name; };
      if (!change.before.empty()) removed[name(old_object)] = to_bytes(change.before);
      if (!change.after.empty()) created[name(new_object)] = to_bytes(change.after);
      return {};
    }
    uint32_t before_encoding = 1, after_encoding = 1;
    bool any = false;
    std::map<std::string, Bytes> removed, created;
  } marks;
  marks.before_encoding = before_encoding;
  marks.after_encoding = header.text_encoding;
  TILLSYNC_TRY(trees.tree({before.page_count ? PageNo{1} : PageNo{0}, false, 0}, {1, false, 0}, marks));
  if (!marks.any) return {};
  TILLSYNC_LET(Schema schema, schema_of(after));
  next = std::make_shared<const Schema>(std::move(schema));
  // VACUUM writes sqlite_schema anew under other rowids: the same object on both sides is no change.
  for (auto& [name, record] : marks.created) {
    ByteView old_record;
    auto old = marks.removed.find(name);
    if (old != marks.removed.end()) {
      TILLSYNC_LET(SchemaObject old_object, schema_object_of(old->second, before_encoding));
      TILLSYNC_LET(SchemaObject new_object, schema_object_of(record, header.text_encoding));
      if (old_object.same_definition(new_object)) {
        marks.removed.erase(old);
        continue;
      }
      old_record = old->second;
    }
    TILLSYNC_TRY(log_->mark(ActionKind::schema, "sqlite_schema", old_record, record));
    changed = true;
    if (old != marks.removed.end()) marks.removed.erase(old);
  }
  for (auto& [name, record] : marks.removed) {
    TILLSYNC_TRY(log_->mark(ActionKind::schema, "sqlite_schema", record, {}));
    changed = true;
  }
  return {};
}

Result<void> Ingest::diff(const Image& before, const Image& after, std::span<const PageNo> changed, bool whole,
                          TreeDiff& trees) {
  TILLSYNC_TRY(trees.begin(before, after, changed));
  std::shared_ptr<const Schema> next;
  bool schema_changed = false;
  TILLSYNC_TRY(diff_schema(before, after, trees, whole, next, schema_changed));

  // Trees are paired by name; what is left, by root and kind (a rename); the rest was dropped or made.
  std::vector<std::pair<const Table*, const Table*>> pairs;
  std::vector<const Table*> dropped, made;
  for (auto& table : schema_->tables) {
    if (const Table* same = next->find(table.name)) {
      pairs.emplace_back(&table, same);
    } else {
      dropped.push_back(&table);
    }
  }
  for (auto& table : next->tables) {
    if (schema_->find(table.name)) continue;
    auto renamed = std::find_if(dropped.begin(), dropped.end(), [&](const Table* old) {
      return !whole && old->root == table.root && old->without_rowid == table.without_rowid;
    });
    if (renamed == dropped.end()) {
      made.push_back(&table);
    } else {
      pairs.emplace_back(*renamed, &table);
      dropped.erase(renamed);
    }
  }
  if (schema_changed) {
    // Schema first, then rows: what follows is read with the new tables.
    TILLSYNC_LET(int64_t id, record_schema(*next));
    TILLSYNC_TRY(log_->set_schema(next, id));
  } else if (next != schema_) {
    TILLSYNC_TRY(log_->set_schema(next, log_->schema_id()));
  }
  std::vector<const Table*> recount;
  for (auto& [old_table, new_table] : pairs) {
    bool moved = old_table->root != new_table->root;
    if (!whole && !moved && !trees.touched(old_table->root) && same_shape(*schema_, *old_table, *next, *new_table))
      continue;
    if (old_table->without_rowid != new_table->without_rowid) {
      TableRows gone(*old_table, *old_table, *new_table, *log_, spill_),
          come(*new_table, *new_table, *new_table, *log_, spill_);
      TILLSYNC_TRY(trees.tree(tree_of(*old_table), {}, gone));
      TILLSYNC_TRY(gone.finish());
      TILLSYNC_TRY(trees.tree({}, tree_of(*new_table), come));
      TILLSYNC_TRY(come.finish());
    } else if (whole || moved || trees.touched(old_table->root)) {
      TableRows rows(*old_table, *new_table, *new_table, *log_, spill_);
      TILLSYNC_TRY(trees.tree(tree_of(*old_table), tree_of(*new_table), rows,
                              !new_table->has_declared_key() && !new_table->is_statistics()));
      TILLSYNC_TRY(rows.finish());
      if (trees.renumbered()) {
        TILLSYNC_TRY(log_->mark(ActionKind::renumber, new_table->name, {}, {}));
        recount.push_back(new_table);
      }
    }
    if (!same_shape(*schema_, *old_table, *next, *new_table)) recount.push_back(new_table);
  }
  for (const Table* table : dropped) {
    TableRows rows(*table, *table, *table, *log_, spill_);
    TILLSYNC_TRY(trees.tree(tree_of(*table), {}, rows));
    TILLSYNC_TRY(rows.finish());
  }
  for (const Table* table : made) {
    TableRows rows(*table, *table, *table, *log_, spill_);
    TILLSYNC_TRY(trees.tree({}, tree_of(*table), rows));
    TILLSYNC_TRY(rows.finish());
  }
  // Digests of tables whose records are read in another way now, or that are named anew, are made anew.
  for (const Table* table : recount) TILLSYNC_TRY(count_table(after, *table));
  // Dropped tables are logged under their old definition; the tables of the new schema go on from here.
  if (!dropped.empty()) TILLSYNC_TRY(log_->set_schema(next, log_->schema_id()));
  schema_ = next;
  return {};
}

Result<void> Ingest::transaction(PageSource& source, std::vector<SourcePage>& pages, PageNo page_count, uint32_t flags,
                                 std::optional<CommitSpan> committed) {
  if (page_count >= kPagesMax)
    return Error{ErrorKind::schema, 0,
                 "the database has " + std::to_string(page_count) + " pages, more than can be followed"};
  TILLSYNC_TRY(begin_batch());
  TILLSYNC_LET(Image before, image_of(*replica_, replica_->page_count()));
  AfterReader reader(*replica_, source, pages);
  TILLSYNC_LET(Image after, image_of(reader, page_count));
  std::vector<PageNo> changed;
  changed.reserve(pages.size());
  for (auto& page : pages) {
    if (page.content && page.content.size() != replica_->page_size())
      return page_error(page.page, "of another size than the pages before");
    changed.push_back(page.page);
  }
  log_->begin_transaction(setup_.clock->now(), flags, committed);
  TILLSYNC_TRY(mark_activation(after));
  TILLSYNC_TRY(diff(before, after, changed, before.page_count == 0, *trees_));
  std::vector<PageNo> owners;
  trees_->finish(owners);
  TILLSYNC_LET(uint64_t actions, log_->end_transaction());
  TILLSYNC_TRY(record_marked());
  replica_->apply(source, pages, page_count);
  replica_->owner_changed(owners);
  batch_transactions_++;
  batch_actions_ += actions;
  barrier_ = log_->transaction_flags() & (kSchemaChange | kRenumber);
  return {};
}

// The first action of a transaction that is the agent's own restore in place.
Result<void> Ingest::mark_activation(const Image& after) {
  marked_.reset();
  if (!pending_ || after.page_count == 0) return {};
  TILLSYNC_LET(DatabaseHeader header, header_of(after));
  if (!pending_->matches(header.schema_cookie)) return {};
  TILLSYNC_TRY(log_->mark(ActionKind::restore, "sqlite_schema", {}, pending_->record));
  marked_ = log_->sequence();
  return {};
}

// Into the commit that has the transaction.
Result<void> Ingest::record_marked() {
  if (!marked_) return {};
  CapturedActivation captured;
  captured.sequence = *std::exchange(marked_, std::nullopt);
  captured.transaction = log_->transaction();
  if (!(log_->transaction_flags() & kCatchUp) && pending_->state != Digest{})
    captured.proven = state_digest(log_->digests()) == pending_->state;
  return record_activation(*batch_->lease, setup_.database_id, *std::exchange(pending_, std::nullopt), captured);
}

namespace {

class ScanPages : public PageSource {
 public:
  explicit ScanPages(DatabaseReader& source) : source_(source) {}
  Result<PageRef> read(PageNo page, uint64_t) override { return source_.page(page); }

 private:
  DatabaseReader& source_;
};

// Pages put aside in a file that is gone when it is closed.
class SpooledPages : public PageSource {
 public:
  static Result<std::unique_ptr<SpooledPages>> create(FileSystem& files, const std::string& path, uint32_t page_size) {
    auto spool = std::make_unique<SpooledPages>();
    spool->page_size_ = page_size;
    (void)files.remove(path).has_value();
    TILLSYNC_LET(spool->file_, files.open(path, OpenMode::create_new));
    TILLSYNC_TRY(files.remove(path));
    return spool;
  }
  Result<uint64_t> add(ByteView content) {
    TILLSYNC_TRY(file_->write(size_, content));
    return std::exchange(size_, size_ + content.size());
  }
  Result<PageRef> read(PageNo page, uint64_t where) override {
    PageRef content = PageRef::allocate(page_size_);
    TILLSYNC_LET(size_t got, file_->read(where, content.mutable_view()));
    if (got != page_size_) return page_error(page, "the file it was put aside in ends early");
    return content;
  }

 private:
  std::unique_ptr<File> file_;
  uint64_t size_ = 0;
  uint32_t page_size_ = 0;
};

}  // namespace

Result<void> Ingest::catch_up(DatabaseReader& source, const ScanEvents& events) {
  std::vector<SourcePage> pages;
  std::unique_ptr<SpooledPages> spool;
  if (events.copied) {
    TILLSYNC_LET(spool, SpooledPages::create(*setup_.files, setup_.folder + "/scan.tmp", source.page_size()));
  }
  const PageNo count = source.page_count();
  Bytes now(source.page_size());
  for (PageNo page = 1; page <= count; page++) {
    if (page % 256 == 0 && events.progress && !events.progress(page, count))
      return Error{ErrorKind::cancelled, 0, "stopped while the database was compared with its copy"};
    TILLSYNC_TRY(source.read(page, now));
    if (page <= replica_->page_count()) {
      TILLSYNC_LET(PageRef old, replica_->page(page));
      if (equal(old.view(), now)) continue;
    }
    uint64_t where = 0;
    if (spool) {
      TILLSYNC_LET(where, spool->add(now));
    }
    pages.push_back({page, where, {}});
  }
  if (events.copied) events.copied();
  if (pages.empty() && count == replica_->page_count()) return {};
  if (!spool) {
    scan_source_ = std::make_unique<ScanPages>(source);
  } else {
    scan_source_ = std::move(spool);
  }
  return transaction(*scan_source_, pages, count, kCatchUp);
}

Result<void> Ingest::commit(const CapturePosition& position) {
  bool moved = !(position.wal == position_.wal) || position.source != position_.source ||
               position.change_counter != position_.change_counter;
  if (!batch_ && !moved) return {};
  TILLSYNC_TRY(begin_batch());
  Connection& db = *batch_->lease;
  TILLSYNC_TRY(replica_->write_redo(db, generation_));
  TILLSYNC_TRY(log_->write_totals(db));
  TILLSYNC_LET(
      auto update,
      db.cached("UPDATE databases SET page_count=?, source=?, wal_salt1=?, wal_salt2=?, wal_frame=?, wal_checksum1=?,"
                " wal_checksum2=?, change_counter=? WHERE id=?"));
  update->bind(1, replica_->page_count()).bind(2, position.source == CapturePosition::Source::wal ? "wal" : "scan");
  update->bind(3, position.wal.salts.salt1).bind(4, position.wal.salts.salt2).bind(5, position.wal.frame);
  update->bind(6, position.wal.checksum.s1)
      .bind(7, position.wal.checksum.s2)
      .bind(8, position.change_counter)
      .bind(9, setup_.database_id);
  TILLSYNC_TRY(update->run());
  TILLSYNC_TRY(batch_->transaction.commit());
  batch_.reset();
  replica_->committed();
  scan_source_.reset();
  position_ = position;
  batch_transactions_ = 0;
  batch_actions_ = 0;
  barrier_committed_ |= std::exchange(barrier_, false);
  return {};
}

Result<void> Ingest::check_copy() {
  TILLSYNC_LET(auto tables, count_tables(*replica_, replica_->page_count(), setup_.pulse));
  if (tables == log_->digests()) return {};
  return Error{ErrorKind::corrupt, 0, "our copy holds other rows than the log has counted"};
}

Result<void> Ingest::write_back_if_large() {
  // What waits here is memory that a till at work holds for hours: 600 sales make as much.
  constexpr size_t kOverlayBytes = 2 << 20, kOverlayPages = 65536;
  if (replica_->overlay_bytes() < kOverlayBytes && !replica_->overlay_spilled() &&
      replica_->overlay_pages() < kOverlayPages)
    return {};
  return write_back();
}

Result<SnapshotCut> Ingest::cut() {
  TILLSYNC_CHECK(!batch_);
  TILLSYNC_TRY(replica_->write_back());
  SnapshotCut cut;
  cut.sequence = log_->sequence();
  cut.transaction = log_->transaction();
  cut.generation = generation_;
  cut.captured_at = log_->last_capture_at().value_or(setup_.clock->now());
  cut.schema = schema_;
  cut.tables = log_->digests();
  if (replica_->page_count()) {
    TILLSYNC_LET(Image image, image_of(*replica_, replica_->page_count()));
    TILLSYNC_LET(DatabaseHeader header, header_of(image));
    cut.user_version = header.user_version;
  }
  {
    auto db = setup_.state->lease();
    TILLSYNC_LET(auto update, db->cached("UPDATE databases SET generation=? WHERE id=?"));
    TILLSYNC_TRY(update->bind(1, generation_ + 1).bind(2, setup_.database_id).run());
  }
  // Pages that change from now on belong to the next snapshot.
  TILLSYNC_LET(cut.image, replica_->pin(generation_));
  generation_++;
  return cut;
}

}  // namespace tillsync
