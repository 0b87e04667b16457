// A log whose segments were merged: the same to every reader, whether the parts are still there or not.
#include "actionlog/segment_rows.h"
#include "restore/merge_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;
using std::chrono::minutes;

// A till with 12 sales in segments of their own and one merged segment.
struct OneMerged : MergedTill {
  std::string key;
  OneMerged() {
    sell_some(12);
    cover();
    REQUIRE(merge() == 1);
    key = keys_with(".merged").at(0);
  }
  Error verify_error() {
    const auto verdict = log_verdict();
    for (auto& segment : verdict.segments)
      if (segment.error) return *segment.error;
    FAIL("the log is whole");
    return {};
  }
};

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("merged log: it verifies, and every moment is restored, with its parts beside it and without") {
  MergedTill till;
  till.sell_some(10);
  till.cover();
  till.sell("ALTER TABLE stock ADD COLUMN price INTEGER DEFAULT 3");
  till.seal();
  till.take(SnapshotType::full);
  till.sell_some(10);
  till.cover();
  till.sell_some(3);  // after the snapshot: not merged
  const size_t sealed = till.segments.size();
  CHECK(till.merge() == 2);
  const auto listed = must(list_log(till.store, till.lineage));
  // The carrier of each schema, a merged one after each, and what came after the snapshot.
  CHECK(listed.segments.size() == 2 + 2 + 3);
  CHECK(listed.parts.size() == sealed - 2 - 3);
  till.check_log();
  till.check_all_moments();
  till.drop_parts();
  till.check_log();
  till.check_all_moments();
  LogVerdict verdict = till.log_verdict();
  CHECK(verdict.segments.size() == 7);
  for (auto& segment : verdict.segments)
    if (segment.key.ends_with(".merged")) CHECK(segment.proven);
  // The chain goes on from the parts that are gone.
  till.sell_some(4);
  till.cover();
  CHECK(till.merge() == 1);
  till.drop_parts();
  till.sell_some(1);
  till.check_log();
  till.check_all_moments();
}

TEST_CASE("merged log: it holds the same transactions, rows, sessions and coincidences as its parts") {
  MergedTill till;
  till.sell_some(3);
  // As capture of two databases would have found it; the sealer would have written it down.
  must(till.state->lease()->execute("UPDATE segments SET durable_at=1"));
  LogReader before(till.store, till.lineage);
  std::vector<Segment> parts;
  for (auto& object : must(before.list())) parts.push_back(must(before.read(object)));
  till.cover();
  REQUIRE(till.merge() == 1);
  const SegmentObject object = must(list_log(till.store, till.lineage)).segments.at(1);
  LogReader reader(till.store, till.lineage);
  const Segment merged = must(reader.read(object));
  CHECK(merged.parts.size() == 3);
  CHECK(merged.head.previous == parts[1].head.previous);
  CHECK(merged.head.state == parts[3].head.state);
  Segment joined = merged;
  joined.transactions.clear();
  joined.actions.clear();
  for (size_t i = 1; i < parts.size(); i++) {
    const auto first = static_cast<uint32_t>(joined.transactions.size());
    for (auto& t : parts[i].transactions) joined.transactions.push_back(t);
    for (auto a : parts[i].actions) {
      a.transaction_index += first;
      joined.actions.push_back(a);
    }
  }
  CHECK(content_digest(joined) == content_digest(merged));
}

TEST_CASE("merged log: what coincides with a transaction is as it was sealed") {
  MergedTill till;
  till.sell_some(1);
  auto db = till.state->lease();
  must(db->execute("INSERT INTO databases(id, name, path, created_at) VALUES(2, 'orders', 'p', 0)"));
  must(
      db->execute("INSERT INTO capture_sessions(database_id, uuid, started_at) SELECT 2, "
                  "'00000000-0000-4000-8000-000000000000', 0"));
  // The sale's last frame was written and seen with one of the other database.
  till.run("UPDATE stock SET left=left-1 WHERE id=3");
  { auto returned = std::move(db); }
  till.remember();
  auto again = till.state->lease();
  const int64_t last = must(again->query_integer("SELECT max(id) FROM transactions WHERE id>>48=1"));
  must(again->execute("UPDATE transactions SET written_at=1000, seen_at=1010 WHERE id=" + std::to_string(last)));
  must(
      again->execute("INSERT INTO transactions(id, first_sequence, last_sequence, captured_at, session_id, flags, "
                     "schema_id, written_at, seen_at) VALUES((2<<48)+7, 1, 1, 0, (SELECT max(id) FROM "
                     "capture_sessions), 0, 1, 1001, 1011)"));
  { auto returned = std::move(again); }
  till.seal();
  // What is captured of the other one afterwards changes nothing.
  must(till.state->lease()->execute("DELETE FROM transactions WHERE id>>48=2"));
  till.cover();
  REQUIRE(till.merge() == 1);
  CHECK(till.left_out.empty());
  LogReader reader(till.store, till.lineage);
  const Segment merged = must(reader.read(must(reader.list()).at(1)));
  REQUIRE(merged.transactions.back().coincident.size() == 1);
  CHECK(merged.transactions.back().coincident[0] == Coincident{"orders", 7});
}

TEST_CASE("merged log: rows of statistics tables come with their transaction") {
  MergedTill till;
  till.sell("ANALYZE");
  till.seal();
  till.take(SnapshotType::full);
  till.sell_some(1);
  till.run("UPDATE stock SET left=left-1 WHERE id=1; ANALYZE");
  till.remember();
  till.seal();
  till.sell_some(2);
  till.cover();
  CHECK(till.merge() >= 1);
  till.drop_parts();
  size_t hidden = 0;
  LogReader reader(till.store, till.lineage);
  for (auto& object : must(reader.list())) hidden += must(reader.read(object)).hidden.size();
  CHECK(hidden > 0);
  till.check_log();
  till.check_moment(till.copies.rbegin()->first);
}

TEST_CASE("merged log: a part whose rows are no longer what was sealed stays as it is") {
  MergedTill till;
  till.sell_some(9);
  till.cover();
  // A disk that gives back another byte.
  const std::string fifth =
      must(till.state->lease()->query_text("SELECT object_key FROM segments ORDER BY id LIMIT 1 OFFSET 5"));
  must(till.state->lease()->execute(
      "UPDATE action_log SET data=CAST(replace(data, X'07', X'08') || X'00' AS BLOB) WHERE id=(SELECT id FROM "
      "segments ORDER BY id LIMIT 1 OFFSET 5)"));
  CHECK(till.merge() == 2);
  REQUIRE(till.left_out.size() == 1);
  CHECK(contains(till.left_out[0], "as they were sealed"));
  till.drop_parts();
  CHECK(till.store.content(fifth));
  till.check_log();
  till.check_all_moments();
  // And is not looked at again.
  CHECK(till.merge() == 0);
  CHECK(till.left_out.size() == 1);
}

TEST_CASE("merged log: a part whose transactions are gone while its hidden rows are there stays as it is") {
  MergedTill till;
  till.sell_some(4);
  till.cover();
  must(till.state->lease()->execute(
      "INSERT INTO hidden_rows(database_id, transaction_no, table_name, action, row_id) SELECT 1, first_transaction, "
      "'sqlite_stat1', 1, 1 FROM segments ORDER BY id LIMIT 1 OFFSET 2;"
      "DELETE FROM transactions WHERE id=(1<<48)+(SELECT first_transaction FROM segments ORDER BY id LIMIT 1 OFFSET "
      "2)"));
  till.merge();
  REQUIRE(till.left_out.size() == 1);
  CHECK(contains(till.left_out[0], "as they were sealed"));
  till.drop_parts();
  till.check_log();
}

TEST_CASE("merged log: only what the store has and lies before a snapshot of this epoch") {
  MergedTill till;
  till.sell_some(5);
  CHECK_FALSE(till.build());
  till.cover();
  must(till.state->lease()->execute("UPDATE segments SET durable_at=NULL WHERE id>(SELECT min(id) FROM segments)+2"));
  must(till.state->lease()->execute("UPDATE snapshots SET epoch=2"));
  CHECK_FALSE(till.build());
  must(till.state->lease()->execute("UPDATE snapshots SET epoch=1, damage='page 3'"));
  CHECK_FALSE(till.build());
  must(till.state->lease()->execute("UPDATE snapshots SET damage=NULL, is_complete=0"));
  CHECK_FALSE(till.build());
  must(till.state->lease()->execute("UPDATE snapshots SET is_complete=1"));
  const auto merged = till.build();
  REQUIRE(merged);
  CHECK(merged->parts == 2);
  // One at a time.
  must(till.state->lease()->execute("UPDATE segments SET durable_at=1"));
  CHECK_FALSE(till.build());
  CHECK(must(LogMerger::forget(*till.state->lease(), merged->key)));
  CHECK_FALSE(must(LogMerger::forget(*till.state->lease(), merged->key)));
  CHECK(till.build()->parts == 5);
}

TEST_CASE("merged log: no merged segment is larger than one that is sealed") {
  MergedTill till;
  for (int i = 0; i < 40; i++) {
    till.sell("UPDATE stock SET note=randomblob(60000) WHERE id=" + std::to_string(1 + i % 40));
    till.seal();
  }
  till.cover();
  CHECK(till.merge() >= 3);
  till.drop_parts();
  LogReader reader(till.store, till.lineage);
  for (auto& object : must(reader.list())) {
    const Segment segment = must(reader.read(object));
    size_t bytes = 0;
    for (auto& a : segment.actions) bytes += row_bytes(a);
    CHECK(bytes <= kMergedRowBytesMax);
    CHECK(segment.actions.size() <= kMergedActionsMax);
  }
  till.check_log();
}

TEST_CASE("merged log: any bent byte is refused with its name, and a name that says something else") {
  OneMerged till;
  till.drop_parts();
  const auto whole = till.contents();
  for (size_t at = 0; at + 64 < whole.at(till.key).size(); at += 3) {
    till.store.flip(till.key, at);
    const Error error = till.verify_error();
    if (!contains(error.context, till.key)) FAIL_CHECK("byte " << at << ": " << error.context);
    till.set_contents(whole);
  }
  const std::string as_plain = till.key.substr(0, till.key.size() - 7) + ".seg";
  till.store.set(as_plain, whole.at(till.key));
  till.store.erase(till.key);
  CHECK(contains(till.verify_error().context, "merging"));
  till.set_contents(whole);
  const auto segments = must(list_log(till.store, till.lineage)).segments;
  const std::string plain = segments[0].key;
  till.store.set(plain.substr(0, plain.size() - 4) + ".merged", whole.at(plain));
  till.store.erase(plain);
  CHECK(contains(till.verify_error().context, "merging"));
}

TEST_CASE("merged log: a segment within it that is none of its parts is told") {
  OneMerged till;
  const auto listed = must(list_log(till.store, till.lineage));
  const std::string prefix = keys::database_prefix(till.lineage.terminal, till.lineage.database, till.lineage.epoch);
  const std::string foreign = keys::segment(prefix, listed.parts[2].first, listed.parts[4].last);
  till.store.set(foreign, *till.store.content(listed.parts[2].key));
  CHECK(contains(till.verify_error().context, foreign));
  // And nothing of that log goes.
  till.clock.advance(hours(48));
  const auto before = till.store.keys();
  const auto plan = till.plan();
  REQUIRE(plan.problems.size() == 1);
  CHECK(contains(plan.problems[0], foreign));
  must(till.try_prune());
  CHECK(till.store.keys() == before);
}

TEST_CASE("merged log: its parts go a day after it came, and with an interruption anywhere nothing is missing") {
  OneMerged till;
  till.clock.advance(hours(23));
  must(till.try_prune());
  CHECK(till.keys_with(".seg").size() == till.segments.size());
  till.clock.advance(hours(2));
  {
    // Who restores has listed them.
    PrunedTill& base = till;
    base.request.replayed_snapshots = {till.full->uuid};
    must(till.try_prune());
    CHECK(till.keys_with(".seg").size() == till.segments.size());
    base.request.replayed_snapshots.clear();
  }
  const auto whole = till.contents();
  const size_t parts = must(list_log(till.store, till.lineage)).parts.size();
  REQUIRE(parts == 12);
  for (size_t removals = 0; removals <= parts; removals++) {
    CAPTURE(removals);
    till.set_contents(whole);
    till.clock.advance(hours(25));
    const PrunePlan plan = till.plan();
    PruneHooks hooks;
    hooks.progress = [&](uint64_t done, uint64_t) { return done < removals; };
    const auto done = run_prune(till.store, plan, till.random, hooks);
    CHECK(done.has_value() == (removals == parts));
    CHECK(must(list_log(till.store, till.lineage)).parts.size() == parts - removals);
    till.check_log();
    must(till.try_prune());
    CHECK(must(list_log(till.store, till.lineage)).parts.empty());
  }
  till.check_all_moments();
}

TEST_CASE("merged log: a merged segment that can't be read, or is of other parts, sends nothing away") {
  OneMerged till;
  const auto before = till.store.keys();
  const auto whole = till.contents();
  const auto parts = must(list_log(till.store, till.lineage)).parts;
  std::string about;
  SUBCASE("bent") {
    till.store.flip(till.key, 300);
    about = till.key;
  }
  SUBCASE("its last part is another one now") {
    till.store.flip(parts.back().key, 300);
    about = parts.back().key;
  }
  SUBCASE("it does not follow the segment before it") {
    const Bytes object = whole.at(till.key);
    Segment merged = must(decode_segment(object, till.lineage));
    merged.head.previous.bytes[3] ^= 1;
    till.store.set(till.key, encode_segment(merged, till.lineage, till.random));
    about = "chain is broken";
  }
  till.clock.advance(hours(48));
  const auto plan = till.plan();
  REQUIRE(plan.problems.size() == 1);
  CHECK(contains(plan.problems[0], about));
  must(till.try_prune());
  CHECK(till.store.keys() == before);
}

TEST_CASE("merged log: retention cuts at its end, and one that comes too late counts for nothing") {
  MergedTill till;
  for (int hour = 0; hour < 4; hour++) {
    till.sell_some(3);
    till.clock.advance(hours(1));
    till.cover();
  }
  REQUIRE(till.merge() == 1);
  till.drop_parts();
  till.request.policy = RetentionPolicy{1, 0, 0, 0, 0, minutes(90)};
  SUBCASE("cut inside of it: it stays") {
    must(till.try_prune());
    CHECK(till.keys_with(".merged").size() == 1);
    till.check_log();
  }
  SUBCASE("cut behind it: it goes, and the log follows it") {
    till.sell_some(1);
    till.clock.advance(hours(5));
    till.sell_some(3);
    till.cover();
    must(till.try_prune());
    CHECK(till.keys_with(".merged").empty());
    const auto listed = must(list_log(till.store, till.lineage));
    REQUIRE(listed.anchor);
    till.check_log();
    till.check_moment(till.copies.rbegin()->first);
    // What was under way meanwhile: it begins before the log does, and ends within.
    const std::string prefix = keys::database_prefix(till.lineage.terminal, till.lineage.database, till.lineage.epoch);
    const std::string late =
        keys::merged_segment(prefix, listed.anchor->first_sequence - 1, listed.segments.at(0).last);
    till.store.set(late, Bytes{1});
    till.check_log();
    till.check_moment(till.copies.rbegin()->first);
    till.clock.advance(hours(1));
    must(till.try_prune());
    CHECK_FALSE(till.store.content(late));
    till.check_log();
  }
}

TEST_CASE("merged log: it takes no place where a prune has taken its first part from state.db") {
  MergedTill till;
  till.sell_some(6);
  till.cover();
  const auto merged = till.build();
  REQUIRE(merged);
  must(till.state->lease()->execute("DELETE FROM segments WHERE id IN (SELECT id FROM segments ORDER BY id LIMIT 3)"));
  must(LogMerger::stored(*till.state->lease(), merged->key, till.clock.now()));
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM segments WHERE link IS NOT NULL")) == 0);
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM segments")) == 4);
  CHECK(must(till.state->lease()->query_integer("SELECT count(*) FROM merges")) == 0);
}

TEST_CASE("merged log: rows that the local log gave up are not missed") {
  MergedTill till;
  till.sell_some(4);
  till.cover();
  must(
      till.state->lease()->execute("DELETE FROM action_log WHERE id<=(SELECT id FROM segments ORDER BY id LIMIT 1 "
                                   "OFFSET 1)"));
  const auto merged = till.build();
  REQUIRE(merged);
  CHECK(merged->parts == 3);
  CHECK(till.left_out.empty());
}

TEST_SUITE_END();
