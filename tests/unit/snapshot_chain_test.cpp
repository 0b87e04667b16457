#include <doctest/doctest.h>

#include "snapshot/pack_reader.h"
#include "snapshot/verified.h"
#include "support/snapshot_world.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE("snapshot") {
  TEST_CASE("snapshot: FULL, INCREMENTAL, INCREMENTAL, DIFFERENTIAL come back page for page, at every page size") {
    for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
      CAPTURE(page_size);
      SnapshotWorld w(page_size);
      std::map<Uuid, Bytes> truth;
      auto keep = [&](const Manifest& m) { truth[m.uuid] = w.image.whole(); };
      w.image.resize(150, w.generation, w.random);
      Manifest full = w.take(SnapshotType::full);
      keep(full);
      for (size_t page : {0, 1, 2, 63, 64, 149}) w.image.change(page, w.generation, w.random);
      Manifest first = w.take(SnapshotType::incremental, &full);
      keep(first);
      w.image.resize(233, w.generation, w.random);
      w.image.change(5, w.generation, w.random);
      Manifest second = w.take(SnapshotType::incremental, &first);
      keep(second);
      w.image.change(7, w.generation, w.random);
      Manifest differential = w.take(SnapshotType::differential, &full);
      keep(differential);
      w.image.change(8, w.generation, w.random);
      Manifest after = w.take(SnapshotType::incremental, &differential);
      keep(after);
      for (auto& [uuid, bytes] : truth) CHECK((must(w.restore(uuid)) == bytes));
      CHECK(first.size == 6 * page_size);
      CHECK(second.parent == first.uuid);
      CHECK(second.base == full.uuid);
      CHECK(differential.size == uint64_t{6 + 83 + 2} * page_size);
      auto chain = must(resolve_chain(w.store, w.lineage, after.uuid));
      CHECK(chain.links.size() == 3);
      CHECK(chain.stored_bytes() > 0);
    }
  }

  TEST_CASE("snapshot: a database that shrinks and grows again comes back, its old end forgotten") {
    SnapshotWorld w;
    w.image.resize(200, w.generation, w.random);
    Manifest full = w.take(SnapshotType::full);
    w.image.resize(70, w.generation, w.random);
    Manifest small = w.take(SnapshotType::incremental, &full);
    Bytes small_truth = w.image.whole();
    CHECK(small.packs.empty());
    w.image.resize(130, w.generation, w.random);
    Manifest large = w.take(SnapshotType::incremental, &small);
    Manifest differential = w.take(SnapshotType::differential, &full);
    CHECK((must(w.restore(small.uuid)) == small_truth));
    CHECK((must(w.restore(large.uuid)) == w.image.whole()));
    CHECK((must(w.restore(differential.uuid)) == w.image.whole()));
  }

  TEST_CASE("snapshot: a FULL refers to what is stored already and stores nothing of it again") {
    SnapshotWorld w;
    w.image.resize(640, w.generation, w.random);
    Manifest first = w.take(SnapshotType::full);
    Manifest same = w.take(SnapshotType::full);
    CHECK(w.last_packs.empty());
    CHECK(same.stored_bytes == 0);
    CHECK(same.packs == first.packs);
    w.image.change(200, w.generation, w.random);
    Manifest changed = w.take(SnapshotType::full);
    REQUIRE(w.last_packs.size() == 1);
    CHECK(w.last_packs[0].runs.size() == 1);
    CHECK(changed.packs.size() == 2);
    CHECK((must(w.restore(changed.uuid)) == w.image.whole()));
    w.deduplicate = false;
    Manifest again = w.take(SnapshotType::full);
    CHECK(again.stored_bytes > changed.stored_bytes * 5);
    CHECK((must(w.restore(again.uuid)) == w.image.whole()));
  }

  TEST_CASE("snapshot: runs of equal content are stored once") {
    SnapshotWorld w;
    w.image.resize(64 * 5 + 3, w.generation, w.random);
    for (auto& page : w.image.pages) page.assign(512, 0);
    Manifest full = w.take(SnapshotType::full);
    REQUIRE(w.last_packs.size() == 1);
    CHECK(w.last_packs[0].runs.size() == 2);
    CHECK((must(w.restore(full.uuid)) == w.image.whole()));
  }

  TEST_CASE("snapshot: packs are split at their target size and none is left half written in the spool") {
    SnapshotWorld w(4096);
    w.pack_size_target = 100'000;
    w.image.resize(700, w.generation, w.random);
    Manifest full = w.take(SnapshotType::full);
    CHECK(full.packs.size() > 3);
    for (auto& pack : full.packs) CHECK(pack.size < 100'000 + 64 * 4096 + 2000);
    for (size_t i = 0; i < 700; i += 2) w.image.change(i, w.generation, w.random);
    Manifest next = w.take(SnapshotType::incremental, &full);
    CHECK(next.packs.size() > 1);
    CHECK((must(w.restore(next.uuid)) == w.image.whole()));
    for (auto& entry : must(w.files.list("/spool"))) CHECK_FALSE(entry.name.ends_with(".tmp"));
  }

  TEST_CASE("snapshot: the packs are durable in the spool when the builder returns") {
    SnapshotWorld w;
    w.image.resize(100, w.generation, w.random);
    auto built = must(w.build(SnapshotType::full));
    w.files.crash();
    w.upload(built);
    CHECK((must(w.restore(built.manifest.uuid)) == w.image.whole()));
  }

  TEST_CASE("snapshot: a change of page size asks for a FULL") {
    SnapshotWorld small(512), large(1024);
    small.image.resize(10, 1, small.random);
    Manifest full = small.take(SnapshotType::full);
    large.generation = 2;
    large.image.resize(10, 2, large.random);
    auto error = refused(large.build(SnapshotType::incremental, &full));
    CHECK(error.kind == ErrorKind::conflict);
    CHECK(contains(error.context, "FULL"));
  }

  TEST_CASE("snapshot: building and materializing end when they are told to") {
    SnapshotWorld w;
    w.image.resize(200, w.generation, w.random);
    Manifest full = w.take(SnapshotType::full);
    auto chain = must(resolve_chain(w.store, w.lineage, full.uuid));
    auto out = must(w.files.open("/spool/out", OpenMode::create));
    uint64_t last = 0;
    must(materialize(w.store, chain, *out, [&](uint64_t done, uint64_t total) {
      CHECK(done > last);
      CHECK(total == 200 * 512);
      last = done;
      return true;
    }));
    CHECK(last == 200 * 512);
    CHECK(kind_of(materialize(w.store, chain, *out, [](uint64_t, uint64_t) { return false; })) == ErrorKind::cancelled);
    SnapshotPlan plan;
    plan.metadata = full;
    plan.progress = [](uint64_t, uint64_t) { return false; };
    CHECK(kind_of(build_snapshot(plan, w.image, w.files, "/spool", w.random)) == ErrorKind::cancelled);
  }

  TEST_CASE("snapshot: a manifest carries every field and shows them as `snapshots --json` does") {
    SnapshotWorld w;
    w.image.resize(3, w.generation, w.random);
    Manifest made = w.take(SnapshotType::full);
    Manifest read = must(read_manifest(w.store, w.lineage, made.uuid));
    CHECK(read.checksum == made.checksum);
    CHECK(read.name == "nightly");
    CHECK(read.lineage == w.lineage);
    CHECK(read.sequence == 10);
    CHECK(read.transaction == 5);
    CHECK(read.generation == 1);
    CHECK(read.tables == made.tables);
    CHECK(read.schema == made.schema);
    CHECK(read.packs == made.packs);
    CHECK(read.map == made.map);
    CHECK(read.configuration["printer"] == "front");
    CHECK(read.created_at == made.created_at);
    auto json = to_json(read, true);
    for (auto* field : {"uuid",
                        "type",
                        "name",
                        "created_at",
                        "sequence",
                        "parent_uuid",
                        "base_uuid",
                        "description",
                        "checksum",
                        "schema_version",
                        "app_version",
                        "size",
                        "stored_bytes",
                        "compression_ratio",
                        "table_counts",
                        "action_log_count",
                        "entity_uuid_count",
                        "is_complete",
                        "is_verified",
                        "updated_at"})
      CHECK_MESSAGE(json.contains(field), field);
    CHECK(json["table_counts"]["sale"] == 17);
    CHECK(json["type"] == "FULL");
    CHECK(json["is_verified"] == true);
  }

  TEST_CASE("snapshot: the list is oldest first, and a damaged manifest does not hide the others") {
    SnapshotWorld w;
    w.image.resize(3, w.generation, w.random);
    Manifest a = w.take(SnapshotType::full), b = w.take(SnapshotType::full), c = w.take(SnapshotType::full);
    w.store.flip(keys::manifest(prefix_of(w.lineage), b.uuid), 200);
    std::vector<Error> bad;
    auto all = must(list_manifests(w.store, w.lineage, &bad));
    REQUIRE(all.size() == 2);
    CHECK(all[0].uuid == a.uuid);
    CHECK(all[1].uuid == c.uuid);
    REQUIRE(bad.size() == 1);
    CHECK(contains(bad[0].context, b.uuid.str()));
    CHECK(must(list_snapshots(w.store, w.lineage)).size() == 3);
    w.store.set_offline(true);
    CHECK(kind_of(list_manifests(w.store, w.lineage)) == ErrorKind::offline);
  }

  TEST_CASE("verified mark: holds for its manifest and for no other") {
    SnapshotWorld w;
    w.image.resize(3, w.generation, w.random);
    Manifest a = w.take(SnapshotType::full);
    CHECK_FALSE(must(read_verified(w.store, a)).has_value());
    VerifiedMark mark{a.uuid, a.checksum, from_ms(1767225600000), "read-back", 77};
    must(put_verified(w.store, a, mark, w.random));
    must(put_verified(w.store, a, mark, w.random));
    auto read = must(read_verified(w.store, a)).value();
    CHECK(read.bytes_read == 77);
    CHECK(read.method == "read-back");
    Manifest other = a;
    other.checksum = sha256(as_bytes("x"));
    CHECK_FALSE(must(read_verified(w.store, other)).has_value());
    std::string key = keys::verified(prefix_of(w.lineage), a.uuid);
    w.store.flip(key, 150);
    auto error = refused(read_verified(w.store, a));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, key));
  }
}
