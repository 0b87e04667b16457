// A log that is long enough to have a dictionary: smaller, and the same to every reader.
#include "actionlog/log_dictionary.h"

#include "actionlog/state_anchor.h"
#include "restore/merge_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::hours;

// Sales of 100 actions, a segment each.
struct LongLog : MergedTill {
  LongLog() {
    sell("CREATE TABLE line(id INTEGER PRIMARY KEY, article TEXT, price INTEGER, text TEXT, sold_at TEXT)");
    seal();
    take(SnapshotType::full);
  }
  void sell_basket(int lines = 100) {
    clock.advance(std::chrono::minutes(1));
    const std::string seed = std::to_string(random.below(1000));
    sell(numbers(lines) + "INSERT INTO line(article, price, text, sold_at) SELECT 'SKU-'||(100000+(n*7+" + seed +
         ")%900), 50+(n*31+" + seed + ")%5000, CASE (n+" + seed +
         ")%3 WHEN 0 THEN 'organic milk' WHEN 1 THEN 'daily bread' ELSE 'local apple' " +
         "END, '2026-01-01T08:00:'||printf('%02d', n%60)||'Z' FROM g");
    seal();
  }
  void sell_baskets(int count) {
    for (int i = 0; i < count; i++) sell_basket();
  }
  Sequence sequence() { return capturer->status().sequence; }
  Segment read(const std::string& key) {
    LogReader reader(store, lineage);
    for (auto& object : must(reader.list()))
      if (object.key == key) return must(reader.read(object));
    FAIL(key << " is not in the log");
    return {};
  }
  std::vector<std::string> carriers() {
    std::vector<std::string> all;
    for (auto& key : keys_with(".seg"))
      if (must(decode_segment_head(*store.content(key), lineage)).flags & kCarriesDictionary) all.push_back(key);
    return all;
  }
};

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("dictionary: when a log gets one") {
  using Plan = DictionaryPlan;
  CHECK_FALSE(is_dictionary_due(1, 0, Plan::kActionsMin));
  CHECK(is_dictionary_due(1, 0, 1 + Plan::kActionsMin));
  // Anew under a new schema, whatever there was.
  CHECK_FALSE(is_dictionary_due(90'000, 50'000, 90'000 + Plan::kActionsMin - 1));
  CHECK(is_dictionary_due(90'000, 50'000, 90'000 + Plan::kActionsMin));
  CHECK(is_dictionary_due(90'000, 90'000, 90'000 + Plan::kActionsMin));
  // When it has grown eightfold, and at last at equal steps.
  CHECK_FALSE(is_dictionary_due(1, 2101, 2101 + 8 * 2100 - 1));
  CHECK(is_dictionary_due(1, 2101, 2101 + 8 * 2100));
  CHECK_FALSE(is_dictionary_due(1, 10'000'000, 10'000'000 + Plan::kActionsMax - 1));
  CHECK(is_dictionary_due(1, 10'000'000, 10'000'000 + Plan::kActionsMax));
}

TEST_CASE("dictionary: compressed with it is smaller and comes back, also where there is little to train on") {
  std::vector<Bytes> samples;
  for (int i = 0; i < 100; i++) {
    std::string text;
    for (int k = 0; k < 3; k++)
      text += "article " + std::to_string((i * 37 + k * 11) % 97) + " of the bakery, sold by cashier-" +
              std::to_string(i % 7) + "; ";
    samples.push_back(to_bytes(as_bytes(text)));
  }
  const Bytes next = std::move(samples.back());
  samples.pop_back();
  const std::vector<Bytes> alike(20, samples[0]), tiny(3, to_bytes(as_bytes("x")));
  for (const auto& given : {samples, alike, tiny, std::vector<Bytes>()}) {
    const Bytes dictionary = train_dictionary(given, 4096);
    CHECK(dictionary.size() <= 4096);
    CHECK_FALSE(dictionary.empty());
    const Bytes packed = compress_at(3, next, dictionary);
    Bytes out;
    must(decompress(packed, next.size(), out, dictionary));
    CHECK(out == next);
    if (given.size() > 50) CHECK(2 * packed.size() < compress_at(3, next).size());
  }
}

TEST_CASE("dictionary: the segments after its carrier are smaller, and every moment is restored") {
  LongLog till;
  till.sell_baskets(19);
  till.sell_basket(10);
  CHECK(till.carriers().empty());
  const size_t before = till.store.content(till.segments.back())->size();
  till.sell_baskets(4);
  till.sell_basket(10);
  REQUIRE(till.carriers().size() == 1);
  const std::string carrier = till.carriers()[0];
  const Segment last = till.read(till.segments.back());
  CHECK(last.head.dictionary_sequence == till.read(carrier).head.first_sequence);
  CHECK(last.dictionary.empty());
  const size_t after = till.store.content(till.segments.back())->size();
  MESSAGE("a sale of 10 actions: " << before << " bytes before, " << after << " after");
  CHECK(10 * after < 9 * before);
  till.check_log();
  till.check_all_moments();
  // Another run of the agent goes on with it.
  till.restart();
  till.sell_baskets(2);
  CHECK(till.read(till.segments.back()).head.dictionary_sequence == last.head.dictionary_sequence);
  // By itself, as a restore from a later snapshot reads it.
  till.take(SnapshotType::full);
  till.sell_baskets(2);
  till.check_moment(till.capturer->status().transaction);
}

TEST_CASE("dictionary: what is merged needs none, and its carrier stays") {
  LongLog till;
  till.sell_baskets(30);
  REQUIRE(till.carriers().size() == 1);
  const std::string carrier = till.carriers()[0];
  till.cover();
  CHECK(till.merge() == 2);  // before the carrier and after it
  till.check_log();
  till.check_all_moments();
  till.drop_parts();
  till.sell_baskets(3);
  CHECK(till.carriers() == std::vector{carrier});
  CHECK(till.read(till.segments.back()).head.dictionary_sequence != 0);
  till.check_log();
  till.check_all_moments();
  // Of those that were merged none needs the carrier; of the others each.
  till.store.erase(carrier);
  const auto listed = must(list_log(till.store, till.lineage));
  StoredDictionaries none(till.store, till.lineage);
  for (auto& object : listed.segments) {
    const auto read = decode_segment(*till.store.content(object.key), till.lineage, none.source());
    const bool needs =
        !object.merged &&
        must(decode_segment_head(*till.store.content(object.key), till.lineage)).dictionary_sequence != 0;
    CHECK_MESSAGE(read.has_value() == !needs, object.key);
    if (!needs) continue;
    CHECK(read.error().kind == ErrorKind::corrupt);
    CHECK_MESSAGE(contains(read.error().context, "which carries the dictionary, is missing"), read.error().context);
  }
}

TEST_CASE("dictionary: a log that was pruned after its carrier has it in its anchor") {
  LongLog till;
  till.sell_baskets(24);
  REQUIRE(till.carriers().size() == 1);
  const Sequence carrier = till.read(till.carriers()[0]).head.first_sequence;
  const Bytes dictionary = till.read(till.carriers()[0]).dictionary;
  till.request.policy = RetentionPolicy{1, 0, 0, 0, 0, hours(1)};
  till.take(SnapshotType::full);
  for (int round = 0; round < 2; round++) {
    INFO("round " << round);
    till.clock.advance(hours(3));
    till.sell_baskets(2);
    till.take(SnapshotType::full);
    till.sell_baskets(3);
    must(till.try_prune());
    CHECK(till.carriers().empty());
    LogReader reader(till.store, till.lineage);
    const auto all = must(reader.list());
    REQUIRE(reader.anchor());
    CHECK(reader.anchor()->dictionary_sequence == carrier);
    CHECK(reader.anchor()->dictionary == dictionary);
    CHECK(must(reader.read(all.back())).head.dictionary_sequence == carrier);
    till.check_log();
    till.check_moment(till.capturer->status().transaction);
  }
  // The till's own account says the same, for an epoch that goes on from here.
  const auto own = must(anchor_from_state(*till.state->lease(), 1, till.sequence(), till.clock.now()));
  REQUIRE(own);
  CHECK(own->dictionary_sequence == carrier);
  CHECK(own->dictionary == dictionary);
}

TEST_CASE("dictionary: one that state.db lost is done without, until the next one") {
  LongLog till;
  till.sell_baskets(22);
  REQUIRE(till.carriers().size() == 1);
  must(till.state->lease()->execute("DELETE FROM dictionaries"));
  till.sell_baskets(1);
  CHECK(till.read(till.segments.back()).head.dictionary_sequence == 0);
  till.sell_baskets(1);
  CHECK(till.carriers().size() == 2);
  till.check_log();
  till.check_all_moments();
}

TEST_CASE("dictionary: those of all segments that state.db knows are kept, for an anchor after any of them") {
  LongLog till;
  till.sell_baskets(22);
  const Sequence first = till.read(till.carriers().at(0)).head.first_sequence, middle = till.sequence();
  // Eightfold is far: as if it had been made long ago.
  must(till.state->lease()->execute("UPDATE segments SET schema_sequence=" + std::to_string(first - 1)));
  till.sell_baskets(static_cast<int>(DictionaryPlan::kSamplesMin) + 4);
  REQUIRE(till.carriers().size() == 2);
  const Sequence second = till.read(till.carriers().at(1)).head.first_sequence;
  const auto kept = [&] {
    std::vector<Sequence> all;
    auto db = till.state->lease();
    auto rows = must(db->prepare("SELECT id & 0xffffffffffff FROM dictionaries ORDER BY id"));
    while (must(rows.step())) all.push_back(rows.unsigned_integer(0));
    return all;
  };
  CHECK(kept() == std::vector{first, second});
  const auto anchor_after = [&](Sequence last) {
    return must(anchor_from_state(*till.state->lease(), 1, last, till.clock.now())).value();
  };
  CHECK(anchor_after(first - 1).dictionary_sequence == 0);
  CHECK(anchor_after(middle).dictionary_sequence == first);
  CHECK(anchor_after(middle).dictionary == till.read(till.carriers().at(0)).dictionary);
  CHECK(anchor_after(till.sequence()).dictionary == till.read(till.carriers().at(1)).dictionary);
  // Segments before the second carrier are known no more.
  auto db = till.state->lease();
  must(db->execute("DELETE FROM segments WHERE last_sequence<" + std::to_string(second)));
  must(keep_dictionary(*db, 1, till.sequence() + 1, as_bytes("the next")));
  CHECK(kept() == std::vector{second, till.sequence() + 1});
}
