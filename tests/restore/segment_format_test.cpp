// The worked example of a segment, taken from docs/formats.md itself.
#include <fstream>

#include "actionlog/segment.h"
#include "dbfile/record.h"
#include "restore/restore_fixture.h"
#include "support/documented_examples.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
// The worked example's.
Segment one_sale(const Lineage& lineage) {
  Segment segment;
  segment.head.first_sequence = segment.head.last_sequence = 2;
  segment.head.first_transaction = segment.head.last_transaction = 2;
  segment.head.first_captured_at = segment.head.last_captured_at = from_ms(1767225600000);
  segment.head.previous.bytes.fill(0xaa);
  segment.head.schema_sequence = 1;
  segment.user_columns = "{}";
  segment.sessions = {lineage.terminal};
  segment.tables = {"sale"};
  segment.transactions = {{2, from_ms(1767225600000), 0, 0, {}}};
  SegmentAction action;
  action.sequence = 2;
  action.kind = ActionKind::create;
  action.rowid = 7;
  action.entity_created = 2;
  action.version = 1;
  RecordWriter record;
  record.add(Value{});
  record.add({ValueType::text, 0, 0, as_bytes("tea")});
  record.add({ValueType::text, 0, 0, as_bytes("01a21ce9-9f46-70ae-8935-c3d5cc19f69d")});
  record.finish(action.after);
  segment.actions = {action};
  return segment;
}

const Lineage kLineage{Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value(), "till", 3};
}  // namespace

TEST_CASE("formats: the segment in the document is read as the document says") {
  const Lineage& lineage = kLineage;
  const Segment segment = one_sale(lineage);
  const SegmentAction& action = segment.actions[0];
  CountingRandom random;
  Bytes written = encode_segment(segment, lineage, random), documented = example("segment");
  std::string shown = "\n";
  for (size_t i = 0; i < written.size(); i += 32)
    shown += to_hex(ByteView(written).subspan(i, std::min<size_t>(32, written.size() - i))) + "\n";
  // Another zstd may pack otherwise; what is in it may not differ.
  const auto found = decode_segment(documented, lineage);
  REQUIRE_MESSAGE(found, shown);
  const Segment& read = *found;
  CHECK(read.head.previous == segment.head.previous);
  REQUIRE(read.actions.size() == 1);
  CHECK(read.actions[0].after == action.after);
  CHECK(read.actions[0].rowid == 7);
  CHECK(read.actions[0].entity_created == 2);
  CHECK(read.tables == segment.tables);
  CHECK(encode_segment(read, lineage, random) == written);
}

TEST_CASE("formats: a value of every kind comes back, and what looks like the ones that lie apart") {
  const auto text = [](std::string_view is) { return Value{ValueType::text, 0, 0, as_bytes(is)}; };
  const std::vector<Value> values{Value{},
                                  {ValueType::integer, -7, 0, {}},
                                  {ValueType::real, 0, 0.25, {}},
                                  text(""),
                                  text("tea"),
                                  {ValueType::blob, 0, 0, {}},
                                  {ValueType::blob, 0, 0, as_bytes("01a21ce9-9f46-70ae-8935-c3d5cc19f69d")},
                                  text("01a21ce9-9f46-70ae-8935-c3d5cc19f69d"),
                                  text("01A21CE9-9F46-70AE-8935-C3D5CC19F69D"),
                                  text("01a21ce9-9f46-70ae-8935-c3d5cc19f69g"),
                                  text("01a21ce99f46-70ae-8935-c3d5cc19f69d-"),
                                  text("------------------------------------"),
                                  text("the sixth hour of a day in Palermo, 9")};
  CountingRandom random;
  Segment segment = one_sale(kLineage);
  SegmentAction& action = segment.actions[0];
  action.kind = ActionKind::update;
  RecordWriter record;
  for (auto& value : values) record.add(value);
  record.finish(action.before);
  for (auto value = values.rbegin(); value != values.rend(); ++value) record.add(*value);
  record.finish(action.after);
  CHECK(action.before != action.after);
  Segment read = must(decode_segment(encode_segment(segment, kLineage, random), kLineage));
  CHECK(read.actions[0].before == action.before);
  CHECK(read.actions[0].after == action.after);
  // The serial type that stands for a UUID in a segment, and which no record of SQLite has.
  action.before = {2, 10};
  read = must(decode_segment(encode_segment(segment, kLineage, random), kLineage));
  CHECK(read.actions[0].before == action.before);
}

TEST_CASE("formats: transactions of other databases that coincide come back with theirs") {
  CountingRandom random;
  Segment segment = one_sale(kLineage);
  segment.transactions[0].flags = kCatchUp;
  segment.transactions[0].coincident = {{"orders", 17}, {"stock", 3}};
  Segment read = must(decode_segment(encode_segment(segment, kLineage, random), kLineage));
  CHECK(read.transactions[0].coincident == segment.transactions[0].coincident);
  CHECK(read.transactions[0].flags == kCatchUp);
  CHECK(read.actions[0].after == segment.actions[0].after);
}

TEST_CASE("formats: a segment that names a transaction without an action is refused") {
  // As a sealer once wrote them: a restore took the last one for done and passed over the segment that holds it.
  CountingRandom random;
  Segment segment = one_sale(kLineage);
  segment.transactions.push_back({3, from_ms(1767225600001), 0, 0, {}});
  segment.head.last_transaction = 3;
  auto read = decode_segment(encode_segment(segment, kLineage, random), kLineage);
  REQUIRE_FALSE(read);
  CHECK(read.error().kind == ErrorKind::corrupt);
  CHECK(read.error().context.find("does not hold") != std::string::npos);
}

namespace {
// The worked example's: sales 2 and 3, each in a part of its own.
Segment two_sales(const Lineage& lineage) {
  Segment segment = one_sale(lineage);
  segment.head.flags = kMerged;
  segment.head.last_sequence = segment.head.last_transaction = 3;
  segment.head.link.bytes.fill(0xcc);
  SegmentTransaction second = segment.transactions[0];
  second.number = 3;
  second.captured_at += std::chrono::seconds(5);
  segment.head.last_captured_at = second.captured_at;
  segment.transactions.push_back(second);
  SegmentAction action = segment.actions[0];
  action.sequence = action.entity_created = 3;
  action.transaction_index = 1;
  action.rowid = 8;
  segment.actions.push_back(action);
  segment.parts = {1, 1};
  return segment;
}
}  // namespace

TEST_CASE("formats: the merged segment in the document is read as the document says") {
  const Segment segment = two_sales(kLineage);
  CountingRandom random;
  const Bytes written = encode_segment(segment, kLineage, random), documented = example("merged");
  std::string shown = "\n";
  for (size_t i = 0; i < written.size(); i += 32)
    shown += to_hex(ByteView(written).subspan(i, std::min<size_t>(32, written.size() - i))) + "\n";
  // Another zstd may pack otherwise.
  auto read = decode_segment(documented, kLineage);
  REQUIRE_MESSAGE(read, shown);
  CHECK(encode_segment(*read, kLineage, random) == written);
  CHECK(read->parts == std::vector<uint64_t>{1, 1});
  CHECK(read->head.link == segment.head.link);
  CHECK(must(decode_segment_head(documented, kLineage)).link == segment.head.link);
  CHECK(link_of(read->head, documented) == segment.head.link);
  const Bytes plain = example("segment");
  CHECK(link_of(must(decode_segment_head(plain, kLineage)), plain) == sha256(plain));
}

TEST_CASE("formats: parts that do not add up, and a merged segment of what can't be merged, are refused") {
  CountingRandom random;
  const auto refused_with = [&](const Segment& segment, const char* why) {
    const auto read = decode_segment(encode_segment(segment, kLineage, random), kLineage);
    REQUIRE_FALSE(read);
    CHECK(read.error().kind == ErrorKind::corrupt);
    CHECK_MESSAGE(contains(read.error().context, why), read.error().context);
  };
  Segment segment = two_sales(kLineage);
  for (const auto& parts : {std::vector<uint64_t>{}, {2}, {1}, {1, 2}, {1, 1, 1}, {0, 2}, {2, 0}, {1, UINT64_MAX}}) {
    segment.parts = parts;
    refused_with(segment, "parts");
  }
  segment = two_sales(kLineage);
  for (const uint32_t flag : {kCarriesSchema, kStartsInside, kEndsInside}) {
    segment.head.flags = kMerged | flag;
    refused_with(segment, "can't be");
  }
  // One transaction in two parts.
  segment = two_sales(kLineage);
  segment.transactions.pop_back();
  segment.actions[1].transaction_index = 0;
  segment.head.last_transaction = 2;
  segment.head.last_captured_at = segment.head.first_captured_at;
  refused_with(segment, "inside a transaction");
}

TEST_CASE("formats: what a segment holds has one digest, and each field of it counts") {
  const Segment segment = two_sales(kLineage);
  const Digest digest = content_digest(segment);
  Segment same = segment;
  same.tables.insert(same.tables.begin(), "other");
  for (auto& a : same.actions) a.table_index = 1;
  same.head = {};
  CHECK(content_digest(same) == digest);
  const std::vector<std::function<void(Segment&)>> changes{
      [](auto& s) { s.transactions[1].number++; },
      [](auto& s) { s.transactions[1].captured_at += std::chrono::milliseconds(1); },
      [](auto& s) { s.transactions[1].flags = kCatchUp; },
      [](auto& s) {
        s.transactions[1].coincident = {{"orders", 1}};
      },
      [](auto& s) { s.sessions[0] = Uuid{}; },
      [](auto& s) { s.tables[0] = "sales"; },
      [](auto& s) { s.actions[1].sequence++; },
      [](auto& s) { s.actions[1].transaction_index = 0; },
      [](auto& s) { s.actions[1].kind = ActionKind::update; },
      [](auto& s) { s.actions[1].rowid = std::nullopt; },
      [](auto& s) { s.actions[1].previous_rowid = 1; },
      [](auto& s) { s.actions[1].entity_created = 0; },
      [](auto& s) { s.actions[1].version++; },
      [](auto& s) { s.actions[1].dependencies = {2}; },
      [](auto& s) { s.actions[1].after.back() ^= 1; },
      [](auto& s) { s.actions[1].before = s.actions[1].after; },
      [](auto& s) {
        s.hidden.push_back({1, 0, ActionKind::create, 5, {}, {1}});
      },
  };
  for (size_t i = 0; i < changes.size(); i++) {
    CAPTURE(i);
    Segment other = segment;
    changes[i](other);
    CHECK(content_digest(other) != digest);
  }
}

TEST_SUITE_END();
