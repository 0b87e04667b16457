// The row diff over hostile images: real databases, some transactions of each, bent by what the input says.
//
// Input: a byte that chooses the database (bits 0-1), the image to begin with (2-3) and how many follow (4-5); then
// changes of 6 bytes: what (bits 0-3), on which image (bits 4-6), and whether it stays in the images after it (bit 7);
// page; offset (2); value (2). Every step must end, within memory, with rows or with an error in words. Where both
// images are sound, the rows must lead from one to the other, and the owner map must be as one made afresh.
#include <algorithm>

#include "capture/tree_walk.h"
#include "fuzz/fuzz.h"
#include "fuzz/sound_image.h"
#include "sqlite/connection.h"

using namespace tillsync;
using namespace tillsync::fuzz;

namespace {

constexpr uint32_t kPageSize = 512;
constexpr PageNo kPagesMax = 250;

using Pages = std::vector<PageRef>;  // [0] is page 1

struct Scenario {
  std::vector<Pages> images;
};

Pages image_of_database(Connection& db) {
  sqlite3_int64 size = 0;
  unsigned char* raw = sqlite3_serialize(db.handle(), "main", &size, 0);
  FUZZ_HOLDS(raw != nullptr);
  Pages pages;
  for (sqlite3_int64 at = 0; at < size; at += kPageSize) {
    pages.push_back(PageRef::allocate(kPageSize));
    std::memcpy(pages.back().mutable_data(), raw + at, kPageSize);
  }
  sqlite3_free(raw);
  FUZZ_HOLDS(pages.size() < kPagesMax);
  return pages;
}

Scenario scenario(const std::string& pragmas, const std::vector<std::string>& steps) {
  auto opened = Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  FUZZ_HOLDS(opened.has_value());
  Connection db = std::move(*opened);
  FUZZ_HOLDS(db.execute("PRAGMA page_size=512;" + pragmas).has_value());
  FUZZ_HOLDS(db.execute("CREATE TEMP TABLE g AS WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE "
                        "n<32) SELECT n FROM g")
                 .has_value());
  Scenario made;
  for (auto& step : steps) {
    auto done = db.execute(step);
    if (!done) std::fprintf(stderr, "%s: %s\n", step.c_str(), done.error().context.c_str());
    FUZZ_HOLDS(done.has_value());
    made.images.push_back(image_of_database(db));
  }
  return made;
}

// No random content: a file of the corpus means the same in every run.
const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      scenario("CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(v); CREATE INDEX i ON t(v)",
               {"INSERT INTO t SELECT n, hex(zeroblob(n*n%60)) FROM g; INSERT INTO u SELECT v FROM t WHERE id<9",
                "UPDATE t SET v=hex(zeroblob(900)) WHERE id%15=3", "DELETE FROM t WHERE id BETWEEN 5 AND 25",
                "INSERT INTO u SELECT hex(zeroblob(n*20)) FROM g WHERE n<30; DELETE FROM t"}),
      scenario(
          "CREATE TABLE w(k TEXT COLLATE NOCASE, b, v, PRIMARY KEY(b, k)) WITHOUT ROWID",
          {"INSERT INTO w SELECT 'Name'||n, n%7, hex(zeroblob(n%13*20)) FROM g", "UPDATE w SET v='changed' WHERE b=3",
           "DELETE FROM w WHERE b>4", "INSERT INTO w SELECT 'Other'||n, n%5, hex(zeroblob(n%3*300)) FROM g"}),
      scenario("CREATE TABLE a(k TEXT PRIMARY KEY, r REAL, n INT DEFAULT 7); CREATE TABLE b(x)",
               {"INSERT INTO a SELECT 'key'||n, n/2.0, n FROM g; INSERT INTO b SELECT hex(zeroblob(200)) FROM g WHERE "
                "n<20",
                "ALTER TABLE a ADD COLUMN late TEXT DEFAULT 'old'; DROP TABLE b; CREATE TABLE c(y)",
                "INSERT OR REPLACE INTO a(k, r) SELECT 'key'||n, n FROM g WHERE n%9=0; INSERT INTO c VALUES('x')",
                "DELETE FROM a WHERE n%2; VACUUM"}),
      scenario("PRAGMA auto_vacuum=FULL; PRAGMA encoding='UTF-16be'; CREATE TABLE p(v); CREATE TABLE q(k PRIMARY KEY, "
               "v) WITHOUT ROWID",
               {"INSERT INTO p SELECT 'text'||n FROM g; INSERT INTO q SELECT n, hex(zeroblob(n*7%200)) FROM g",
                "DELETE FROM p WHERE rowid<20",
                "UPDATE q SET v=hex(zeroblob(1000)) WHERE k=30; INSERT INTO p VALUES(1)", "DROP TABLE p"}),
  };
  return all;
}

class PagesReader : public PageReader {
 public:
  explicit PagesReader(const Pages& pages) : pages_(pages) {}
  Result<PageRef> page(PageNo number) override {
    if (number == 0 || number > pages_.size()) return page_error(number, "outside");
    return pages_[number - 1];
  }

 private:
  const Pages& pages_;
};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool has(size_t n) const { return left_ >= n; }
  uint8_t u8() {
    left_--;
    return *data_++;
  }
  uint16_t u16() {
    auto high = u8();
    return static_cast<uint16_t>(high << 8 | u8());
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

void change_page(Pages& pages, size_t index, uint8_t what, uint16_t offset, uint16_t value) {
  PageRef fresh = PageRef::allocate(kPageSize);
  uint8_t* p = fresh.mutable_data();
  std::memcpy(p, pages[index].data(), kPageSize);
  const size_t at = offset % (kPageSize - 4);
  // Where the pointers to the cells stand; page 1 has the database header before them.
  uint8_t* header = p + (index == 0 ? 100 : 0);
  switch (what) {
    case 0: p[at] = static_cast<uint8_t>(value); break;
    case 1:
      p[at] = static_cast<uint8_t>(value >> 8);
      p[at + 1] = static_cast<uint8_t>(value);
      break;
    case 2: put_be32(p + at, value % (pages.size() + 2)); break;  // a page number, perhaps
    case 3: put_be32(p + at, 0xffff0000u | value); break;
    case 4: std::memcpy(p, pages[value % pages.size()].data(), kPageSize); break;
    case 5: {  // a pointer of a cell
      uint8_t* pointer = header + 8 + 2 * (offset % 60);
      pointer[0] = static_cast<uint8_t>(value >> 8);
      pointer[1] = static_cast<uint8_t>(value);
      break;
    }
    case 6:  // as many cells as said
      header[3] = static_cast<uint8_t>(value >> 8);
      header[4] = static_cast<uint8_t>(value);
      break;
    case 7: put_be32(header + 8, value % (pages.size() + 2)); break;  // the rightmost child
    case 8: std::memset(p + at, static_cast<int>(value & 0xff), std::min<size_t>(value >> 8, kPageSize - at)); break;
    case 9: {  // the same cell once more
      uint8_t* pointers = header + (header[0] < 8 ? 12 : 8);
      std::memcpy(pointers + 2 * (offset % 40), pointers + 2 * (value % 40), 2);
      break;
    }
    default: p[at] ^= static_cast<uint8_t>(1 << value % 8);
  }
  pages[index] = std::move(fresh);
}

void bend(Input& input, std::vector<Pages>& images, std::vector<PageNo>& also_changed) {
  for (int changes = 0; input.has(6) && changes < 60; changes++) {
    const uint8_t head = input.u8();
    const uint8_t page = input.u8();
    const uint16_t offset = input.u16(), value = input.u16();
    const uint8_t what = head & 15;
    const size_t first = (head >> 4 & 7) % images.size();
    const size_t last = head & 0x80 ? images.size() - 1 : first;
    for (size_t i = first; i <= last; i++) {
      Pages& pages = images[i];
      if (pages.empty()) continue;
      const size_t index = page % pages.size();
      switch (what) {
        case 13: pages.resize(index + 1); break;
        case 14: {
          PageRef zeros = PageRef::allocate(kPageSize);
          std::memset(zeros.mutable_data(), 0, kPageSize);
          pages.resize(std::min<size_t>(kPagesMax, pages.size() + value % 20), zeros);
          break;
        }
        case 15:
          if (i && index < images[i - 1].size()) pages[index] = images[i - 1][index];
          also_changed.push_back(static_cast<PageNo>(index + 1));
          break;
        default: change_page(pages, index, what, offset, value);
      }
    }
  }
}

// read_schema() starts an SQLite; most inputs have one of a few schemas.
using SchemaPointer = std::shared_ptr<const Schema>;
Result<SchemaPointer> cached_schema(const Image& image) {
  TILLSYNC_LET(DatabaseHeader header, header_of(image));
  std::vector<SchemaObject> objects;
  std::string all = std::to_string(header.text_encoding);
  TILLSYNC_TRY(walk_tree(image, 1, [&](int64_t, ByteView record) -> Result<void> {
    TILLSYNC_LET(SchemaObject object, schema_object_of(record, header.text_encoding));
    objects.push_back(std::move(object));
    all += std::string(as_text(record)) + '\n';
    return {};
  }));
  static std::map<std::string, Result<SchemaPointer>> known;
  auto found = known.find(all);
  if (found != known.end()) return found->second;
  if (known.size() > 200) known.clear();
  auto read = read_schema(std::move(objects), header.text_encoding);
  auto result = read ? Result<SchemaPointer>(std::make_shared<const Schema>(std::move(*read)))
                     : Result<SchemaPointer>(std::move(read).error());
  return known.emplace(all, std::move(result)).first->second;
}

Tree tree_of(const Table& table) { return {table.root, table.without_rowid, table.key_fields}; }

// Names rows as the log does, and keeps what the diff says of a table.
class Changes : public RowSink {
 public:
  Changes(const Table& before, const Table& after, RowsByKey* rows) : before_(before), after_(after), rows_(rows) {}
  Result<void> row(const RowChange& change) override {
    if (!change.before.empty() || change.action != RowAction::create) {
      TILLSYNC_TRY(name(before_, change.rowid, change.before));
    }
    if (!change.after.empty() || change.action != RowAction::remove) {
      TILLSYNC_TRY(name(after_, change.rowid, change.after));
    }
    bytes_ += change.before.size() + change.after.size();
    if (!rows_) return {};
    if (change.action != RowAction::create) {
      auto old = rows_->find(tree_key(before_.table(), change.rowid, change.before));
      if (old == rows_->end() || !equal(old->second, change.before)) {
        wrong_ = true;
      } else {
        rows_->erase(old);
      }
    }
    // Of WITHOUT ROWID trees a key may be taken before the row that had it is given up.
    if (change.action != RowAction::remove)
      created_.emplace_back(tree_key(after_.table(), change.rowid, change.after), to_bytes(change.after));
    return {};
  }
  bool finish() {
    for (auto& [key, record] : created_)
      if (!rows_->emplace(key, record).second) wrong_ = true;
    return !wrong_;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  static Result<void> name(RowIdentity& identity, int64_t rowid, ByteView record) {
    TILLSYNC_TRY(identity.key(rowid, record));
    TILLSYNC_TRY(identity.canonical(record));
    return {};
  }
  RowIdentity before_, after_;
  RowsByKey* rows_;
  std::vector<std::pair<Bytes, Bytes>> created_;
  uint64_t bytes_ = 0;
  bool wrong_ = false;
};

struct NoRows : RowSink {
  Result<void> row(const RowChange&) override { return {}; }
};

// What Ingest keeps between transactions.
struct Followed {
  OwnerMap owners;
  SchemaPointer schema;
};

Result<void> baseline(const Image& image, Followed& followed) {
  TILLSYNC_LET(followed.schema, cached_schema(image));
  TreeDiff trees(followed.owners);
  TILLSYNC_TRY(trees.begin({nullptr, 0, 0}, image, {}));
  NoRows none;
  TILLSYNC_TRY(trees.tree({}, {1, false, 0}, none));
  for (auto& table : followed.schema->tables) {
    Changes rows(table, table, nullptr);
    TILLSYNC_TRY(trees.tree({}, tree_of(table), rows));
  }
  std::vector<PageNo> owners;
  trees.finish(owners);
  return {};
}

// As Ingest::diff. sound: rows before, which become those after; a table whose rowids were dealt anew is left out.
Result<void> step(const Image& before, const Image& after, std::span<const PageNo> changed, Followed& followed,
                  SoundImage* sound) {
  TreeDiff trees(followed.owners);
  TILLSYNC_TRY(trees.begin(before, after, changed));
  TILLSYNC_LET(SchemaPointer next, cached_schema(after));
  NoRows none;
  if (trees.touched(1)) TILLSYNC_TRY(trees.tree({1, false, 0}, {1, false, 0}, none));
  const uint64_t room = uint64_t{before.usable} * before.page_count + uint64_t{after.usable} * after.page_count;
  auto diff = [&](const Table& old_table, const Table& new_table, const Tree& old_tree,
                  const Tree& new_tree) -> Result<void> {
    RowsByKey* rows = sound ? &sound->tables[new_tree.root ? new_table.name : old_table.name] : nullptr;
    Changes changes(old_table, new_table, rows);
    bool watch = old_tree.root && new_tree.root && !new_table.has_declared_key();
    auto done = trees.tree(old_tree, new_tree, changes, watch);
    // Whatever the images hold, no more comes out than is in them; chains may be shared by a few cells.
    FUZZ_HOLDS(changes.bytes() <= 5 * room);
    TILLSYNC_TRY(std::move(done));
    if (sound && trees.renumbered()) {
      sound->tables.erase(new_table.name);
      return {};
    }
    if (sound) FUZZ_HOLDS(changes.finish());
    return {};
  };
  for (auto& table : followed.schema->tables) {
    const Table* same = next->find(table.name);
    if (!same) {
      TILLSYNC_TRY(diff(table, table, tree_of(table), {}));
      if (sound) FUZZ_HOLDS(sound->tables[table.name].empty());
      if (sound) sound->tables.erase(table.name);
    } else if (table.without_rowid != same->without_rowid) {
      TILLSYNC_TRY(diff(table, table, tree_of(table), {}));
      TILLSYNC_TRY(diff(*same, *same, {}, tree_of(*same)));
    } else if (table.root != same->root || trees.touched(table.root)) {
      TILLSYNC_TRY(diff(table, *same, tree_of(table), tree_of(*same)));
    }
  }
  for (auto& table : next->tables)
    if (!followed.schema->find(table.name)) TILLSYNC_TRY(diff(table, table, {}, tree_of(table)));
  std::vector<PageNo> owners;
  trees.finish(owners);
  followed.schema = std::move(next);
  return {};
}

// Same texts: a record means the same on both sides.
bool same_definitions(const Schema& a, const Schema& b) {
  return std::equal(a.objects.begin(), a.objects.end(), b.objects.begin(), b.objects.end(),
                    [](const SchemaObject& x, const SchemaObject& y) { return x.same_definition(y); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  Input input(data, size);
  const uint8_t choice = input.u8();
  const auto& whole = scenarios()[choice & 3].images;
  const size_t first_image = std::min<size_t>(choice >> 2 & 3, whole.size() - 2);
  const size_t last_image = std::min<size_t>(first_image + 1 + (choice >> 4 & 3), whole.size() - 1);
  std::vector<Pages> images(whole.begin() + static_cast<ptrdiff_t>(first_image),
                            whole.begin() + static_cast<ptrdiff_t>(last_image) + 1);
  std::vector<PageNo> also_changed;
  bend(input, images, also_changed);

  Followed followed;
  PagesReader first(images[0]);
  auto before = image_of(first, static_cast<PageNo>(images[0].size()));
  if (!before || !baseline(*before, followed)) return 0;
  auto sound = sound_image(*before, *followed.schema);
  if (sound) FUZZ_HOLDS(sound->owners == followed.owners);
  for (size_t i = 1; i < images.size(); i++) {
    PagesReader old_reader(images[i - 1]), new_reader(images[i]);
    auto old_image = image_of(old_reader, static_cast<PageNo>(images[i - 1].size()));
    auto new_image = image_of(new_reader, static_cast<PageNo>(images[i].size()));
    if (!old_image || !new_image) return 0;
    std::vector<PageNo> changed;
    for (PageNo page = 1; page <= new_image->page_count; page++) {
      bool told = std::find(also_changed.begin(), also_changed.end(), page) != also_changed.end();
      if (told || page > old_image->page_count || !equal(images[i - 1][page - 1].view(), images[i][page - 1].view()))
        changed.push_back(page);
    }
    std::optional<SoundImage> sound_after;
    auto schema_after = cached_schema(*new_image);
    if (sound && schema_after && old_image->usable == new_image->usable &&
        followed.schema->text_encoding == (*schema_after)->text_encoding)
      sound_after = sound_image(*new_image, **schema_after);
    const bool exact = sound && sound_after && same_definitions(*followed.schema, **schema_after);
    auto done = step(*old_image, *new_image, changed, followed, exact ? &*sound : nullptr);
    if (!done) {
      if (exact) std::fprintf(stderr, "step %zu: %s\n", i, done.error().context.c_str());
      FUZZ_HOLDS(!done.error().context.empty());
      FUZZ_HOLDS(!exact);
      return 0;
    }
    if (sound_after) FUZZ_HOLDS(sound_after->owners == followed.owners);
    if (exact)
      for (auto& [table, rows] : sound->tables) FUZZ_HOLDS(rows == sound_after->tables[table]);
    sound = std::move(sound_after);
  }
  return 0;
}
