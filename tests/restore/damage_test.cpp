// Whatever is wrong in the store is refused by name, never restored.
#include "actionlog/log_verifier.h"
#include "restore/restore_fixture.h"
#include "restore/verification.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
struct Shop : RestoreWorld {
  Shop() {
    run("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, zeroblob(5000))");
    remember();
    snapshot();
    for (int i = 0; i < 4; i++) {
      sell("INSERT INTO t(v) VALUES('r" + std::to_string(i) + "')");
      seal();
    }
  }
  void check_refused(const std::string& key, ErrorKind kind = ErrorKind::corrupt) {
    Error error = refused(try_restore({}));
    CHECK(error.kind == kind);
    CHECK_MESSAGE(contains(error.context, key), error.context);
  }
  LogVerdict verdict() { return must(verify_log(store, lineage, {{0, full->tables}}, 1)); }
};
}  // namespace

TEST_CASE("damage: every flipped byte of a segment is found, with the segment's key") {
  Shop shop;
  const std::string key = shop.segments[1];
  LogReader reader(shop.store, shop.lineage);
  auto all = must(reader.list());
  const size_t size = shop.store.content(key)->size();
  // The last 64 bytes are the signature, which is zero and not checked while nothing is signed.
  for (size_t i = 0; i + 64 < size; i++) {
    shop.store.flip(key, i, static_cast<uint8_t>(1u << (i % 8)));
    LogReader fresh(shop.store, shop.lineage);
    Error error = refused(fresh.read(all[1]));
    if (error.kind != ErrorKind::corrupt || !contains(error.context, key))
      FAIL_CHECK("byte " << i << ": " << error.context);
    shop.store.flip(key, i, static_cast<uint8_t>(1u << (i % 8)));
  }
  must(reader.read(all[1]));
}

TEST_CASE("damage: a segment that is missing, cut off, or in another's place") {
  Shop shop;
  CHECK(shop.verdict().ok());
  Bytes second = *shop.store.content(shop.segments[1]), third = *shop.store.content(shop.segments[2]);
  shop.store.erase(shop.segments[1]);
  shop.check_refused(shop.segments[2]);
  CHECK(!shop.verdict().ok());
  shop.store.set(shop.segments[1], third);
  shop.store.set(shop.segments[2], second);
  shop.check_refused(".seg: it holds sequences");
  auto swapped = shop.verdict();
  CHECK(swapped.segments[0].error == std::nullopt);
  CHECK(swapped.segments[1].error);
  CHECK(swapped.segments[2].error);
  shop.store.set(shop.segments[1], second);
  shop.store.set(shop.segments[2], third);
  shop.store.truncate(shop.segments[3], 200);
  shop.check_refused(shop.segments[3]);
  shop.store.erase(shop.segments[0]);
  CHECK(shop.verdict().segments[0].error);
}

TEST_CASE("damage: a segment that was sealed anew with another content breaks the chain") {
  Shop shop;
  const Bytes original = *shop.store.content(shop.segments[1]);
  Segment segment = must(decode_segment(original, shop.lineage));
  segment.transactions[0].captured_at += Milliseconds(1);
  segment.head.first_captured_at = segment.transactions.front().captured_at;
  segment.head.last_captured_at = segment.transactions.back().captured_at;
  shop.store.set(shop.segments[1], encode_segment(segment, shop.lineage, shop.random));
  shop.check_refused(shop.segments[2]);
  CHECK(shop.verdict().segments[2].error);
  shop.store.set(shop.segments[1], original);
  CHECK(shop.verdict().ok());
  // Rows that do not lead to the stated digests are found in the last segment too, where no chain tells.
  Segment last = must(decode_segment(*shop.store.content(shop.segments[3]), shop.lineage));
  last.actions[0].after.back() ^= 1;
  shop.store.set(shop.segments[3], encode_segment(last, shop.lineage, shop.random));
  CHECK(shop.verdict().segments[3].error);
}

TEST_CASE("damage: manifest and packs") {
  Shop shop;
  const std::string manifest = keys::manifest(prefix_of(shop.lineage), shop.full->uuid), pack = shop.full->packs[0].key;
  SnapshotVerifier verifier(shop.store, shop.lineage, shop.files, shop.vfs.name(), shop.folder.path() + "/verify.db");
  auto found_by = [&](bool data) {
    SnapshotVerifier fresh(shop.store, shop.lineage, shop.files, shop.vfs.name(), shop.folder.path() + "/verify.db");
    auto verdict = must(data ? fresh.prove(shop.full->uuid, nullptr) : fresh.check(shop.full->uuid));
    return verdict.error ? verdict.error->context : std::string();
  };
  CHECK(found_by(false) == "");
  CHECK(found_by(true) == "");
  Bytes whole = *shop.store.content(manifest);
  shop.store.truncate(manifest, whole.size() - 10);
  shop.check_refused(manifest);
  CHECK(contains(found_by(false), manifest));
  shop.store.set(manifest, whole);

  Bytes pages = *shop.store.content(pack);
  shop.store.flip(pack, 140);
  shop.check_refused(pack);
  CHECK(found_by(false) == "");  // the block itself is only looked at with --data
  CHECK(contains(found_by(true), pack));
  shop.store.erase(pack);
  shop.check_refused(pack, ErrorKind::not_found);
  CHECK(contains(found_by(false), pack));
  shop.store.set(pack, pages);
  must(shop.try_restore({}));
  // A store that does not answer is no verdict.
  shop.store.set_offline(true);
  CHECK(kind_of(verifier.check(shop.full->uuid)) == ErrorKind::offline);
}

TEST_SUITE_END();
