// The parsers of SQLite's formats: against what SQLite writes, at the boundaries, and against bytes that mean harm.
#include <bit>
#include <functional>
#include <limits>
#include <map>

#include "dbfile/btree.h"
#include "dbfile/record.h"
#include "dbfile/wal.h"
#include "sqlite/connection.h"
#include "support/results.h"
#include "support/seeded_random.h"
#include "support/serialized.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

// A database as bytes.
class BytesReader : public PageReader {
 public:
  BytesReader(Bytes bytes, uint32_t page_size) : bytes_(std::move(bytes)), page_size_(page_size) {}
  PageNo page_count() const { return static_cast<PageNo>(bytes_.size() / page_size_); }
  Bytes& bytes() { return bytes_; }
  Result<PageRef> page(PageNo number) override {
    if (number == 0 || number > page_count()) return page_error(number, "outside");
    PageRef page = PageRef::allocate(page_size_);
    std::memcpy(page.mutable_data(), bytes_.data() + size_t{number - 1} * page_size_, page_size_);
    return page;
  }

 private:
  Bytes bytes_;
  uint32_t page_size_;
};

Value integer(int64_t v) {
  Value value;
  value.type = ValueType::integer;
  value.integer = v;
  return value;
}

using EachPayload = std::function<void(PageKind, const Cell&, const Bytes&)>;
void walk(BytesReader& reader, PageNo number, uint32_t usable, const EachPayload& each) {
  PageRef keep = must(reader.page(number));
  BtreePage page = must(BtreePage::parse(number, keep.view(), usable));
  for (uint32_t i = 0; i < page.cell_count(); i++) {
    Cell cell;
    REQUIRE(page.cell(i, cell));
    if (!page.is_leaf()) {
      CHECK(cell.left_child == page.child(i));
      walk(reader, cell.left_child, usable, each);
    }
    if (page.kind() == PageKind::interior_table) continue;
    Bytes payload;
    must(read_payload(reader, cell, usable, reader.page_count(), payload));
    CHECK(payload.size() == cell.payload_size);
    each(page.kind(), cell, payload);
  }
  if (!page.is_leaf()) walk(reader, page.right_child(), usable, each);
}

Bytes wal_bytes(bool big_endian, uint32_t page_size, int frames, SeededRandom& random) {
  Bytes log(kWalHeaderSize);
  put_be32(log.data(), 0x377f0682 | (big_endian ? 1 : 0));
  put_be32(log.data() + 4, 3007000);
  put_be32(log.data() + 8, page_size);
  put_be32(log.data() + 12, 5);
  put_be32(log.data() + 16, 0x01020304);
  put_be32(log.data() + 20, 0xa0b0c0d0);
  WalChecksum sum = wal_checksum({}, ByteView(log).first(24), big_endian);
  put_be32(log.data() + 24, sum.s1);
  put_be32(log.data() + 28, sum.s2);
  for (int f = 0; f < frames; f++) {
    Bytes frame(kWalFrameHeaderSize + page_size);
    random.fill(MutableBytes(frame).subspan(kWalFrameHeaderSize));
    put_be32(frame.data(), static_cast<uint32_t>(f + 1));
    put_be32(frame.data() + 4, f + 1 == frames ? 9 : 0);
    std::memcpy(frame.data() + 8, log.data() + 16, 8);
    sum = wal_checksum(sum, ByteView(frame).first(8), big_endian);
    sum = wal_checksum(sum, ByteView(frame).subspan(kWalFrameHeaderSize), big_endian);
    put_be32(frame.data() + 16, sum.s1);
    put_be32(frame.data() + 20, sum.s2);
    append(log, frame);
  }
  return log;
}

Bytes wal_index_bytes(uint32_t page_size) {
  auto put_le32 = [](uint8_t* p, uint32_t v) { std::memcpy(p, &v, 4); };
  Bytes both(kWalIndexHeaderSize);
  uint8_t* p = both.data();
  put_le32(p, 3007000);
  put_le32(p + 8, 77);
  p[12] = 1;
  p[13] = 1;
  uint32_t size = (page_size & 0xff00) | page_size >> 16;
  p[14] = static_cast<uint8_t>(size);
  p[15] = static_cast<uint8_t>(size >> 8);
  put_le32(p + 16, 12);
  put_le32(p + 20, 34);
  put_le32(p + 24, 0x11111111);
  put_le32(p + 28, 0x22222222);
  put_be32(p + 32, 0x01020304);
  put_be32(p + 36, 0xa0b0c0d0);
  WalChecksum sum = wal_checksum({}, ByteView(both).first(40), false);
  put_le32(p + 40, sum.s1);
  put_le32(p + 44, sum.s2);
  std::memcpy(p + 48, p, 48);
  return both;
}

}  // namespace

TEST_SUITE_BEGIN("dbfile");

TEST_CASE("varint: every length at its boundaries goes there and back, and a cut one is refused") {
  for (unsigned bits = 0; bits <= 64; bits++) {
    uint64_t top = bits == 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << bits) - 1;
    for (uint64_t v : {top, top + 1, top / 2}) {
      CAPTURE(v);
      Bytes bytes;
      put_varint(bytes, v);
      unsigned width = static_cast<unsigned>(std::bit_width(v | 1));
      CHECK(bytes.size() == (width > 56 ? 9u : (width + 6) / 7));
      uint64_t back = 0;
      CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), back) == bytes.size());
      CHECK(back == v);
      for (size_t n = 0; n < bytes.size(); n++) CHECK(read_varint(bytes.data(), bytes.data() + n, back) == 0);
    }
  }
}

TEST_CASE("record: integers take the shortest serial type and come back") {
  std::map<uint64_t, std::vector<int64_t>> by_serial = {
      {8, {0}},
      {9, {1}},
      {1, {-1, 2, 127, -128}},
      {2, {128, -129, 32767, -32768}},
      {3, {32768, -32769, 8388607, -8388608}},
      {4, {8388608, -8388609, 2147483647, -2147483648LL}},
      {5, {2147483648LL, -2147483649LL, 140737488355327LL, -140737488355328LL}},
      {6,
       {140737488355328LL, -140737488355329LL, std::numeric_limits<int64_t>::max(),
        std::numeric_limits<int64_t>::min()}}};
  for (auto& [serial, values] : by_serial)
    for (int64_t v : values) {
      CAPTURE(v);
      CHECK(integer_serial(v) == serial);
      RecordWriter writer;
      writer.add(integer(v));
      Bytes record;
      writer.finish(record);
      CHECK(record.size() == 2 + serial_size(serial));
      auto back = decode_record(record);
      REQUIRE(back);
      REQUIRE(back->size() == 1);
      CHECK((*back)[0].type == ValueType::integer);
      CHECK((*back)[0].integer == v);
    }
}

TEST_CASE("record: as SQLite writes it, for headers and values around each length of a varint") {
  for (size_t columns : {1u, 2u, 125u, 126u, 127u, 128u, 500u, 1999u}) {
    CAPTURE(columns);
    auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    must(db.execute("PRAGMA page_size=65536"));
    std::string names = "c0", values;
    for (size_t c = 1; c < columns; c++) names += ",c" + std::to_string(c);
    RecordWriter writer;
    std::vector<Bytes> keep(columns);
    for (size_t c = 0; c < columns; c++) {
      size_t n = (c * 37) % 90;
      if (columns <= 2) n = 8190;
      Value v;
      switch (c % 5) {
        case 0:
          v.type = ValueType::text;
          keep[c].assign(n, 'x');
          v.bytes = keep[c];
          values += "'" + std::string(n, 'x') + "'";
          break;
        case 1:
          v.type = ValueType::blob;
          keep[c].assign(n, 0);
          v.bytes = keep[c];
          values += "zeroblob(" + std::to_string(n) + ")";
          break;
        case 2: values += "NULL"; break;
        case 3:
          v.type = ValueType::real;
          v.real = 0.5 + static_cast<double>(c);
          values += std::to_string(c) + ".5";
          break;
        default: v = integer(static_cast<int64_t>(c) * 1000003); values += std::to_string(c * 1000003);
      }
      if (c + 1 < columns) values += ",";
      writer.add(v);
    }
    must(db.execute("CREATE TABLE t(" + names + "); INSERT INTO t VALUES(" + values + ")"));
    Bytes record;
    writer.finish(record);
    auto root = static_cast<PageNo>(must(db.query_integer("SELECT rootpage FROM sqlite_schema")));
    BytesReader reader(serialized(db), 65536);
    int rows = 0;
    walk(reader, root, 65536, [&](PageKind, const Cell&, const Bytes& payload) {
      rows++;
      CHECK(equal(payload, record));
    });
    CHECK(rows == 1);
    auto back = decode_record(record);
    REQUIRE(back);
    CHECK(back->size() == columns);
    for (size_t n = 0; n < record.size(); n += 1 + record.size() / 300)
      CHECK_FALSE(decode_record(ByteView(record).first(n)));
  }
}

TEST_CASE("btree: cells of every page size around the overflow thresholds") {
  for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    for (int reserved : {0, 16}) {
      CAPTURE(page_size);
      CAPTURE(reserved);
      uint32_t usable = page_size - static_cast<uint32_t>(reserved);
      auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
      must(db.execute("PRAGMA page_size=" + std::to_string(page_size)));
      sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
      must(
          db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); CREATE TABLE w(k INTEGER PRIMARY KEY, v BLOB) "
                     "WITHOUT ROWID"));
      std::map<int64_t, size_t> sizes;
      int64_t id = 0;
      for (bool table : {true, false}) {
        uint32_t most = table ? usable - 35 : (usable - 12) * 64 / 255 - 23;
        // Payloads from below the threshold to above it, and where one and two overflow pages are just full.
        for (uint32_t middle :
             {most, most + usable - 4, most + 2 * (usable - 4), (usable - 12) * 32 / 255 - 23 + usable - 4})
          for (uint32_t n = middle - 8; n <= middle + 8; n++) sizes[++id] = n;
      }
      must(db.execute("BEGIN"));
      for (auto& [key, n] : sizes) {
        std::string values = " VALUES(" + std::to_string(key) + ", zeroblob(" + std::to_string(n) + "))";
        must(db.execute("INSERT INTO t" + values + "; INSERT INTO w" + values));
      }
      must(db.execute("COMMIT"));
      auto root_t = static_cast<PageNo>(must(db.query_integer("SELECT rootpage FROM sqlite_schema WHERE name='t'")));
      auto root_w = static_cast<PageNo>(must(db.query_integer("SELECT rootpage FROM sqlite_schema WHERE name='w'")));
      BytesReader reader(serialized(db), page_size);
      DatabaseHeader header = must(DatabaseHeader::parse(reader.bytes()));
      REQUIRE(header.page_size == page_size);
      REQUIRE(header.usable == usable);
      for (PageNo root : {root_t, root_w}) {
        int64_t last = 0;
        size_t rows = 0, spilled = 0;
        walk(reader, root, usable, [&](PageKind kind, const Cell& cell, const Bytes& payload) {
          CHECK((kind == PageKind::leaf_table) == (root == root_t));
          auto values = decode_record(payload);
          REQUIRE(values);
          REQUIRE(values->size() == 2);
          int64_t key = root == root_t ? cell.rowid : (*values)[0].integer;
          CHECK(key == last + 1);
          last = key;
          CHECK((*values)[1].bytes.size() == sizes[key]);
          CHECK((cell.overflow != 0) == (cell.local.size() < cell.payload_size));
          rows++;
          spilled += cell.overflow != 0;
        });
        CHECK(rows == sizes.size());
        CHECK(spilled > 0);
        CHECK(spilled < rows);
      }
    }
  }
}

TEST_CASE("btree: the freelist as SQLite keeps it, one that goes round is refused") {
  auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(db.execute("PRAGMA page_size=512; CREATE TABLE t(v); CREATE TABLE u(v)"));
  must(
      db.execute("WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<900) INSERT INTO t SELECT "
                 "zeroblob(450) FROM g"));
  must(db.execute("DELETE FROM t"));
  BytesReader reader(serialized(db), 512);
  DatabaseHeader header = must(DatabaseHeader::parse(reader.bytes()));
  Freelist list = must(read_freelist(reader, header, reader.page_count()));
  CHECK(list.trunks.size() + list.leaves.size() == header.freelist_count);
  CHECK(list.trunks.size() > 1);
  uint8_t* last = reader.bytes().data() + size_t{list.trunks.back() - 1} * 512;
  put_be32(last, list.trunks.front());
  CHECK(kind_of(read_freelist(reader, header, reader.page_count())) == ErrorKind::corrupt);
  put_be32(last, reader.page_count() + 1);
  CHECK(kind_of(read_freelist(reader, header, reader.page_count())) == ErrorKind::corrupt);
  put_be32(last, 0);
  put_be32(last + 4, 0xffffffff);
  CHECK(kind_of(read_freelist(reader, header, reader.page_count())) == ErrorKind::corrupt);
}

TEST_CASE("wal: header and frames in both byte orders of the checksum") {
  SeededRandom random(5);
  for (bool big_endian : {false, true})
    for (uint32_t page_size : {512u, 4096u, 65536u}) {
      Bytes log = wal_bytes(big_endian, page_size, 3, random);
      auto header = WalHeader::parse(ByteView(log).first(kWalHeaderSize));
      REQUIRE(header);
      CHECK(header->big_endian_checksum == big_endian);
      CHECK(header->page_size == page_size);
      CHECK(header->salts == WalSalts{0x01020304, 0xa0b0c0d0});
      WalChecksum sum = header->checksum;
      for (FrameNo n = 1; n <= 3; n++) {
        const uint8_t* at = log.data() + wal_frame_offset(n, page_size);
        auto frame = WalFrameHeader::parse(at);
        CHECK(frame.page == n);
        CHECK(frame.commit_size == (n == 3 ? 9u : 0u));
        CHECK(frame.salts == header->salts);
        sum = wal_checksum(wal_checksum(sum, {at, 8}, big_endian), {at + kWalFrameHeaderSize, page_size}, big_endian);
        CHECK(frame.checksum == sum);
      }
      CHECK(wal_frame_offset(4, page_size) == log.size());
      // Each bit of the header counts.
      for (size_t bit = 0; bit < kWalHeaderSize * 8; bit++) {
        Bytes damaged(log.begin(), log.begin() + kWalHeaderSize);
        damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        CHECK_FALSE(WalHeader::parse(damaged));
      }
      CHECK_FALSE(WalHeader::parse(ByteView(log).first(kWalHeaderSize - 1)));
    }
}

TEST_CASE("wal: a worked example of the checksum, both byte orders") {
  Bytes bytes = {0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};
  // s1 = 1, s2 = 2+1; s1 = 1+3+3, s2 = 3+4+7
  CHECK(wal_checksum({}, bytes, true) == WalChecksum{7, 14});
  CHECK(wal_checksum({}, bytes, false) == WalChecksum{7u << 24, 14u << 24});
}

TEST_CASE("wal-index: the header, and nothing for torn or damaged copies") {
  for (uint32_t page_size : {512u, 4096u, 32768u, 65536u}) {
    Bytes both = wal_index_bytes(page_size);
    auto header = WalIndexHeader::parse(both);
    REQUIRE(header);
    CHECK(header->page_size == page_size);
    CHECK(header->max_frame == 12);
    CHECK(header->page_count == 34);
    CHECK(header->change == 77);
    CHECK(header->big_endian_checksum);
    CHECK(header->frame_checksum == WalChecksum{0x11111111, 0x22222222});
    CHECK(header->salts == WalSalts{0x01020304, 0xa0b0c0d0});
    for (size_t bit = 0; bit < 96 * 8; bit++) {
      Bytes torn = both;
      torn[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      CHECK_FALSE(WalIndexHeader::parse(torn));
    }
    // Both copies alike, but damaged.
    for (size_t byte = 0; byte < 48; byte++) {
      Bytes damaged = both;
      damaged[byte] ^= 0x40;
      damaged[48 + byte] ^= 0x40;
      CHECK_FALSE(WalIndexHeader::parse(damaged));
    }
    CHECK_FALSE(WalIndexHeader::parse(ByteView(both).first(95)));
  }
  CHECK_FALSE(WalIndexHeader::parse(Bytes(kWalIndexHeaderSize)));
}

TEST_CASE("dbfile: hostile bytes are refused or read within bounds, never a crash") {
  uint64_t seed = SeededRandom::seed_of_this_run();
  CAPTURE(seed);
  SeededRandom random(seed);
  auto try_page = [&](PageReader& reader, PageNo number, ByteView page, uint32_t usable, PageNo page_count) {
    auto parsed = BtreePage::parse(number, page, usable);
    if (!parsed) return;
    for (uint32_t i = 0; i <= parsed->cell_count(); i++) {
      if (!parsed->is_leaf()) (void)parsed->child(i);
      Cell cell;
      if (i == parsed->cell_count() || !parsed->cell(i, cell)) continue;
      CHECK(cell.local.size() <= usable);
      Bytes payload;
      if (cell.payload_size < 100000) (void)read_payload(reader, cell, usable, page_count, payload).has_value();
      (void)decode_record(cell.local);
    }
  };
  for (int round = 0; round < 3000; round++) {
    Bytes bytes(random.below(600));
    random.fill(bytes);
    (void)decode_record(bytes);
    (void)WalHeader::parse(bytes);
    (void)WalIndexHeader::parse(bytes);
    (void)DatabaseHeader::parse(bytes).has_value();
    uint64_t value;
    (void)read_varint(bytes.data(), bytes.data() + bytes.size(), value);
    BytesReader none({}, 512);
    static const uint8_t kinds[] = {2, 5, 10, 13};
    if (bytes.size() > 100) bytes[round % 2 ? 0 : 100] = kinds[random.below(4)];
    for (uint32_t usable : {480u, 512u, static_cast<uint32_t>(bytes.size())})
      try_page(none, round % 2 ? 2 : 1, bytes, usable, 0);
  }
  // A real database with bytes changed here and there: further into the parsers than noise gets.
  auto db = must(Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  must(
      db.execute("PRAGMA page_size=512; CREATE TABLE t(v); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;"
                 "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM g WHERE n<60) INSERT INTO t SELECT "
                 "randomblob(n*20) FROM g;"
                 "INSERT INTO w SELECT rowid, v FROM t; DELETE FROM t WHERE rowid%4=0"));
  Bytes good = serialized(db);
  for (int round = 0; round < 300; round++) {
    BytesReader reader(good, 512);
    for (uint64_t n = 1 + random.below(60); n > 0; n--)
      reader.bytes()[random.below(good.size())] = static_cast<uint8_t>(random.next());
    auto header = DatabaseHeader::parse(reader.bytes());
    if (!header || header->page_size != 512) continue;
    (void)read_freelist(reader, *header, reader.page_count()).has_value();
    for (PageNo page = 1; page <= reader.page_count(); page++) {
      PageRef keep = must(reader.page(page));
      try_page(reader, page, keep.view(), header->usable, reader.page_count());
    }
  }
}

TEST_SUITE_END();
