// A log segment. First byte: bits 0 and 1: 0 the object as it is, 1 its checks are repaired, 2 the head and the content
// not packed (lengths are repaired), 3 the sequences of the head as well; bit 2 writes what was accepted again.
#include <algorithm>
#include <random>

#include "actionlog/segment.h"
#include "compression/zstd.h"
#include "crypto/hash.h"
#include "dbfile/record.h"
#include "fuzz/stored_object.h"

using namespace tillsync;
using namespace tillsync::fuzz;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

// Up to the size of the content, which follows it.
size_t head_size(ByteView head) {
  ByteReader r(head);
  for (int i = 0; i < 6; i++) r.uvar();
  const uint64_t flags = r.uvar();
  r.uvar(), r.uvar(), r.bytes(32);
  if (flags & 32) r.bytes(32);
  if (flags & kMerged) r.bytes(32);
  r.uvar();
  return r.ok() ? r.position() : head.size();
}

// Names so many actions, and no dictionary.
Bytes repaired_head(ByteView head, uint64_t actions) {
  ByteReader r(head);
  Bytes out;
  ByteWriter w(out);
  w.uvar(r.uvar());
  r.uvar(), w.uvar(actions - 1);
  for (int i = 2; i < 6; i++) w.uvar(r.uvar());
  w.uvar(r.uvar() & ~uint64_t{kCarriesDictionary});
  w.uvar(r.uvar());
  r.uvar(), w.uvar(0);
  w.bytes(r.bytes(r.remaining()));
  return out;
}

// Where the content has bytes with a length before them, as far as it parses: a grammar of its own, so that a change
// inside can be made without a change of all that follows.
struct Sized {
  size_t length_at, begin, end;
};
struct Places {
  std::vector<Sized> fields;
  uint64_t actions = 0;
};

Places places_in(ByteView content) {
  Places out;
  ByteReader r(content);
  auto sized = [&] {
    const size_t at = r.position();
    const uint64_t n = r.uvar();
    const size_t begin = r.position();
    r.bytes(n);
    if (r.ok()) out.fields.push_back({at, begin, begin + n});
  };
  auto each = [&](auto&& one) {
    for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) one();
  };
  sized();
  each([&] { sized(), r.uvar(), r.bytes(32); });
  sized();
  each([&] { r.bytes(16); });
  each(sized);
  each([&] {
    r.uvar(), r.uvar(), r.uvar();
    if (r.uvar() & 8) each([&] { sized(), r.uvar(); });
  });
  const uint64_t actions = r.uvar();
  if (r.ok()) out.actions = actions;
  sized(), sized();
  each([&] {
    r.uvar(), r.u8();
    for (int i = 0; i < 3; i++) sized();
    for (int i = 0; i < 2; i++) {
      sized(), sized();
      each([&] { sized(), sized(); });
    }
  });
  each([&] {
    r.uvar(), r.uvar();
    if (r.u8(); true) r.u8();
    sized(), sized();
  });
  return out;
}

Bytes object_from(const Form& form, ByteView rest) {
  if (form.repair <= 1) {
    Bytes object = to_bytes(rest);
    if (form.repair) repair_object(object);
    return object;
  }
  const size_t head = head_size(rest);
  const ByteView content = rest.subspan(head);
  Bytes body = to_bytes(rest.first(head));
  if (form.repair == 3) body = repaired_head(body, places_in(content).actions);
  ByteWriter(body).uvar(content.size());
  const Bytes frame = stored_frame(content);
  append(body, frame);
  return object_of(ObjectKind::segment, body);
}

// That of every segment that names one.
const Bytes& dictionary() {
  static const Bytes trained = [] {
    std::vector<Bytes> samples;
    for (int i = 0; i < 100; i++) {
      std::string text;
      for (int k = 0; k < 20; k++) text += "sale " + std::to_string((i * 37 + k * 11) % 97) + " of tea, and of seven ";
      samples.push_back(to_bytes(as_bytes(text)));
    }
    return train_dictionary(samples, 4096);
  }();
  return trained;
}

Result<ByteView> dictionary_of(Sequence) { return ByteView(dictionary()); }

// What everything that takes segments relies on.
void must_be_in_order(const Segment& s) {
  FUZZ_HOLDS(s.head.first_sequence >= 1 && s.head.first_sequence <= s.head.last_sequence);
  FUZZ_HOLDS(!s.actions.empty() && s.actions.size() - 1 == s.head.last_sequence - s.head.first_sequence);
  size_t transaction = 0;
  for (size_t i = 0; i < s.actions.size(); i++) {
    const SegmentAction& a = s.actions[i];
    FUZZ_HOLDS(a.sequence == s.head.first_sequence + i);
    FUZZ_HOLDS(a.transaction_index == transaction || (i > 0 && a.transaction_index == ++transaction));
    FUZZ_HOLDS(a.table_index < s.tables.size());
    FUZZ_HOLDS(a.kind >= ActionKind::create && a.kind <= ActionKind::restore);
    FUZZ_HOLDS(a.entity_created <= a.sequence);
    for (const Sequence d : a.dependencies) FUZZ_HOLDS(d >= 1 && d <= a.sequence);
    (void)decode_record(a.before);
    (void)decode_record(a.after);
  }
  FUZZ_HOLDS(transaction + 1 == s.transactions.size());
  FUZZ_HOLDS((s.head.flags == kMerged) == !s.parts.empty());
  size_t end = 0;
  for (const uint64_t actions : s.parts) {
    FUZZ_HOLDS(actions >= 1 && actions <= s.actions.size() - end);
    end += actions;
    FUZZ_HOLDS(end == s.actions.size() || s.actions[end].transaction_index != s.actions[end - 1].transaction_index);
  }
  FUZZ_HOLDS(s.parts.empty() || end == s.actions.size());
  for (size_t i = 0; i < s.transactions.size(); i++) {
    FUZZ_HOLDS(s.transactions[i].session_index < s.sessions.size());
    FUZZ_HOLDS(i == 0 || s.transactions[i].number > s.transactions[i - 1].number);
  }
  FUZZ_HOLDS(s.transactions.front().number == s.head.first_transaction);
  FUZZ_HOLDS(s.transactions.back().number == s.head.last_transaction);
  FUZZ_HOLDS(s.transactions.front().captured_at == s.head.first_captured_at);
  FUZZ_HOLDS(s.transactions.back().captured_at == s.head.last_captured_at);
  for (const HiddenRow& h : s.hidden) {
    FUZZ_HOLDS(h.transaction_index < s.transactions.size() && h.table_index < s.tables.size());
    FUZZ_HOLDS(h.kind >= ActionKind::create && h.kind <= ActionKind::restore);
  }
}

bool same(const SegmentAction& a, const SegmentAction& b) {
  return a.sequence == b.sequence && a.transaction_index == b.transaction_index && a.table_index == b.table_index &&
         a.kind == b.kind && a.rowid == b.rowid && a.previous_rowid == b.previous_rowid &&
         a.entity_created == b.entity_created && a.version == b.version && a.dependencies == b.dependencies &&
         a.before == b.before && a.after == b.after;
}
bool same(const SegmentTransaction& a, const SegmentTransaction& b) {
  return a.number == b.number && a.captured_at == b.captured_at && a.session_index == b.session_index &&
         a.flags == b.flags && a.coincident == b.coincident;
}
bool same(const HiddenRow& a, const HiddenRow& b) {
  return a.transaction_index == b.transaction_index && a.table_index == b.table_index && a.kind == b.kind &&
         a.rowid == b.rowid && a.before == b.before && a.after == b.after;
}
bool same(const SegmentHead& a, const SegmentHead& b) {
  return a.first_sequence == b.first_sequence && a.last_sequence == b.last_sequence &&
         a.first_transaction == b.first_transaction && a.last_transaction == b.last_transaction &&
         a.first_captured_at == b.first_captured_at && a.last_captured_at == b.last_captured_at &&
         a.previous == b.previous && a.schema_sequence == b.schema_sequence && a.flags == b.flags &&
         a.dictionary_sequence == b.dictionary_sequence && a.state == b.state && a.link == b.link;
}
template <class T>
bool all_same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) { return same(x, y); });
}

// Not to the same bytes: a number can be written longer than it needs to be.
void must_be_written_again(const Segment& s) {
  CountingRandom random;
  const ByteView other = s.head.dictionary_sequence != 0 ? ByteView(dictionary()) : ByteView();
  const Bytes written = encode_segment(s, kept_in_the_clear(), random, other);
  const auto read = decode_segment(written, kept_in_the_clear(), dictionary_of);
  FUZZ_HOLDS(read.has_value());
  FUZZ_HOLDS(same(read->head, s.head) && read->schema == s.schema && read->digests == s.digests);
  FUZZ_HOLDS(read->user_columns == s.user_columns && read->sessions == s.sessions && read->tables == s.tables);
  FUZZ_HOLDS(all_same(read->transactions, s.transactions) && all_same(read->actions, s.actions));
  FUZZ_HOLDS(all_same(read->hidden, s.hidden) && read->parts == s.parts);
  FUZZ_HOLDS(content_digest(*read) == content_digest(s));
  FUZZ_HOLDS(encode_segment(*read, kept_in_the_clear(), random, other) == written);
}

bool run(ByteView input) {
  const Form form(input);
  const Bytes made = object_from(form, input.subspan(1));
  const Exact object(made);
  MemoryMeter::start();
  const auto head = decode_segment_head(object.view(), kept_in_the_clear());
  const auto segment = decode_segment(object.view(), kept_in_the_clear(), dictionary_of);
  // zstd packs 128 KiB into 4 bytes at best; the rest is what a byte of content becomes at most.
  FUZZ_HOLDS(MemoryMeter::asked_bytes() <=
             (uint64_t{1} << 20) + object.view().size() * (form.repair <= 1 ? 33000u : 600u));
  if (!segment) {
    tell(segment.error());
    // denied: it says that it is sealed.
    FUZZ_HOLDS(segment.error().kind == ErrorKind::corrupt ||
               (form.repair <= 1 && segment.error().kind == ErrorKind::denied));
    FUZZ_HOLDS(!segment.error().context.empty());
    return false;
  }
  FUZZ_HOLDS(head && same(*head, segment->head));
  must_be_in_order(*segment);
  FUZZ_HOLDS(segment->dictionary.empty() == !(segment->head.flags & kCarriesDictionary));
  // None is written with a dictionary that we did not make.
  if (form.write_again && segment->dictionary.empty()) must_be_written_again(*segment);
  return true;
}

Bytes record(std::initializer_list<Value> values) {
  RecordWriter writer;
  for (auto& value : values) writer.add(value);
  Bytes out;
  writer.finish(out);
  return out;
}

SegmentAction action(Sequence sequence, uint32_t transaction, uint32_t table, ActionKind kind) {
  SegmentAction a;
  a.sequence = sequence;
  a.transaction_index = transaction;
  a.table_index = table;
  a.kind = kind;
  a.rowid = static_cast<int64_t>(7 * sequence);
  a.version = sequence;
  a.entity_created = kind == ActionKind::create ? sequence : 0;
  return a;
}

Segment segment_of(Sequence first, TransactionNo first_transaction, size_t transactions) {
  Segment s;
  s.sessions = {kept_in_the_clear().terminal};
  for (size_t i = 0; i < transactions; i++)
    s.transactions.push_back({first_transaction + i, from_ms(1767225600000 + static_cast<int64_t>(i)), 0, 0, {}});
  s.head.first_sequence = s.head.last_sequence = first;
  s.head.first_transaction = first_transaction;
  s.head.last_transaction = first_transaction + transactions - 1;
  s.head.first_captured_at = s.transactions.front().captured_at;
  s.head.last_captured_at = s.transactions.back().captured_at;
  s.head.schema_sequence = 1;
  return s;
}

// Of every kind of action, records that are taken apart and one that is not, and all that can be beside them.
Segment rich() {
  const Value null, seven{ValueType::integer, 7, 0, {}}, tea{ValueType::text, 0, 0, as_bytes("tea")},
      price{ValueType::real, 0, 1.5, {}}, blob{ValueType::blob, 0, 0, as_bytes("png")},
      uuid{ValueType::text, 0, 0, as_bytes("01a21ce9-9f46-70ae-8935-c3d5cc19f69d")};
  Segment s = segment_of(2, 2, 3);
  s.tables = {"sale", "item", "sqlite_stat1"};
  s.user_columns = R"({"sale":"user"})";
  s.sessions.push_back(Uuid{});
  s.transactions[1].session_index = 1;
  s.transactions[1].coincident = {{"stock", 9}, {"till2", 1}};
  s.transactions[2].flags = kCatchUp;
  auto& a = s.actions;
  a = {action(2, 0, 0, ActionKind::create), action(3, 0, 0, ActionKind::create), action(4, 0, 1, ActionKind::update),
       action(5, 1, 0, ActionKind::remove), action(6, 2, 1, ActionKind::update), action(7, 2, 1, ActionKind::create)};
  a[0].after = record({null, tea, seven});
  a[1].after = record({seven, tea, price});
  a[1].dependencies = {2};
  a[2].before = record({seven});
  a[2].after = record({price, tea});
  a[5].before = record({uuid, blob, seven});
  a[2].previous_rowid = -3;
  a[2].entity_created = 1;
  a[2].dependencies = {2, 3};
  a[3].before = record({null, tea, seven});
  a[4].rowid.reset();
  a[4].before = {3, 1, 1, 5, 9};
  a[4].after = record({tea, tea});
  a[5].after = record({});
  s.hidden = {{0, 2, ActionKind::update, 1, record({tea}), record({tea, seven})},
              {2, 2, ActionKind::remove, std::nullopt, record({tea}), {}}};
  s.head.last_sequence = 7;
  return s;
}

Segment merged() {
  Segment s = rich();
  s.head.flags = kMerged;
  s.head.link = sha256(as_bytes("its last part"));
  s.parts = {3, 1, 2};
  return s;
}

Segment with_schema() {
  Segment s = segment_of(1, 1, 1);
  s.transactions[0].flags = kSchemaChange;
  s.tables = {"sqlite_schema"};
  s.actions = {action(1, 0, 0, ActionKind::schema)};
  s.actions[0].after = record({Value{ValueType::text, 0, 0, as_bytes("table")}});
  s.schema = {1, 0};
  s.digests = {{"sale", 0, {}}, {"item", 3, {}}};
  s.head.flags = kCarriesSchema;
  s.head.state = state_digest(s.digests);
  return s;
}

Segment with_dictionary(bool carried) {
  Segment s = rich();
  s.head.dictionary_sequence = carried ? s.head.first_sequence : 1;
  if (!carried) return s;
  s.head.flags = kCarriesDictionary;
  s.dictionary = dictionary();
  return s;
}

std::vector<Bytes> sound_inputs() {
  std::vector<Bytes> inputs;
  for (const bool carried : {false, true}) {
    CountingRandom random;
    Bytes input{5};
    append(input, encode_segment(with_dictionary(carried), kept_in_the_clear(), random, dictionary()));
    inputs.push_back(std::move(input));
  }
  for (const Segment& s : {rich(), with_schema(), merged()}) {
    CountingRandom random;
    const Bytes object = encode_segment(s, kept_in_the_clear(), random);
    const ByteView body = ByteView(object).subspan(128, object.size() - 256);
    ByteReader rest(body.subspan(head_size(body)));
    const uint64_t size = rest.uvar();
    Bytes content;
    FUZZ_HOLDS(decompress(rest.bytes(rest.remaining()), size, content));
    for (const uint8_t first : {0, 5, 6, 3}) {
      Bytes input{first};
      append(input, (first & 3) <= 1 ? ByteView(object) : body.first(head_size(body)));
      if ((first & 3) > 1) append(input, content);
      inputs.push_back(std::move(input));
    }
  }
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return one_input<sound_inputs, run, true>(data, size);
}

#ifdef TILLSYNC_FUZZ
// Half of the changes are inside one field that has a length, which is then set right.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  const size_t before = 1 + head_size(size > 0 ? ByteView(data + 1, size - 1) : ByteView());
  if (size <= before || Form({data, size}).repair <= 1 || random() % 2) return LLVMFuzzerMutate(data, size, max_size);
  const ByteView content(data + before, size - before);
  const Places places = places_in(content);
  if (places.fields.empty()) return LLVMFuzzerMutate(data, size, max_size);
  const Sized field = places.fields[random() % places.fields.size()];
  Bytes inside = to_bytes(content.subspan(field.begin, field.end - field.begin));
  const size_t n = inside.size();
  inside.resize(n + 16);
  inside.resize(LLVMFuzzerMutate(inside.data(), n, inside.size()));
  Bytes changed(data, data + before + field.length_at);
  ByteWriter(changed).sized(inside);
  append(changed, content.subspan(field.end));
  if (changed.size() > max_size) return size;
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}
#endif
