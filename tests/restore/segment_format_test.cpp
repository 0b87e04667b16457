// The worked example of a segment, taken from docs/formats.md itself.
#include <fstream>

#include "actionlog/segment.h"
#include "dbfile/record.h"
#include "restore/restore_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

TEST_SUITE_BEGIN("restore");

namespace {
struct CountingRandom : Random {
  void fill(MutableBytes out) override {
    for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(i);
  }
};

Bytes documented_segment() {
  std::ifstream in(TILLSYNC_SOURCE_DIR "/docs/formats.md");
  std::string line, hex;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line == "```hex segment")
      inside = true;
    else if (line.starts_with("```"))
      inside = false;
    else if (inside)
      hex += line;
  }
  Bytes out;
  CHECK(from_hex(hex, out));
  return out;
}
}  // namespace

TEST_CASE("formats: the segment in the document is read as the document says") {
  const Lineage lineage{must(Uuid::parse("00112233-4455-6677-8899-aabbccddeeff")), "till", 3};
  Segment segment;
  segment.head.first_sequence = segment.head.last_sequence = 2;
  segment.head.first_transaction = segment.head.last_transaction = 2;
  segment.head.first_captured_at = segment.head.last_captured_at = from_ms(1767225600000);
  segment.head.previous.bytes.fill(0xaa);
  segment.head.schema_sequence = 1;
  segment.user_columns = "{}";
  segment.sessions = {lineage.terminal};
  segment.tables = {"sale"};
  segment.transactions = {{2, from_ms(1767225600000), 0, 0}};
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
  CountingRandom random;
  Bytes written = encode_segment(segment, lineage, random), documented = documented_segment();
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

TEST_SUITE_END();
