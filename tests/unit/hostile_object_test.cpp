// Objects whose checksums hold and whose content was made to harm: of a terminal that is not sealed, whoever can write
// to the store can make them. Each was found by a target of tests/fuzz.
#include <doctest/doctest.h>

#include "actionlog/segment.h"
#include "compression/zstd.h"
#include "crypto/statement.h"
#include "dbfile/record.h"
#include "ports/object_keys.h"
#include "snapshot/verified.h"
#include "support/documented_examples.h"
#include "support/results.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

const Lineage kLineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};

// Transactions 4 and 5 with an action each.
Segment two_sales() {
  Segment s;
  s.sessions = {kLineage.terminal};
  s.tables = {"sale"};
  s.transactions = {{4, from_ms(1000), 0, 0, {}}, {5, from_ms(2000), 0, 0, {}}};
  RecordWriter record;
  record.add({ValueType::integer, 7, 0, {}});
  for (uint32_t i = 0; i < 2; i++) {
    SegmentAction a;
    a.transaction_index = i;
    a.sequence = a.entity_created = 9 + i;
    a.rowid = i;
    record.finish(a.after);
    s.actions.push_back(a);
  }
  s.head.first_sequence = 9;
  s.head.last_sequence = 10;
  s.head.first_transaction = 4;
  s.head.last_transaction = 5;
  s.head.first_captured_at = from_ms(1000);
  s.head.last_captured_at = from_ms(2000);
  s.head.schema_sequence = 1;
  return s;
}

Bytes written(const Segment& segment) {
  CountingRandom random;
  return encode_segment(segment, kLineage, random);
}

std::string refusal(ByteView object) {
  const auto read = decode_segment(object, kLineage);
  if (read) return "";
  CHECK(read.error().kind == ErrorKind::corrupt);
  return read.error().context;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("hostile objects") {
  // Who looked for the last action of each transaction looked before the first one.
  TEST_CASE("segment: a transaction without an action is refused, wherever it is") {
    CHECK(refusal(written(two_sales())) == "");
    Segment first = two_sales();
    first.actions[0].transaction_index = 1;
    CHECK(has(refusal(written(first)), "the order of its actions"));
    Segment between = two_sales();
    between.transactions.push_back({6, from_ms(2000), 0, 0, {}});
    between.head.last_transaction = 6;
    between.actions[1].transaction_index = 2;
    CHECK(has(refusal(written(between)), "the order of its actions"));
    Segment last = two_sales();
    last.transactions.push_back({6, from_ms(2000), 0, 0, {}});
    last.head.last_transaction = 6;
    CHECK(has(refusal(written(last)), "whose actions it does not hold"));
  }

  // A restore chooses by heads, and applies what is there.
  TEST_CASE("segment: a head that names other transactions or times than there are is refused") {
    for (auto change :
         {+[](SegmentHead& h) { h.first_transaction = 3; }, +[](SegmentHead& h) { h.last_transaction = 6; },
          +[](SegmentHead& h) { h.first_captured_at = from_ms(999); },
          +[](SegmentHead& h) { h.last_captured_at = from_ms(9999); }}) {
      Segment s = two_sales();
      change(s.head);
      CHECK(has(refusal(written(s)), "the transactions its head names"));
    }
    Segment backwards = two_sales();
    backwards.transactions[1].number = 3;
    backwards.head.first_transaction = 3;
    CHECK(has(refusal(written(backwards)), "run backwards"));
  }

  TEST_CASE("segment: sequences before the log began, and kinds that are none, are refused") {
    Segment entity = two_sales();
    entity.actions[0].entity_created = ~Sequence{0};
    CHECK(has(refusal(written(entity)), "an entity"));
    Segment dependency = two_sales();
    dependency.actions[0].dependencies = {0};
    CHECK(has(refusal(written(dependency)), "a dependency"));
    Segment hidden = two_sales();
    hidden.hidden = {{0, 0, static_cast<ActionKind>(77), 1, {}, {}}};
    CHECK(has(refusal(written(hidden)), "a hidden row"));
  }

  TEST_CASE("segment: a dictionary that is none, of a later segment, or of nobody is refused") {
    const Bytes dictionary = to_bytes(as_bytes("what they have in common"));
    Segment s = two_sales();
    s.head.dictionary_sequence = 3;
    CountingRandom random;
    const Bytes user = encode_segment(s, kLineage, random, dictionary);
    CHECK(has(refusal(user), "the dictionary of another segment"));
    const auto gives = [&](const Bytes& given) {
      return decode_segment(user, kLineage, [&](Sequence) { return Result<ByteView>(given); });
    };
    CHECK(gives(dictionary)->actions[1].after == s.actions[1].after);
    // The magic number of a dictionary, and nothing of one.
    CHECK(gives({0x37, 0xa4, 0x30, 0xec, 1, 2, 3, 4, 5, 6, 7, 8}).error().kind == ErrorKind::corrupt);
    s.head.dictionary_sequence = 12;
    CHECK(has(refusal(encode_segment(s, kLineage, random, dictionary)), "the dictionary it names"));
    s.head.dictionary_sequence = 9;
    CHECK(has(refusal(encode_segment(s, kLineage, random, dictionary)), "the dictionary it names"));
    s.head.flags = kCarriesDictionary;
    s.dictionary = dictionary;
    CHECK(must(decode_segment(written(s), kLineage)).dictionary == dictionary);
    s.dictionary = Bytes((1 << 20) + 1, uint8_t{7});
    CHECK(has(refusal(written(s)), "its dictionary"));
    s.dictionary = dictionary;
    s.head.dictionary_sequence = 3;
    CHECK(has(refusal(written(s)), "the dictionary it names"));
    s.head.dictionary_sequence = 9;
    s.head.flags |= kMerged;
    CHECK(has(refusal(written(s)), "merged from what can't be"));
  }

  TEST_CASE("segment: flags of a later version, and a schema of before the log began, are refused") {
    Segment s = two_sales();
    s.head.flags = 64;
    CHECK(has(refusal(written(s)), "its flags"));
    s.head.flags = 0;
    s.head.schema_sequence = ~Sequence{0};
    CHECK(has(refusal(written(s)), "the schema it names"));
  }

  TEST_CASE("segment: times from one end of the calendar to the other come back") {
    Segment s = two_sales();
    s.transactions[0].captured_at = s.head.first_captured_at = from_ms(INT64_MIN);
    s.transactions[1].captured_at = s.head.last_captured_at = from_ms(INT64_MAX);
    const Segment read = must(decode_segment(written(s), kLineage));
    CHECK(read.transactions[0].captured_at == from_ms(INT64_MIN));
    CHECK(read.transactions[1].captured_at == from_ms(INT64_MAX));
  }

  // 489 bytes made the reader ask for 2 GiB.
  TEST_CASE("segment: a length that the content can't have is refused before memory is asked for") {
    const Bytes object = written(two_sales());
    ByteReader head(ByteView(object).subspan(128, object.size() - 256));
    Bytes body;
    ByteWriter w(body);
    for (int i = 0; i < 9; i++) w.uvar(head.uvar());
    w.bytes(head.bytes(32));
    w.uvar(head.uvar());
    head.uvar(), w.uvar(uint64_t{2} << 30);
    w.bytes(head.bytes(head.remaining()));
    CountingRandom random;
    CHECK(has(refusal(seal_object(ObjectKind::segment, kLineage, random, body)), "too short for the stated size"));
  }

  // Copies and writers of JSON recurse: a manifest with 100,000 brackets ended the process of whoever listed snapshots.
  TEST_CASE("json: nested too deep is refused, by every reader of what is in the store") {
    auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    CHECK(parse_json(nested(kJsonNestingMax)).is_array());
    CHECK(parse_json(nested(kJsonNestingMax + 1)).is_discarded());
    CHECK(parse_json("[" + nested(kJsonNestingMax)).is_discarded());
    CHECK(parse_json(R"(["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[[[[[[["])").is_array());
    const std::string deep = R"({"id":)" + nested(30000) + "}";
    KeyHistory history;
    const auto statement = history.add(as_bytes(deep), "terminal.json", kLineage.terminal);
    REQUIRE(!statement);
    CHECK(statement.error().kind == ErrorKind::corrupt);
    CountingRandom random;
    const std::string prefix = prefix_of(kLineage);
    for (bool mark : {false, true}) {
      Bytes body;
      put_section(body, as_bytes(R"({"configuration":{"a":)" + nested(100000) + "}}"));
      if (!mark) put_section(body, {});
      const std::string key =
          mark ? keys::verified(prefix, kLineage.terminal) : keys::manifest(prefix, kLineage.terminal);
      const Bytes object = seal_object(mark ? ObjectKind::verified : ObjectKind::manifest, kLineage, random, body);
      const auto error =
          mark ? VerifiedMark::decode(object, key, kLineage).error() : Manifest::decode(object, key, kLineage).error();
      CHECK(error.kind == ErrorKind::corrupt);
    }
  }

  // Each new member is looked up among all before it.
  TEST_CASE("json: an object of more members than any of ours is refused, an array is not") {
    auto members = [](size_t count) {
      std::string text = "{";
      for (size_t i = 0; i < count; i++) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
      return text + "}";
    };
    CHECK(parse_json(members(kJsonMembersMax)).size() == kJsonMembersMax);
    CHECK(parse_json(members(kJsonMembersMax + 1)).is_discarded());
    std::string items = "[0";
    for (size_t i = 0; i < kJsonMembersMax; i++) items += ",0";
    CHECK(parse_json(items + "]").size() == kJsonMembersMax + 1);
  }

  // A statement of 23:59 on the last day of 9999, an hour west, was accepted, and could not be read once stated again.
  TEST_CASE("time: what is parsed can be written and parsed again, and what can't be is written as the nearest") {
    for (const char* text : {"0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"})
      CHECK(to_rfc3339(must(parse_rfc3339(text))) == text);
    for (const char* text : {"9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+00:01", "-001-01-01T00:00:00Z"})
      CHECK(!parse_rfc3339(text));
    CHECK(to_rfc3339(from_ms(INT64_MIN)) == "0000-01-01T00:00:00.000Z");
    CHECK(to_rfc3339(from_ms(INT64_MAX)) == "9999-12-31T23:59:59.999Z");
  }

  TEST_CASE("verified mark: a field that does not parse is damage, with the key in front") {
    CountingRandom random;
    const std::string key = keys::verified(prefix_of(kLineage), kLineage.terminal);
    for (const char* uuid : {"00112233-4455-6677-8899-aabbccddeeff", "no"}) {
      Bytes body;
      const Json json{
          {"uuid", uuid}, {"manifest_sha256", std::string(64, 'a')}, {"verified_at", "soon"}, {"method", "replay"}};
      put_section(body, as_bytes(json.dump()));
      const auto mark = VerifiedMark::decode(seal_object(ObjectKind::verified, kLineage, random, body), key, kLineage);
      REQUIRE(!mark);
      CHECK(mark.error().kind == ErrorKind::corrupt);
      CHECK(mark.error().context.starts_with(key + ": "));
    }
  }

  TEST_CASE("zstd: a frame is not believed that it holds more than its bytes can") {
    // A frame of one RLE block of 5 bytes; then the same that says 1 GiB.
    Bytes frame{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 5, 0, 0, 0, 0x2b, 0, 0, 'A'}, out;
    must(decompress(frame, 5, out));
    CHECK(as_text(out) == "AAAAA");
    frame[5] = 0;
    frame[8] = 0x40;
    const auto refused = decompress(frame, size_t{1} << 30, out);
    REQUIRE(!refused);
    CHECK(refused.error().kind == ErrorKind::corrupt);
    CHECK(has(refused.error().context, "too short for the stated size"));
    CHECK(out.capacity() < 100);
  }
}
