// The same work each time on the paths that cost the till most, for `./dev instructions` to count.
//
//   hot_paths        the names
//   hot_paths NAME   does its work, and prints of how many units it was
//
// Everything before is set up outside hot_path(), the one function in which instructions are counted.
#define DOCTEST_CONFIG_IMPLEMENT
#include <functional>
#include <iostream>

#include "capture/capture_fixture.h"
#include "compression/zstd.h"
#include "crypto/keyring.h"
#include "restore/restore_fixture.h"
#include "support/database_in_memory.h"

// By this name the counting tool knows it.
extern "C" [[gnu::noinline]] void hot_path(const std::function<void()>& work) { work(); }

namespace {

using namespace tillsync;
using namespace tillsync::test;

constexpr const char* kSchema =
    "CREATE TABLE sale(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, at TEXT, total INTEGER);"
    "CREATE TABLE line(id INTEGER PRIMARY KEY, sale INTEGER NOT NULL REFERENCES sale(id), product INTEGER NOT NULL, "
    "quantity INTEGER, price INTEGER, note TEXT);"
    "CREATE INDEX line_sale ON line(sale);"
    "CREATE TABLE stock(store INTEGER, product INTEGER, left INTEGER, at TEXT, PRIMARY KEY(store, product)) WITHOUT "
    "ROWID;"
    "INSERT INTO stock WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM g WHERE n<999) SELECT 1, n, 500, "
    "'2026-11-27T08:00:00' FROM g";
constexpr int kLines = 5;
constexpr int kRowsOfSale = 1 + 2 * kLines;  // its own, its lines, the stock of each

// A till that has sold so much.
struct HotShop : RestoreWorld {
  explicit HotShop(int sales)
      : RestoreWorld(1,
                     "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; "
                     "PRAGMA wal_autocheckpoint=0;") {
    // The log is the till's, and may grow.
    setup.wal_bytes_max = setup.wal_bytes_hard = uint64_t{1} << 40;
    restart();
    auto ring = std::make_shared<Keyring>();
    ring->signer = SigningKey::make(random);
    ring->signers = {ring->signer->public_key()};
    const SealingKey terminal = SealingKey::make(random), organisation = SealingKey::make(random);
    ring->recipients = {terminal.public_key(), organisation.public_key()};
    ring->openers = {terminal};
    lineage.keys = ring;
    run(kSchema);
    sell_some(sales);
  }

  // A transaction each.
  void sell_some(int sales) {
    for (int i = 0; i < sales; i++) {
      const std::string sale = std::to_string(++sold_);
      char uuid[33];
      std::snprintf(uuid, sizeof uuid, "%016llx%016llx", static_cast<unsigned long long>(random.next()),
                    static_cast<unsigned long long>(random.next()));
      std::string sql = "BEGIN; INSERT INTO sale VALUES(" + sale + ", '" + uuid + "', '2026-11-27T09:30:" + sale +
                        "', " + std::to_string(random.below(10000)) + ");";
      for (int line = 0; line < kLines; line++) {
        // Each product once a sale.
        const std::string product = std::to_string(line * 200 + static_cast<int>(random.below(200)));
        sql += "INSERT INTO line(sale, product, quantity, price, note) VALUES(" + sale + ", " + product + ", " +
               std::to_string(1 + random.below(5)) + ", " + std::to_string(random.below(2000)) +
               (line == 0 ? ", 'no sugar, please');" : ", NULL);");
        sql += "UPDATE stock SET left=left-1, at='2026-11-27T09:30:" + sale + "' WHERE store=1 AND product=" + product +
               ";";
      }
      run(sql + "COMMIT");
    }
  }
  Bytes file_now() {
    run("PRAGMA wal_checkpoint(TRUNCATE)");
    return must(read_file(files, path, 1 << 30));
  }

 private:
  int sold_ = 0;
};

struct Units {
  int64_t count;
  const char* name;
};

struct CountRows : RowSink {
  Result<void> row(const RowChange&) override { return rows++, Result<void>(); }
  int64_t rows = 0;
};

// What would be counted wrongly is worse than no count.
void expect(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

Units decode() {
  HotShop shop(2000);
  shop.capturer.reset();
  shop.run("PRAGMA wal_checkpoint(TRUNCATE)");
  DatabaseInMemory file(shop.path);
  const Image image = must(image_of(file, file.count()));
  const Schema schema = must(schema_of(image));
  int64_t rows = 0, sum = 0;
  hot_path([&] {
    for (auto& table : schema.tables)
      must(walk_tree(image, table.root, [&](int64_t, ByteView record) -> Result<void> {
        RecordReader fields(record);
        Value value;
        while (fields.next(value)) sum += value.integer;
        rows++;
        return {};
      }));
  });
  expect(rows == 2000 * (1 + kLines) + 1000 && sum > 0, "not every row was decoded");
  return {file.count(), "page"};
}

Units diff() {
  constexpr int kSales = 500;
  HotShop shop(2000);
  shop.capturer.reset();
  shop.run("PRAGMA wal_checkpoint(TRUNCATE)");
  DatabaseInMemory before(shop.path);
  shop.sell_some(kSales);
  shop.run("PRAGMA wal_checkpoint(TRUNCATE)");
  DatabaseInMemory after(shop.path);
  const Image old_image = must(image_of(before, before.count())), new_image = must(image_of(after, after.count()));
  const Schema schema = must(schema_of(new_image));
  const auto changed = changed_pages(before, after);
  OwnerMap owners;
  TreeDiff diff(owners);
  CountRows ignored, found;
  std::vector<PageNo> changed_owners;
  must(diff.begin({nullptr, 0, 0}, old_image, {}));
  for (auto& table : schema.tables) must(diff.tree({}, {table.root, table.without_rowid, table.key_fields}, ignored));
  diff.finish(changed_owners);
  hot_path([&] {
    must(diff.begin(old_image, new_image, changed));
    for (auto& table : schema.tables) {
      const Tree tree{table.root, table.without_rowid, table.key_fields};
      must(diff.tree(tree, tree, found));
    }
  });
  // Of the stock only what it is at the end.
  expect(found.rows > kSales * (1 + kLines) && found.rows <= kSales * kRowsOfSale, "not every change was found");
  return {found.rows, "row"};
}

// From the application's log to a committed action log, as it is for every sale.
Units capture() {
  constexpr int kSales = 200;
  HotShop shop(2000);
  shop.capture();
  const int64_t before = shop.logged("action_log");
  for (int i = 0; i < kSales; i++) {
    shop.sell_some(1);
    hot_path([&] { shop.capture(); });
  }
  expect(shop.logged("action_log") - before == kSales * kRowsOfSale, "not every row was captured");
  return {kSales, "sale"};
}

// Five sales, as in one second of a busy till, whose log has a dictionary.
Units segment() {
  constexpr int kSegments = 40, kSales = 5;
  HotShop shop(500);
  const auto sell = [&] {
    shop.sell_some(kSales);
    shop.capture();
  };
  shop.capture();
  while (shop.logged("dictionaries") == 0) {
    shop.seal();
    sell();
  }
  shop.seal();
  for (int i = 0; i < kSegments; i++) {
    sell();
    hot_path([&] { shop.seal(); });
  }
  return {kSegments, "segment"};
}

constexpr size_t kBlock = 64 * 4096;

std::vector<Bytes> blocks_of(HotShop& shop) {
  const Bytes file = shop.file_now();
  std::vector<Bytes> blocks;
  for (size_t at = 0; at + kBlock <= file.size(); at += kBlock) {
    const ByteView block = ByteView(file).subspan(at, kBlock);
    blocks.emplace_back(block.begin(), block.end());
  }
  expect(blocks.size() >= 2, "too small a database");
  return blocks;
}

Units compress() {
  HotShop shop(3000);
  const auto blocks = blocks_of(shop);
  Compressor compressor(Compressor::Tuning::database_pages);
  Bytes out;
  hot_path([&] {
    for (auto& block : blocks) compressor.compress(block, out);
  });
  return {static_cast<int64_t>(blocks.size()), "block"};
}

Units seal() {
  HotShop shop(3000);
  const auto blocks = blocks_of(shop);
  ObjectSealer sealer(ObjectKind::pack, shop.lineage, shop.random);
  hot_path([&] {
    uint64_t offset = sealer.head().size();
    for (auto& block : blocks) offset += sealer.seal(offset, block).size();
  });
  return {static_cast<int64_t>(blocks.size()), "block"};
}

Units replay() {
  constexpr int kSales = 500;
  HotShop shop(2000);
  shop.capture();
  shop.seal();
  shop.snapshot();
  const TransactionNo start = shop.capturer->status().transaction;
  shop.sell_some(kSales);
  shop.capture();
  shop.seal();
  must(shop.try_restore(RestoreWorld::at_transaction(start)));
  auto db = shop.open_staged();
  must(db.execute("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; BEGIN"));
  auto replayer = must(Replayer::create(db, std::make_shared<const Schema>(shop.schema()),
                                        must(count_tables(shop.files, shop.staged_path())), start, false));
  LogReader reader(shop.store, shop.lineage);
  std::vector<Segment> segments;
  for (auto& listed : must(reader.list())) {
    auto segment = must(reader.read(listed));
    if (!segment.transactions.empty() && segment.transactions.back().number > start)
      segments.push_back(std::move(segment));
  }
  hot_path([&] {
    for (auto& segment : segments) must(replayer->apply(segment, ~TransactionNo{0}));
  });
  expect(replayer->actions_applied() == kSales * kRowsOfSale, "not every row was replayed");
  return {kSales * kRowsOfSale, "row"};
}

struct HotPath {
  const char* name;
  Units (*work)();
};
constexpr HotPath kHotPaths[] = {{"decode", decode},     {"diff", diff}, {"capture", capture}, {"segment", segment},
                                 {"compress", compress}, {"seal", seal}, {"replay", replay}};

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context;  // the fixtures' assertions end the program
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler([](const doctest::AssertData& failed) {
    if (!failed.m_failed) return;
    std::cerr << failed.m_file << ":" << failed.m_line << ": " << failed.m_expr << "\n";
    std::exit(1);
  });
  if (argc == 1) {
    for (auto& path : kHotPaths) std::cout << path.name << "\n";
    return 0;
  }
  for (auto& path : kHotPaths)
    if (argc == 2 && argv[1] == std::string(path.name)) {
      const Units units = path.work();
      std::cout << units.count << " " << units.name << "\n";
      return 0;
    }
  std::cerr << "no hot path of this name; without an argument they are listed\n";
  return 2;
}
