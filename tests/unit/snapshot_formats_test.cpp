// The worked examples of docs/formats.md, taken from the document itself.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "compression/zstd.h"
#include "snapshot/pack_reader.h"
#include "snapshot/pack_writer.h"
#include "support/documented_examples.h"
#include "support/snapshot_world.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {
const Lineage kExample{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};
}  // namespace

TEST_SUITE("snapshot") {
  TEST_CASE("formats: the header in the document is what is written, and is read") {
    CountingRandom random;
    Bytes written = ObjectHeader::make(ObjectKind::manifest, kExample, random).encode();
    Bytes documented = example("header");
    CHECK_MESSAGE(written == documented, shown(written));
    auto header = must(ObjectHeader::decode(documented, ObjectKind::manifest, kExample));
    CHECK(header.epoch == 3);
    CHECK(header.object_id.str() == "00010203-0405-0607-0809-0a0b0c0d0e0f");
  }

  TEST_CASE("formats: the pack in the document is read as the document says") {
    Bytes documented = example("pack");
    if (documented.empty()) {
      CountingRandom random;
      Compressor compressor;
      MemoryFileSystem files;
      files.add_directory("/spool");
      auto writer = must(PackWriter::create(files, "/spool", kExample, 512, random));
      Bytes raw(1024, 'A');
      std::fill(raw.begin() + 512, raw.end(), 'B');
      must(writer.add_list(compressor.compress(raw), raw.size(), sha256(raw), {2, 5}));
      auto pack = must(writer.finish());
      FAIL("the example is missing; it would be", shown(must(read_file(files, pack.path))));
    }
    MemoryObjectStore store;
    std::string key = keys::pack(prefix_of(kExample), sha256(documented));
    store.set(key, documented);
    auto pack = must(PackReader::open(store, key, kExample));
    REQUIRE(pack.index().blocks.size() == 1);
    CHECK(pack.index().page_size == 512);
    auto& block = pack.index().blocks[0];
    CHECK(block.kind == BlockKind::list);
    CHECK(block.numbers == std::vector<PageNo>{2, 5});
    CHECK(block.offset == 128);
    ByteView raw = must(pack.block(0));
    CHECK(as_text(raw) == std::string(512, 'A') + std::string(512, 'B'));
    must(verify_pack_object(store, key));
    // Where the table of the document says.
    CHECK(as_text(ByteView(documented).first(8)) == "TILLSYNC");
    ByteView trailer = ByteView(documented).last(128);
    CHECK(as_text(trailer.first(8)) == "TILLSEND");
    uint64_t index = le64(trailer.data() + 8);
    CHECK(le32(documented.data() + index) == 512);
    CHECK(le32(documented.data() + index + 4) == 1);
    CHECK(documented[index + 8] == 2);
    CHECK(le64(documented.data() + index + 8 + 41) == 128);
    CHECK(le32(documented.data() + index + 8 + 53) == 1024);
    CHECK(documented[index + 8 + 58] == 2);
    CHECK(documented[index + 8 + 59] == 3);
  }

  TEST_CASE("formats: a header of a later version, kind or algorithm is refused and said") {
    CountingRandom random;
    auto with = [&](size_t at, uint8_t value) {
      Bytes bytes = ObjectHeader::make(ObjectKind::manifest, kExample, random).encode();
      bytes[at] = value;
      std::copy_n(sha256(ByteView(bytes).first(120)).bytes.begin(), 8, bytes.begin() + 120);
      return refused(ObjectHeader::decode(bytes, ObjectKind::manifest, kExample)).context;
    };
    CHECK(contains(with(8, 2), "version 2"));
    CHECK(contains(with(10, 9), "unknown kind"));
    CHECK(contains(with(10, 1), "a log segment"));
    CHECK(contains(with(72, 1), "sealed"));
    CHECK(contains(with(74, 1), "signed"));
    CHECK(contains(with(77, 1), "must be zero"));
    CHECK(contains(with(95, 1), "must be zero"));
    CHECK(contains(with(119, 1), "must be zero"));
    CHECK(contains(with(64, 4), "epoch 4"));
  }

  TEST_CASE("object keys: every key is one a store takes, and is read back") {
    Uuid uuid = kExample.terminal;
    std::string prefix = keys::database_prefix(uuid, "../kasse 1/\xc3\xa9", 7);
    CHECK(prefix == "terminals/00112233-4455-6677-8899-aabbccddeeff/%2E.%2Fkasse%201%2F%C3%A9/7/");
    CHECK(keys::unescaped(keys::escaped("../kasse 1/\xc3\xa9")) == "../kasse 1/\xc3\xa9");
    Digest digest = sha256(as_bytes("x"));
    for (auto& key :
         {keys::manifest(prefix, uuid), keys::verified(prefix, uuid), keys::pack(prefix, digest),
          keys::segment(prefix, 1, 255), keys::terminal_json(uuid), keys::epoch(uuid, 2), keys::inbox(uuid, 1),
          keys::outbox(uuid, 1), keys::status(uuid), keys::terminal_name("store-042/till-3"), keys::policy("all")})
      must(check_key(key));
    CHECK(keys::snapshot_of_manifest(keys::manifest(prefix, uuid)) == uuid);
    CHECK(keys::snapshot_of_verified(keys::verified(prefix, uuid)) == uuid);
    CHECK(keys::sha256_of_pack(keys::pack(prefix, digest)) == digest);
    CHECK(keys::segment(prefix, 1, 255).ends_with("log/0000000000000001-00000000000000ff.seg"));
    CHECK(keys::range_of_segment(keys::segment(prefix, 1, 255)) == std::pair<Sequence, Sequence>(1, 255));
    CHECK_FALSE(keys::snapshot_of_manifest(keys::verified(prefix, uuid)).has_value());
    CHECK_FALSE(keys::snapshot_of_manifest("x.manifest").has_value());
    CHECK_FALSE(keys::sha256_of_pack("a/packs/zz.pack").has_value());
    CHECK_FALSE(keys::range_of_segment("a/log/0000000000000002-0000000000000001.seg").has_value());
  }

  TEST_CASE("zstd: what was compressed comes back, and lengths are not believed") {
    Compressor compressor;
    Bytes raw(100'000, 'x'), out;
    SeededRandom(2).fill(MutableBytes(raw).first(1000));
    Bytes stored = to_bytes(compressor.compress(raw));
    must(decompress(stored, raw.size(), out));
    CHECK(out == raw);
    CHECK(kind_of(decompress(stored, raw.size() - 1, out)) == ErrorKind::corrupt);
    CHECK(kind_of(decompress(ByteView(stored).first(stored.size() - 1), raw.size(), out)) == ErrorKind::corrupt);
    stored.push_back(0);
    CHECK(kind_of(decompress(stored, raw.size(), out)) == ErrorKind::corrupt);
    CHECK(kind_of(decompress({}, 0, out)) == ErrorKind::corrupt);
    Bytes empty = to_bytes(compressor.compress({}));
    must(decompress(empty, 0, out));
    CHECK(out.empty());
  }
}
