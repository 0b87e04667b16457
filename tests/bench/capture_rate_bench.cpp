// How many row changes a second capture takes, on one thread: decoded, and decoded and committed to state.db.
//
//   capture_rate_bench [--rows N] [--rounds N] [--json]
//
// A writer commits the rows first, with automatic checkpoints off; then one Capturer, on files of its own on a real
// disk, captures them. "decoded" is the row diff alone, between the pages before and after, held in memory. Medians and
// the spread of the rounds; CPU time of the thread beside the time on the wall, because the machine may be shared.
#include <ctime>

#define DOCTEST_CONFIG_IMPLEMENT
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/json.h"
#include "capture/capture_fixture.h"
#include "support/database_in_memory.h"

namespace {

using namespace tillsync;
using namespace tillsync::test;
using Clock = std::chrono::steady_clock;

struct Shape {
  const char* name;
  const char* change;  // one transaction; ?1 is its number, from 0, and ?2 its rows
  int64_t rows;        // each transaction changes
};

constexpr const char* kSchema =
    "CREATE TABLE line(id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, product INTEGER NOT NULL, quantity INTEGER, "
    "price INTEGER, note TEXT);"
    "CREATE INDEX line_order ON line(order_id);"
    "CREATE TABLE stock(store INTEGER, product INTEGER, left INTEGER, at TEXT, PRIMARY KEY(store, product)) WITHOUT "
    "ROWID;";

constexpr const char* kInsert =
    "WITH RECURSIVE g(n) AS (SELECT ?1*?2 UNION ALL SELECT n+1 FROM g WHERE n<?1*?2+?2-1) INSERT INTO line SELECT n+1, "
    "n/5, n%977, n%7, n*31%9973, CASE n%9 WHEN 0 THEN 'no sugar, please' END FROM g";
constexpr const char* kStock =
    "WITH RECURSIVE g(n) AS (SELECT ?1*?2 UNION ALL SELECT n+1 FROM g WHERE n<?1*?2+?2-1) INSERT INTO stock SELECT "
    "n/5000, n%5000, n%50, '2026-11-22T10:00:'||(n%60) FROM g";
constexpr const char* kUpdate = "UPDATE line SET quantity=quantity+1, note='changed' WHERE id>?1*?2 AND id<=?1*?2+?2";

const Shape kShapes[] = {
    {"sales of 20 lines", kInsert, 20},
    {"inserts of 10,000 rows", kInsert, 10000},
    {"updates of 1,000 rows", kUpdate, 1000},
    {"WITHOUT ROWID, 1,000 rows", kStock, 1000},
};

struct Rate {
  double wall = 0, cpu = 0;  // rows a second
};

double cpu_seconds() {
  timespec at{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}

template <class F>
Rate rate_of(int64_t rows, F work) {
  const double cpu = cpu_seconds();
  const auto start = Clock::now();
  work();
  const double wall = std::chrono::duration<double>(Clock::now() - start).count();
  return {static_cast<double>(rows) / wall, static_cast<double>(rows) / (cpu_seconds() - cpu)};
}

void commit_changes(Till& till, const Shape& shape, int64_t rows) {
  auto change = must(till.app.prepare(shape.change));
  for (int64_t done = 0; done < rows; done += shape.rows)
    must(change.bind(1, done / shape.rows).bind(2, shape.rows).run());
}

std::unique_ptr<Till> till_before(const Shape& shape, int64_t rows) {
  auto till = std::make_unique<Till>(
      1, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0;");
  // The log is the bench's, and may grow.
  till->setup.wal_bytes_max = till->setup.wal_bytes_hard = uint64_t{1} << 40;
  till->restart();
  till->run(kSchema);
  if (shape.change == kUpdate) commit_changes(*till, {"", kInsert, 10000}, rows);
  return till;
}

Rate committed(const Shape& shape, int64_t rows) {
  auto till = till_before(shape, rows);
  till->capture();
  commit_changes(*till, shape, rows);
  Rate rate = rate_of(rows, [&] { till->capture(); });
  if (must(till->state->lease()->query_integer("SELECT count(*) FROM action_log")) != rows)
    throw std::logic_error("not every row was captured");
  return rate;
}

// All of it as one difference: what is measured are pages, cells and pairing, not the borders of transactions.
Rate decoded(const Shape& shape, int64_t rows) {
  auto till = till_before(shape, rows);
  till->capturer.reset();
  till->run("PRAGMA wal_checkpoint(TRUNCATE)");
  DatabaseInMemory before(till->path);
  commit_changes(*till, shape, rows);
  till->run("PRAGMA wal_checkpoint(TRUNCATE)");
  DatabaseInMemory after(till->path);
  Image old_image = must(image_of(before, before.count())), new_image = must(image_of(after, after.count()));
  struct Count : RowSink {
    Result<void> row(const RowChange&) override { return n++, Result<void>(); }
    int64_t n = 0;
  } ignored, count;
  OwnerMap owners;
  TreeDiff diff(owners);
  auto schema = must(schema_of(new_image));
  const std::vector<PageNo> changed = changed_pages(before, after);
  std::vector<PageNo> none;
  must(diff.begin({nullptr, 0, 0}, old_image, {}));
  for (auto& table : schema.tables) must(diff.tree({}, {table.root, table.without_rowid, table.key_fields}, ignored));
  diff.finish(none);
  Rate rate = rate_of(rows, [&] {
    must(diff.begin(old_image, new_image, changed));
    for (auto& table : schema.tables) {
      Tree tree{table.root, table.without_rowid, table.key_fields};
      must(diff.tree(tree, tree, count));
    }
  });
  if (count.n != rows) throw std::logic_error("not every row was found");
  return rate;
}

struct Spread {
  double median, low, high;
};
template <class F>
Spread spread(const std::vector<Rate>& rates, F what) {
  std::vector<double> all;
  for (auto& rate : rates) all.push_back(what(rate));
  std::sort(all.begin(), all.end());
  return {all[all.size() / 2], all.front(), all.back()};
}

}  // namespace

int main(int argc, char** argv) {
  int64_t rows = 400000;
  int rounds = 3;
  bool as_json = false;
  CLI::App app{"row changes a second, decoded and committed"};
  app.add_option("--rows", rows)->check(CLI::Range(10000, 100000000));
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, argc, argv);
  rows -= rows % 10000;

  Json results = Json::array();
  if (!as_json) std::printf("%-26s %-22s %12s %25s %12s\n", "changes", "", "rows/s", "spread", "rows/s of CPU");
  for (const Shape& shape : kShapes) {
    std::vector<Rate> decode, commit;
    for (int i = 0; i < rounds; i++) {
      decode.push_back(decoded(shape, rows));
      commit.push_back(committed(shape, rows));
    }
    for (auto& [what, rates] : {std::pair("decoded", decode), std::pair("decoded and committed", commit)}) {
      const Spread wall = spread(rates, [](auto&r) { return r.wall; }),
                   cpu = spread(rates, [](auto&r) { return r.cpu; });
      results.push_back({{"changes", shape.name},
                         {"what", what},
                         {"rows_per_s", wall.median},
                         {"low", wall.low},
                         {"high", wall.high},
                         {"rows_per_cpu_s", cpu.median}});
      if (!as_json)
        std::printf("%-26s %-22s %12.0f %12.0f-%12.0f %12.0f\n", shape.name, what, wall.median, wall.low, wall.high,
                    cpu.median);
    }
  }
  if (as_json) std::cout << results.dump(2) << std::endl;
}
