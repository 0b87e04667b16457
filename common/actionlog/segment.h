// Log segments: immutable objects that hold a run of transactions.
//
// Layout: docs/formats.md, "Segment". Rows are stored by column, per table and kind of action, then compressed; before
// and after images come back byte for byte. Each segment names the SHA-256 of its predecessor: a missing, altered or
// reordered segment is found. A segment whose end is a state that capture has counted carries the SHA-256 over all
// table digests (state_digest()), so that a replay is proven at its end; in a burst, segments in between carry none.
// One that carries the schema carries the digests themselves as well. A transaction larger than a segment is spread
// over several: kStartsInside and kEndsInside say so. Segments that were merged into one (log_merger.h) keep their
// place in the chain: what follows names link_of(), which is the last part's. A short segment has little to learn from:
// its content is compressed with a dictionary of the log's own rows, which one segment carries for those after it,
// until another one does (log_dictionary.h). Errors: corrupt, with what is wrong; callers put the object's key in
// front. Threads: values.
#pragma once

#include <functional>

#include "actionlog/log_writer.h"
#include "crypto/sealed_object.h"

namespace tillsync {

enum SegmentFlag : uint32_t {
  kCarriesSchema = 1,
  kStartsInside = 2,  // its first transaction began in the segment before
  kEndsInside = 4,    // its last transaction goes on in the next one
  kMerged = 8,        // and none of the others
  kCarriesDictionary = 16,
};

constexpr size_t kSealedActionsMax = 16384;  // of one that a sealer makes; readers take more
constexpr size_t kDictionaryBytesMax = 1 << 20;

struct SegmentAction {
  Sequence sequence = 0;
  uint32_t transaction_index = 0;  // in Segment::transactions
  uint32_t table_index = 0;        // in Segment::tables
  ActionKind kind = ActionKind::create;
  std::optional<int64_t> rowid, previous_rowid;
  Sequence entity_created = 0;
  uint64_t version = 0;
  std::vector<Sequence> dependencies;
  Bytes before, after;  // records; empty for none
};

struct SegmentTransaction {
  TransactionNo number = 0;
  Timestamp captured_at{};
  uint32_t session_index = 0;  // in Segment::sessions
  uint32_t flags = 0;          // TransactionFlag
  std::vector<Coincident> coincident;
};

// A row of a statistics table: replayed with its transaction, but no action.
struct HiddenRow {
  uint32_t transaction_index = 0;
  uint32_t table_index = 0;
  ActionKind kind = ActionKind::create;
  std::optional<int64_t> rowid;
  Bytes before, after;
};

struct SegmentHead {
  Sequence first_sequence = 0, last_sequence = 0;
  TransactionNo first_transaction = 0, last_transaction = 0;
  Timestamp first_captured_at{}, last_captured_at{};
  Digest previous;               // link_of() the segment before; zero for the first of a log
  Sequence schema_sequence = 0;  // first_sequence of the segment that carries the schema; its own if this one does
  uint32_t flags = 0;            // SegmentFlag
  // first_sequence of the segment that carries the dictionary; its own if this one does; 0: none so far.
  Sequence dictionary_sequence = 0;
  Digest state;  // state_digest() at the end; zero: not counted there
  Digest link;   // of the last part, if it is merged
};

struct Segment {
  SegmentHead head;
  Bytes schema;                      // Schema::encode(), if carried
  Bytes dictionary;                  // if carried
  std::vector<TableDigest> digests;  // at the end, if the schema is carried and the end was counted
  std::string user_columns;          // JSON: table → column that says who did it
  std::vector<Uuid> sessions;
  std::vector<std::string> tables;
  std::vector<SegmentTransaction> transactions;
  std::vector<SegmentAction> actions;
  std::vector<HiddenRow> hidden;
  std::vector<uint64_t> parts;  // actions of each, if it is merged
};

// tables sorted by name.
Digest state_digest(const std::vector<TableDigest>& tables);

// SHA-256 over the transactions and rows that it holds, whichever the segment they are in.
Digest content_digest(const Segment& segment);

// What the next segment names as the one before it.
Digest link_of(const SegmentHead& head, ByteView object);

// The rows and all that describes them, as they are compressed.
struct SegmentContent {
  Bytes bytes;
  size_t apart_at = 0;  // from here on bodies that have little in common with anything
};
SegmentContent encode_content(const Segment& segment);
// The whole object. dictionary: that of head.dictionary_sequence, where another segment carries it; not used by one
// that was merged.
Bytes encode_segment(const Segment& segment, const Lineage& lineage, Random& random, ByteView dictionary = {});
// Gives the dictionary that the segment with this first sequence carries.
using DictionarySource = std::function<Result<ByteView>(Sequence)>;
Result<Segment> decode_segment(ByteView object, const Lineage& lineage, const DictionarySource& dictionaries = {});
// Head alone: enough to walk the chain. The object's trailer is checked too.
Result<SegmentHead> decode_segment_head(ByteView object, const Lineage& lineage);

}  // namespace tillsync
