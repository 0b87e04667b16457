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
  Value text;
  text.type = ValueType::text;
  text.bytes = as_bytes("tea");
  RecordWriter record;
  record.add(Value{});
  record.add(text);
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
  REQUIRE_MESSAGE(!documented.empty(), shown);
  // Another zstd may pack otherwise; what is in it may not differ.
  Segment read = must(decode_segment(documented, lineage));
  CHECK(read.head.previous == segment.head.previous);
  REQUIRE(read.actions.size() == 1);
  CHECK(read.actions[0].after == action.after);
  CHECK(read.actions[0].rowid == 7);
  CHECK(read.actions[0].entity_created == 2);
  CHECK(read.tables == segment.tables);
  CHECK(encode_segment(read, lineage, random) == written);
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

TEST_SUITE_END();
