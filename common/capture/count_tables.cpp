#include "capture/count_tables.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/ordered_workers.h"
#include "schema/row_identity.h"

namespace tillsync {

namespace {

constexpr size_t kPartsOfJob = 64;

Error of_table(Error error, const Table& table) { return std::move(error).with("table '" + table.name + "'"); }

std::vector<const Table*> counted_tables(const Schema& schema) {
  std::vector<const Table*> tables;
  for (auto& table : schema.tables)
    if (!table.is_statistics()) tables.push_back(&table);
  return tables;
}

// Counts the rows that it is given. The table must outlive it.
class RowCounter {
 public:
  explicit RowCounter(const Table& table) : identity_(table) {}
  Result<void> operator()(int64_t rowid, ByteView record) {
    TILLSYNC_LET(Digest digest, identity_.digest(rowid, record));
    rows_++;
    digest_.add(digest);
    return {};
  }
  void add_to(TableDigest& counted) const {
    counted.rows += rows_;
    counted.digest.add(digest_);
  }

 private:
  RowIdentity identity_;
  uint64_t rows_ = 0;
  MultisetDigest digest_;
};

// Parts of one table's tree that a worker reads.
struct Job {
  const Table* table = nullptr;
  PagesWalked* walked = nullptr;
  TableDigest* counted = nullptr;  // where it goes in the end; the owner's
  std::vector<TreePart> parts;
  std::optional<RowCounter> rows;
  std::optional<Error> error;
};

class Worker {
 public:
  Worker(const CountingWorkers& workers, const Image& image) : image_(image) {
    auto opened = workers.open();
    if (opened)
      pages_ = std::move(*opened);
    else
      error_ = std::move(opened).error();
    image_.reader = pages_.get();
  }
  void operator()(Job& job) {
    job.error = error_;
    if (job.error) return;
    job.rows.emplace(*job.table);
    for (const TreePart& part : job.parts) {
      auto walked = walk_part(image_, part, *job.walked, std::ref(*job.rows));
      if (walked) continue;
      job.error = of_table(std::move(walked).error(), *job.table);
      return;
    }
  }

 private:
  Image image_;
  std::unique_ptr<PageReader> pages_;
  std::optional<Error> error_;
};

class ParallelCount {
 public:
  ParallelCount(const Image& image, const CountingWorkers& workers)
      : image_(image), jobs_(workers.threads, 4 * workers.threads, [workers, image] {
          return [worker = std::make_shared<Worker>(workers, image)](Job& job) { (*worker)(job); };
        }) {}

  // `counted` is complete after finish().
  Result<void> begin(const Table& table, TableDigest& counted) {
    PagesWalked& walked = walked_.emplace_back(0);
    RowCounter above(table);
    Job* job = nullptr;
    auto split = split_tree(image_, table.root, walked, std::ref(above), [&](TreePart part) -> Result<void> {
      if (!job) {
        while (jobs_.is_full()) TILLSYNC_TRY(take_oldest());
        job = &jobs_.next();
        job->table = &table;
        job->walked = &walked;
        job->counted = &counted;
        job->parts.clear();
      }
      job->parts.push_back(part);
      if (job->parts.size() < kPartsOfJob) return {};
      jobs_.push();
      job = nullptr;
      return {};
    });
    if (failed_) return std::move(*failed_);
    if (!split) return of_table(std::move(split).error(), table);
    if (job) jobs_.push();
    above.add_to(counted);
    return {};
  }
  Result<void> finish() {
    while (!jobs_.is_empty()) TILLSYNC_TRY(take_oldest());
    return {};
  }

 private:
  Result<void> take_oldest() {
    Job& job = jobs_.pop();
    if (job.error) {
      failed_ = std::move(*job.error);  // names its table
      return *failed_;
    }
    job.rows->add_to(*job.counted);
    return {};
  }

  const Image& image_;
  std::optional<Error> failed_;
  std::deque<PagesWalked> walked_;  // one for each table; a job refers to its
  OrderedWorkers<Job> jobs_;
};

}  // namespace

Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, WorkPulse* pulse) {
  TILLSYNC_LET(Image image, image_of(pages, page_count));
  TILLSYNC_LET(Schema schema, schema_of(image));
  std::vector<TableDigest> counted;
  for (const Table* table : counted_tables(schema)) {
    RowCounter rows(*table);
    auto walked = walk_tree(image, table->root, [&](int64_t rowid, ByteView record) -> Result<void> {
      TILLSYNC_TRY(unless_stopped(pulse, "rows were counted"));
      return rows(rowid, record);
    });
    if (!walked) return of_table(std::move(walked).error(), *table);
    rows.add_to(counted.emplace_back(TableDigest{table->name, 0, {}}));
  }
  std::sort(counted.begin(), counted.end());
  return counted;
}

Result<std::vector<TableDigest>> count_tables(PageReader& pages, PageNo page_count, const CountingWorkers& workers) {
  TILLSYNC_LET(Image image, image_of(pages, page_count));
  TILLSYNC_LET(Schema schema, schema_of(image));
  const auto tables = counted_tables(schema);
  std::vector<TableDigest> counted;
  for (const Table* table : tables) counted.push_back({table->name, 0, {}});
  ParallelCount count(image, workers);
  for (size_t i = 0; i < tables.size(); i++) TILLSYNC_TRY(count.begin(*tables[i], counted[i]));
  TILLSYNC_TRY(count.finish());
  std::sort(counted.begin(), counted.end());
  return counted;
}

}  // namespace tillsync
