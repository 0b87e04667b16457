#include "actionlog/segment.h"

#include <algorithm>
#include <map>

#include "actionlog/segment_columns.h"
#include "actionlog/segment_head.h"
#include "base/checks.h"
#include "compression/zstd.h"
#include "crypto/hash.h"

namespace tillsync {

namespace {

// A merged one is made once, without haste, and kept for long.
constexpr int kCompressionLevel = 3, kMergedCompressionLevel = 9;
constexpr size_t kShortBytesMax = 64 << 10;
constexpr uint32_t kCoincidentFollows = 8;  // among a transaction's flags

bool is_kind(ActionKind kind) { return kind >= ActionKind::create && kind <= ActionKind::restore; }

// Small integers of one group, one after the other.
struct Group {
  uint32_t table;
  ActionKind kind;
  Bytes rowids, entities, dependencies;
  int64_t last_rowid = 0;
  ColumnWriter before, after;
};

void put_rowids(ByteWriter& w, std::optional<int64_t> rowid, std::optional<int64_t> previous, int64_t& last) {
  w.u8(static_cast<uint8_t>((rowid ? 1 : 0) | (previous ? 2 : 0)));
  if (rowid) {
    w.svar(static_cast<int64_t>(static_cast<uint64_t>(*rowid) - static_cast<uint64_t>(last)));
    last = *rowid;
  }
  if (previous) w.svar(*previous);
}

void get_rowids(ByteReader& r, std::optional<int64_t>& rowid, std::optional<int64_t>& previous, int64_t& last) {
  uint8_t form = r.u8();
  if (form & 1) rowid = last = static_cast<int64_t>(static_cast<uint64_t>(last) + static_cast<uint64_t>(r.svar()));
  if (form & 2) previous = r.svar();
}

// Each part holds whole transactions.
Result<void> read_parts(ByteReader& r, Segment& s) {
  uint64_t end = 0;
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    const uint64_t actions = r.uvar();
    if (actions == 0 || actions > s.actions.size() - end) return damaged_segment("the parts it was merged from");
    end += actions;
    if (end < s.actions.size() && s.actions[end].transaction_index == s.actions[end - 1].transaction_index)
      return damaged_segment("a part that ends inside a transaction");
    s.parts.push_back(actions);
  }
  if (!r.ok() || s.parts.size() < 2 || end != s.actions.size()) return damaged_segment("the parts it was merged from");
  return {};
}

}  // namespace

Digest state_digest(const std::vector<TableDigest>& tables) { return sha256(encode_digests(tables)); }

Digest content_digest(const Segment& s) {
  Sha256 hash;
  Bytes bytes;
  auto flush = [&] {
    hash.update(bytes);
    bytes.clear();
  };
  size_t next = 0;
  for (size_t t = 0; t < s.transactions.size(); t++) {
    const SegmentTransaction& transaction = s.transactions[t];
    ByteWriter w(bytes);
    w.uvar(transaction.number);
    w.svar(to_ms(transaction.captured_at));
    w.bytes(s.sessions[transaction.session_index].view());
    w.uvar(transaction.flags);
    w.uvar(transaction.coincident.size());
    for (auto& other : transaction.coincident) {
      w.sized(other.database);
      w.uvar(other.transaction);
    }
    for (; next < s.actions.size() && s.actions[next].transaction_index == t; next++) {
      const SegmentAction& a = s.actions[next];
      w.uvar(a.sequence);
      w.u8(static_cast<uint8_t>(a.kind));
      w.sized(s.tables[a.table_index]);
      int64_t zero = 0;
      put_rowids(w, a.rowid, a.previous_rowid, zero);
      w.uvar(a.entity_created);
      w.uvar(a.version);
      w.uvar(a.dependencies.size());
      for (Sequence d : a.dependencies) w.uvar(d);
      w.sized(a.before);
      w.sized(a.after);
      flush();
    }
    flush();
  }
  for (auto& h : s.hidden) {
    ByteWriter w(bytes);
    w.uvar(s.transactions[h.transaction_index].number);
    w.u8(static_cast<uint8_t>(h.kind));
    w.sized(s.tables[h.table_index]);
    int64_t zero = 0;
    put_rowids(w, h.rowid, {}, zero);
    w.sized(h.before);
    w.sized(h.after);
    flush();
  }
  return hash.finish();
}

Digest link_of(const SegmentHead& head, ByteView object) { return head.flags & kMerged ? head.link : sha256(object); }

SegmentContent encode_content(const Segment& s) {
  SegmentContent content;
  Bytes apart;
  ByteWriter w(content.bytes);
  w.sized(s.schema);
  w.bytes(encode_digests(s.digests));
  w.sized(s.user_columns);
  w.uvar(s.sessions.size());
  for (auto& session : s.sessions) w.bytes(session.view());
  w.uvar(s.tables.size());
  for (auto& table : s.tables) w.sized(table);
  w.uvar(s.transactions.size());
  int64_t last_time = 0;
  TransactionNo last_number = 0;
  for (auto& t : s.transactions) {
    w.uvar(t.number - last_number);
    w.svar(static_cast<int64_t>(static_cast<uint64_t>(to_ms(t.captured_at)) - static_cast<uint64_t>(last_time)));
    w.uvar(t.session_index);
    w.uvar(t.flags | (t.coincident.empty() ? 0u : kCoincidentFollows));
    if (!t.coincident.empty()) {
      w.uvar(t.coincident.size());
      for (auto& other : t.coincident) {
        w.sized(other.database);
        w.uvar(other.transaction);
      }
    }
    last_number = t.number;
    last_time = to_ms(t.captured_at);
  }
  // Which group each action belongs to, and which transaction, in sequence order.
  std::map<std::pair<uint32_t, ActionKind>, size_t> index;
  std::vector<Group> groups;
  Bytes order, steps;
  uint32_t last_transaction = 0;
  for (auto& a : s.actions) {
    auto [slot, is_new] = index.try_emplace({a.table_index, a.kind}, groups.size());
    if (is_new) groups.push_back({a.table_index, a.kind, {}, {}, {}, 0, {}, {}});
    Group& g = groups[slot->second];
    ByteWriter(order).uvar(slot->second);
    ByteWriter(steps).uvar(a.transaction_index - last_transaction);
    last_transaction = a.transaction_index;
    ByteWriter rowids(g.rowids), entities(g.entities), dependencies(g.dependencies);
    put_rowids(rowids, a.rowid, a.previous_rowid, g.last_rowid);
    entities.uvar(a.entity_created ? a.sequence - a.entity_created + 1 : 0);
    entities.uvar(a.version);
    dependencies.uvar(a.dependencies.size());
    for (Sequence d : a.dependencies) dependencies.uvar(a.sequence - d);
    if (!a.before.empty()) g.before.add(a.before, apart);
    if (!a.after.empty()) g.after.add(a.after, apart);
    entities.u8(static_cast<uint8_t>((a.before.empty() ? 0 : 1) | (a.after.empty() ? 0 : 2)));
  }
  w.uvar(s.actions.size());
  w.sized(order);
  w.sized(steps);
  w.uvar(groups.size());
  for (auto& g : groups) {
    w.uvar(g.table);
    w.u8(static_cast<uint8_t>(g.kind));
    w.sized(g.rowids);
    w.sized(g.entities);
    w.sized(g.dependencies);
    g.before.finish(w);
    g.after.finish(w);
  }
  w.uvar(s.hidden.size());
  for (auto& h : s.hidden) {
    w.uvar(h.transaction_index);
    w.uvar(h.table_index);
    w.u8(static_cast<uint8_t>(h.kind));
    int64_t zero = 0;
    put_rowids(w, h.rowid, {}, zero);
    w.sized(h.before);
    w.sized(h.after);
  }
  if (s.head.flags & kMerged) {
    w.uvar(s.parts.size());
    for (uint64_t actions_of_part : s.parts) w.uvar(actions_of_part);
  }
  content.apart_at = content.bytes.size();
  append(content.bytes, apart);
  return content;
}

Bytes encode_segment(const Segment& s, const Lineage& lineage, Random& random, ByteView dictionary) {
  const bool merged = s.head.flags & kMerged, carries = s.head.flags & kCarriesDictionary;
  if (carries) dictionary = s.dictionary;
  if (merged) dictionary = {};
  TILLSYNC_CHECK(merged || dictionary.empty() == (s.head.dictionary_sequence == 0));
  const SegmentContent content = encode_content(s);
  const int level = merged                                   ? kMergedCompressionLevel
                    : content.bytes.size() <= kShortBytesMax ? kShortLevel
                                                             : kCompressionLevel;
  const Bytes packed = compress_at(level, content.bytes, dictionary, content.apart_at);
  Bytes stored = encode_segment_head(s.head, content);
  if (carries) put_section(stored, dictionary);
  append(stored, packed);
  return seal_object(ObjectKind::segment, lineage, random, stored);
}

Result<SegmentHead> decode_segment_head(ByteView object, const Lineage& lineage) {
  TILLSYNC_LET(const OpenedObject opened, open_object(object, ObjectKind::segment, lineage));
  TILLSYNC_LET(ReadSegmentHead read, read_segment_head(opened.body));
  return std::move(read.head);
}

Result<Segment> decode_segment(ByteView object, const Lineage& lineage, const DictionarySource& dictionaries) {
  TILLSYNC_LET(const OpenedObject opened, open_object(object, ObjectKind::segment, lineage));
  TILLSYNC_LET(const ReadSegmentHead read, read_segment_head(opened.body));
  Segment s;
  s.head = read.head;
  const std::string where = "a segment that does not parse";
  ByteReader rest(read.rest);
  ByteView dictionary;
  if (s.head.flags & kCarriesDictionary) {
    TILLSYNC_LET(s.dictionary, take_section(rest, kDictionaryBytesMax).with(where + ": its dictionary"));
    if (s.dictionary.empty()) return damaged_segment("the dictionary it names");
    dictionary = s.dictionary;
  } else if (s.head.dictionary_sequence != 0 && !(s.head.flags & kMerged)) {
    if (!dictionaries) return damaged_segment("it needs the dictionary of another segment");
    TILLSYNC_LET(dictionary, dictionaries(s.head.dictionary_sequence));
  }
  Bytes body;
  TILLSYNC_TRY(decompress(rest.bytes(rest.remaining()), read.raw, body, dictionary).with(where));

  ByteReader r(ByteView(body).first(read.raw - read.apart)), apart(ByteView(body).last(read.apart));
  s.schema = to_bytes(r.sized());
  TILLSYNC_LET(s.digests, decode_digests(r));
  s.user_columns = r.text();
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    auto bytes = r.bytes(16);
    if (!r.ok()) break;
    TILLSYNC_LET(Uuid session, Uuid::from_bytes(bytes));
    s.sessions.push_back(session);
  }
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) s.tables.push_back(r.text());
  int64_t last_time = 0;
  TransactionNo last_number = 0;
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    SegmentTransaction t;
    t.number = last_number + r.uvar();
    if (t.number <= last_number) return damaged_segment("its transactions run backwards");
    last_number = t.number;
    last_time = static_cast<int64_t>(static_cast<uint64_t>(last_time) + static_cast<uint64_t>(r.svar()));
    t.captured_at = from_ms(last_time);
    const uint64_t session = r.uvar(), flags = r.uvar();
    if (session >= s.sessions.size()) return damaged_segment("a session that is not there");
    if (flags > UINT32_MAX) return damaged_segment("flags of a transaction");
    t.session_index = static_cast<uint32_t>(session);
    t.flags = static_cast<uint32_t>(flags);
    if (t.flags & kCoincidentFollows) {
      t.flags &= ~kCoincidentFollows;
      for (uint64_t k = 0, others = r.uvar(); k < others && r.ok(); k++) {
        std::string database = r.text();
        t.coincident.push_back({std::move(database), r.uvar()});
      }
    }
    s.transactions.push_back(t);
  }
  uint64_t actions = r.uvar();
  ByteReader order(r.sized()), steps(r.sized());
  struct GroupReader {
    uint32_t table;
    ActionKind kind;
    ByteReader rowids, entities, dependencies;
    int64_t last_rowid = 0;
    ColumnReader before, after;
  };
  std::vector<GroupReader> groups;
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    const uint64_t table = r.uvar();
    auto kind = static_cast<ActionKind>(r.u8());
    ByteReader rowids(r.sized()), entities(r.sized()), dependencies(r.sized());
    ColumnReader before(r), after(r);
    if (!r.ok() || table >= s.tables.size() || !is_kind(kind)) return damaged_segment("a group of actions");
    groups.push_back(
        {static_cast<uint32_t>(table), kind, rowids, entities, dependencies, 0, std::move(before), std::move(after)});
  }
  if (!r.ok() || actions != s.head.last_sequence - s.head.first_sequence + 1)
    return damaged_segment("it does not hold the actions its head names");
  // What is chosen by heads alone must be what is there.
  if (s.transactions.empty() || s.head.first_transaction != s.transactions.front().number ||
      s.head.last_transaction != s.transactions.back().number ||
      s.head.first_captured_at != s.transactions.front().captured_at ||
      s.head.last_captured_at != s.transactions.back().captured_at)
    return damaged_segment("it does not hold the transactions its head names");
  // As many as a sealer puts into one; more are believed when they are there.
  s.actions.reserve(std::min<uint64_t>(actions, kSealedActionsMax));
  uint64_t transaction = 0;
  for (uint64_t i = 0; i < actions; i++) {
    uint64_t group = order.uvar();
    const uint64_t step = steps.uvar();
    // Each transaction has actions: who takes them one after the other looks for the last action of each. And one
    // without would be taken for done when the next segment still holds them.
    if (!order.ok() || !steps.ok() || group >= groups.size() || step > (i == 0 ? 0 : 1) ||
        (transaction += step) >= s.transactions.size())
      return damaged_segment("the order of its actions");
    GroupReader& g = groups[group];
    SegmentAction a;
    a.sequence = s.head.first_sequence + i;
    a.transaction_index = static_cast<uint32_t>(transaction);
    a.table_index = g.table;
    a.kind = g.kind;
    get_rowids(g.rowids, a.rowid, a.previous_rowid, g.last_rowid);
    uint64_t age = g.entities.uvar();
    if (age > a.sequence) return damaged_segment("an entity that was made before the log began");
    a.entity_created = age ? a.sequence - (age - 1) : 0;
    a.version = g.entities.uvar();
    uint8_t images = g.entities.u8();
    uint64_t dependencies = g.dependencies.uvar();
    for (uint64_t d = 0; d < dependencies && g.dependencies.ok(); d++) {
      const uint64_t distance = g.dependencies.uvar();
      if (distance >= a.sequence) return damaged_segment("a dependency on what was before the log began");
      a.dependencies.push_back(a.sequence - distance);
    }
    if (!g.rowids.ok() || !g.entities.ok() || !g.dependencies.ok()) return damaged_segment("an action");
    if ((images & 1) && !g.before.next(a.before, apart)) return damaged_segment("a record before");
    if ((images & 2) && !g.after.next(a.after, apart)) return damaged_segment("a record after");
    s.actions.push_back(std::move(a));
  }
  if (!apart.at_end()) return damaged_segment("bodies that lie apart are left over");
  if (!order.at_end() || !steps.at_end() || transaction + 1 != s.transactions.size())
    return damaged_segment("it names transactions whose actions it does not hold");
  for (auto& g : groups)
    if (!g.rowids.at_end() || !g.entities.at_end() || !g.dependencies.at_end() || !g.before.at_end() ||
        !g.after.at_end())
      return damaged_segment("a group of actions has bytes left over");
  for (uint64_t i = 0, count = r.uvar(); i < count && r.ok(); i++) {
    HiddenRow h;
    const uint64_t at = r.uvar(), table = r.uvar();
    h.kind = static_cast<ActionKind>(r.u8());
    if (at >= s.transactions.size() || table >= s.tables.size() || !is_kind(h.kind))
      return damaged_segment("a hidden row");
    h.transaction_index = static_cast<uint32_t>(at);
    h.table_index = static_cast<uint32_t>(table);
    int64_t zero = 0;
    std::optional<int64_t> none;
    get_rowids(r, h.rowid, none, zero);
    h.before = to_bytes(r.sized());
    h.after = to_bytes(r.sized());
    s.hidden.push_back(std::move(h));
  }
  if (s.head.flags & kMerged) TILLSYNC_TRY(read_parts(r, s));
  if (!r.at_end()) return damaged_segment("bytes are missing or left over");
  return s;
}

}  // namespace tillsync
