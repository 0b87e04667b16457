// A log whose oldest segments were pruned: whole to a reader, still with no hole, and cut off only where it may be.
#include <fstream>

#include "actionlog/log_verifier.h"
#include "restore/prune_fixture.h"
#include "support/documented_examples.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;

// Twenty hours, a sale each and a snapshot after every fourth; all but the last two and the log of four hours go.
struct Pruned : PrunedTill {
  std::vector<TransactionNo> sales;
  std::vector<Manifest> made;

  explicit Pruned(bool prune_now = true) : PrunedTill(RetentionPolicy{2, 0, 0, 0, 0, hours(4)}) {
    made.push_back(*last);
    for (int hour = 1; hour <= 20; hour++) {
      clock.advance(hours(1));
      sell_one();
      sales.push_back(capturer->status().transaction);
      if (hour % 4 == 0) made.push_back(take(hour % 8 == 0 ? SnapshotType::full : SnapshotType::incremental));
    }
    if (prune_now) must(try_prune());
  }
  Error refused_at(const RestoreMoment& moment) { return refused(try_restore(moment)); }
};

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("formats: the anchor in the document is written and read as the document says") {
  const Lineage lineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};
  LogAnchor anchor;
  anchor.first_sequence = 3;
  anchor.last_transaction = 2;
  anchor.last_captured_at = from_ms(1767225600000);
  anchor.pruned_at = must(parse_rfc3339("2026-04-01T00:00:00Z"));
  anchor.previous.bytes.fill(0xbb);
  anchor.schema_sequence = 1;
  anchor.schema = {1, 0};
  CountingRandom random;
  const Bytes written = anchor.encode(lineage, random), stated = example("anchor");
  std::string shown = "\n";
  for (size_t i = 0; i < written.size(); i += 32)
    shown += to_hex(ByteView(written).subspan(i, std::min<size_t>(32, written.size() - i))) + "\n";
  CHECK_MESSAGE(written == stated, shown);
  const std::string key = keys::anchor(keys::database_prefix(lineage.terminal, lineage.database, lineage.epoch), 3);
  const LogAnchor read = must(LogAnchor::decode(stated, key, lineage));
  CHECK(read.encode(lineage, random) == written);
  must(Schema::decode(read.schema));
  // A copy under another name, and every flipped byte before the unused signature.
  CHECK(kind_of(LogAnchor::decode(stated, key.substr(0, key.size() - 8) + "4.anchor", lineage)) == ErrorKind::corrupt);
  for (size_t i = 0; i + 64 < stated.size(); i++) {
    Bytes bent = stated;
    bent[i] ^= 4;
    if (LogAnchor::decode(bent, key, lineage)) FAIL_CHECK("byte " << i);
  }
}

TEST_CASE("pruned log: it verifies from its anchor on, and every moment from there is restored") {
  Pruned till;
  // The window begins at hour 16, where a snapshot is: the log goes on after it.
  REQUIRE(till.keys_with(".anchor").size() == 1);
  CHECK(till.keys_with(".seg").size() == 4);
  CHECK(till.keys_with(".manifest").size() == 2);
  LogVerdict verdict = till.log_verdict();
  CHECK(verdict.ok());
  REQUIRE(verdict.segments.size() == 4);
  for (auto& segment : verdict.segments) CHECK(segment.proven);
  for (size_t hour = 16; hour <= 20; hour++) till.check_moment(till.sales[hour - 1]);
  CHECK(must(till.try_restore({})).transaction == till.sales[19]);
  // The schema of the rows was carried by a segment that is gone: the anchor has it.
  LogReader reader(till.store, till.lineage);
  auto all = must(reader.list());
  CHECK(must(reader.schema_of(must(reader.read(all[0])), all))->find("stock") != nullptr);
  // The till goes on.
  till.clock.advance(hours(1));
  till.sell_one();
  till.check_log();
  till.check_moment(till.capturer->status().transaction);
}

TEST_CASE("pruned log: a hole in the middle, a missing first segment, an anchor of another log are found") {
  Pruned till;
  const auto all = must(LogReader(till.store, till.lineage).list());
  const std::string anchor = till.keys_with(".anchor")[0];
  const auto whole = till.contents();
  SUBCASE("a hole") {
    till.store.erase(all[1].key);
    CHECK_FALSE(till.log_verdict().ok());
    const Error error = till.refused_at(PrunedTill::at_transaction(till.sales[18]));
    CHECK(error.kind == ErrorKind::corrupt);
    CHECK(contains(error.context, all[2].key));
  }
  SUBCASE("the first one") {
    till.store.erase(all[0].key);
    LogVerdict verdict = till.log_verdict();
    REQUIRE(verdict.segments[0].error);
    CHECK(contains(verdict.segments[0].error->context, "before it"));
    // A prune leaves such a log as it is, and says so.
    const auto before = till.store.keys();
    CHECK(till.plan().problems.size() == 1);
    must(till.try_prune());
    CHECK(till.store.keys() == before);
  }
  SUBCASE("no anchor") {
    till.store.erase(anchor);
    CHECK_FALSE(till.log_verdict().ok());
  }
  SUBCASE("an anchor that does not fit") {
    LogAnchor other = must(LogAnchor::decode(*till.store.content(anchor), anchor, till.lineage));
    other.previous.bytes[5] ^= 1;
    till.store.set(anchor, other.encode(till.lineage, till.random));
    LogVerdict verdict = till.log_verdict();
    REQUIRE(verdict.segments[0].error);
    CHECK(contains(verdict.segments[0].error->context, "pruned"));
  }
  SUBCASE("a damaged anchor") {
    till.store.flip(anchor, 200);
    CHECK(till.refused_at({}).kind == ErrorKind::corrupt);
    CHECK(contains(till.refused_at({}).context, anchor));
  }
  till.set_contents(whole);
  CHECK(till.log_verdict().ok());
}

TEST_CASE("pruned log: a moment whose log is gone is refused with the nearest ones, unless a snapshot is that moment") {
  Pruned till(false);
  // An old snapshot by itself, as the monthly window keeps them.
  till.request.pinned_snapshots = {till.made[2].uuid};  // hour 8, a FULL
  must(till.try_prune());
  REQUIRE(till.keys_with(".manifest").size() == 3);
  till.check_snapshot(till.made[2].uuid);
  till.check_moment(till.sales[7]);
  RestoreMoment moment;
  moment.sequence = till.made[2].sequence;
  CHECK(must(till.try_restore(moment)).sequence == till.made[2].sequence);
  moment = {};
  moment.at = till.made[2].captured_at;
  CHECK(must(till.try_restore(moment)).transaction == till.sales[7]);
  for (int how = 0; how < 3; how++) {
    moment = {};
    if (how == 0) moment.at = till.made[2].captured_at + hours(2);
    if (how == 1) moment.sequence = till.made[2].sequence + 2;
    if (how == 2) moment.transaction = till.sales[9];
    const Error error = till.refused_at(moment);
    INFO(error.context);
    CHECK(error.kind == ErrorKind::not_found);
    CHECK(contains(error.context, till.made[2].uuid.str()));
    CHECK(contains(error.context, till.made[4].uuid.str()));
  }
  // What lies between two snapshots can't be replayed any more, and that is no damage.
  SnapshotVerifier verifier(till.store, till.lineage, till.files, till.vfs.name(), till.folder.path() + "/verify.db");
  for (auto& uuid : must(list_snapshots(till.store, till.lineage)))
    CHECK_FALSE(must(verifier.prove(uuid, nullptr)).error);
}

TEST_CASE("pruned log: within the window, the snapshots after a change of schema and a renumbering stay") {
  PrunedTill till(RetentionPolicy{1, 0, 0, 0, 0, hours(100)});
  till.run("CREATE TABLE keyless(v)");
  till.run(numbers(9) + "INSERT INTO keyless SELECT n FROM g");
  till.run("DELETE FROM keyless WHERE v=4");
  till.remember();
  till.seal();
  std::vector<TransactionNo> moments;
  std::vector<Uuid> after_change;
  auto work = [&] {
    for (int i = 0; i < 3; i++) {
      till.clock.advance(hours(1));
      till.sell_one();
      moments.push_back(till.capturer->status().transaction);
    }
  };
  till.take(SnapshotType::full);
  work();
  till.run("ALTER TABLE stock ADD COLUMN more DEFAULT 7");
  till.remember();
  till.seal();
  after_change.push_back(till.take(SnapshotType::incremental).uuid);
  work();
  till.take(SnapshotType::incremental);
  work();
  till.run("VACUUM");
  till.remember();
  till.seal();
  after_change.push_back(till.take(SnapshotType::full).uuid);
  work();
  till.take(SnapshotType::full);
  work();
  const Uuid newest = till.take(SnapshotType::full).uuid;
  // A renumbering is found by the heads alone.
  LogReader reader(till.store, till.lineage);
  size_t carriers = 0, renumberings = 0;
  for (auto& object : must(reader.list())) {
    Segment segment = must(reader.read(object));
    carriers += !segment.schema.empty();
    renumberings += segment.transactions[0].flags & kRenumber ? 1 : 0;
  }
  REQUIRE(renumberings == 1);
  CHECK(carriers >= 3);
  must(till.try_prune());
  for (auto& uuid : after_change) till.check_snapshot(uuid);
  till.check_snapshot(newest);
  for (auto moment : moments) till.check_moment(moment);
  // Some went: those that nothing needs.
  CHECK(till.keys_with(".manifest").size() < till.taken.size());
  // When the window has passed them by, they go as well.
  till.request.policy.log = hours(1);
  must(till.try_prune());
  CHECK(till.keys_with(".manifest").size() == 2);
  till.check_log();
  till.check_moment(moments.back());
}

TEST_CASE("pruned log: cut off at any call, all that is kept can be restored, and the next prune ends the same") {
  Pruned till(false);
  const auto before = till.contents();
  const uint64_t start = till.store.calls();
  must(till.try_prune());
  const uint64_t calls = till.store.calls() - start;
  const auto expected = till.store.keys();
  REQUIRE(calls > 40);
  for (bool after_effect : {false, true}) {
    for (uint64_t n = 1; n <= calls; n++) {
      INFO("call " << n << ", only the answer lost: " << after_effect);
      till.set_contents(before);
      till.store.fail_at(n, ErrorKind::transient, after_effect);
      (void)till.try_prune().has_value();
      till.check_log();
      if (n % 3 == 0) {
        till.check_moment(till.sales[16]);
        till.check_moment(till.sales[19]);
      }
      till.clock.advance(hours(25));
      must(till.try_prune());
      REQUIRE(till.store.keys() == expected);
    }
  }
}

TEST_CASE(
    "pruned log: of an older epoch the log goes when its window has passed, and its anchor with its last snapshot") {
  Pruned till;
  const Lineage first = till.lineage;
  // The next epoch: FULLs of the same till, long after, with a log that has not begun.
  till.lineage.epoch = 2;
  till.stored->clear();
  till.clock.advance(hours(100));
  till.sell("UPDATE stock SET left=5 WHERE id=3");
  till.take(SnapshotType::full);
  must(till.try_prune());
  auto of_first = [&](std::string_view suffix) {
    size_t count = 0;
    for (auto& key : till.keys_with(suffix)) count += key.starts_with(prefix_of(first));
    return count;
  };
  CHECK(of_first(".manifest") == 2);  // the last one and the FULL it goes on from
  CHECK(of_first(".seg") == 0);
  CHECK(of_first(".anchor") == 1);
  till.lineage = first;
  till.check_snapshot(till.made.back().uuid);
  till.lineage.epoch = 2;
  till.clock.advance(hours(1));
  till.take(SnapshotType::full);
  must(till.try_prune());
  CHECK(of_first("") == 0);
  const auto left = till.store.keys();
  must(till.try_prune());
  CHECK(till.store.keys() == left);
}

TEST_SUITE_END();
