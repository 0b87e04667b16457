#include "capture/count_tables.h"

#include <algorithm>
#include <optional>

#include "base/ordered_workers.h"
#include "schema/row_identity.h"

namespace tillsync {

namespace {

constexpr size_t kBatchBytes = 256 << 10, kBatchRows = 4096;

// Rows of one table that are digested at once.
struct Batch {
  struct Row {
    int64_t rowid;
    size_t end;  // of its record in `records`
  };
  const Table* table = nullptr;
  size_t number = 0;  // of the table
  Bytes records;
  std::vector<Row> rows;
  // What came of it.
  MultisetDigest digest;
  std::optional<Error> error;

  void begin(const Table& of, size_t of_number) {
    table = &of;
    number = of_number;
    records.clear();
    rows.clear();
    digest = {};
    error.reset();
  }
};

void digest_rows(Batch& batch) {
  RowIdentity identity(*batch.table);
  size_t begin = 0;
  for (const auto& row : batch.rows) {
    const auto digest = identity.digest(row.rowid, ByteView(batch.records).subspan(begin, row.end - begin));
    if (!digest) {
      batch.error = digest.error();
      return;
    }
    batch.digest.add(*digest);
    begin = row.end;
  }
}

class Counter {
 public:
  Counter(const Schema& schema, size_t threads) {
    if (threads > 0) batches_.emplace(threads, 4 * threads, [] { return digest_rows; });
    for (auto& table : schema.tables) {
      if (table.is_statistics()) continue;
      tables_.push_back(&table);
      counted_.push_back({table.name, 0, {}});
    }
  }

  Result<std::vector<TableDigest>> count(const Image& image, WorkPulse* pulse) {
    for (size_t number = 0; number < tables_.size(); number++) {
      auto walked = walk(image, number, pulse);
      if (failed_) return std::move(*failed_);
      if (!walked) return std::move(walked).error().with("table '" + tables_[number]->name + "'");
    }
    while (batches_ && !batches_->is_empty()) TILLSYNC_TRY(take_oldest());
    std::sort(counted_.begin(), counted_.end());
    return std::move(counted_);
  }

 private:
  Result<void> walk(const Image& image, size_t number, WorkPulse* pulse) {
    const Table& table = *tables_[number];
    TableDigest& counted = counted_[number];
    RowIdentity identity(table);
    Batch* batch = nullptr;
    auto walked = walk_tree(image, table.root, [&](int64_t rowid, ByteView record) -> Result<void> {
      TILLSYNC_TRY(unless_stopped(pulse, "rows were counted"));
      counted.rows++;
      // A record that is larger than a batch is not worth a copy.
      if (!batches_ || record.size() > kBatchBytes) {
        TILLSYNC_LET(Digest d, identity.digest(rowid, record));
        counted.digest.add(d);
        return {};
      }
      if (!batch) {
        while (batches_->is_full()) TILLSYNC_TRY(take_oldest());
        batch = &batches_->next();
        batch->begin(table, number);
      }
      append(batch->records, record);
      batch->rows.push_back({rowid, batch->records.size()});
      if (batch->records.size() >= kBatchBytes || batch->rows.size() >= kBatchRows) {
        batches_->push();
        batch = nullptr;
      }
      return {};
    });
    TILLSYNC_TRY(std::move(walked));
    if (batch) batches_->push();
    return {};
  }
  Result<void> take_oldest() {
    const Batch& batch = batches_->pop();
    if (batch.error) {
      failed_ = Error(*batch.error).with("table '" + batch.table->name + "'");
      return *failed_;
    }
    counted_[batch.number].digest.add(batch.digest);
    return {};
  }

  std::vector<const Table*> tables_;
  std::vector<TableDigest> counted_;
  std::optional<Error> failed_;  // of a batch; it names the table itself
  std::optional<OrderedWorkers<Batch>> batches_;
};

}  // namespace

Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, WorkPulse* pulse,
                                              size_t digesting_threads) {
  TILLSYNC_LET(Image image, image_of(pages, page_count));
  TILLSYNC_LET(Schema schema, schema_of(image));
  return Counter(schema, digesting_threads).count(image, pulse);
}

}  // namespace tillsync
