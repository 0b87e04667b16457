#include "actionlog/log_verifier.h"

#include <algorithm>

#include "schema/row_identity.h"

namespace tillsync {

namespace {

// Table digests that follow the log's rows.
class RunningState {
 public:
  explicit RunningState(const KnownStates& known) : known_(known) {}

  bool valid() const { return valid_; }
  void lose() { valid_ = false; }
  void take(const std::vector<TableDigest>& tables) {
    tables_.clear();
    for (auto& table : tables) tables_[table.name] = table;
    valid_ = true;
  }
  // Where a snapshot says what the tables hold at `sequence`. False when that is not what the rows led to.
  bool at(Sequence sequence) {
    auto stated = known_.find(sequence);
    if (stated == known_.end()) return true;
    bool fits = !valid_ || state_digest(list()) == state_digest(stated->second);
    take(stated->second);
    return fits;
  }
  Result<void> row(const Table& table, RowIdentity& identity, const SegmentAction& action) {
    if (!valid_) return {};
    TableDigest& digest = tables_[table.name];
    digest.name = table.name;
    int64_t rowid = action.rowid.value_or(0);
    if (!action.before.empty()) {
      TILLSYNC_LET(Digest d, identity.digest(action.previous_rowid.value_or(rowid), action.before));
      digest.digest.subtract(d);
      digest.rows--;
    }
    if (!action.after.empty()) {
      TILLSYNC_LET(Digest d, identity.digest(rowid, action.after));
      digest.digest.add(d);
      digest.rows++;
    }
    return {};
  }
  std::vector<TableDigest> list() const {
    std::vector<TableDigest> all;
    for (auto& [name, table] : tables_) all.push_back(table);
    return all;
  }

 private:
  const KnownStates& known_;
  std::map<std::string, TableDigest> tables_;
  bool valid_ = false;
};

class LogVerifier {
 public:
  LogVerifier(ObjectStore& store, const Lineage& lineage, const KnownStates& known)
      : reader_(store, lineage), state_(known) {}

  Result<LogVerdict> run(Sequence first_needed, const std::function<bool(uint64_t, uint64_t, uint64_t)>& progress) {
    TILLSYNC_LET(auto all, reader_.list());
    uint64_t bytes = 0, total = 0;
    for (auto& object : all) total += object.size;
    LogVerdict verdict;
    for (size_t i = 0; i < all.size(); i++) {
      SegmentVerdict one{all[i].key, std::nullopt, false, false};
      Result<void> whole;
      if (i > 0) {
        whole = LogReader::check_whole(std::span(all).subspan(i - 1, 2));
      } else {
        whole = check_begin(all[0], first_needed);
      }
      if (!whole) state_.lose();
      Result<void> done = segment(all[i], all, one);
      if (!done && !is_about_data(done.error())) return std::move(done).error();
      if (!done) state_.lose();
      if (!whole) one.error = whole.error();
      if (!done) one.error = done.error();
      verdict.segments.push_back(std::move(one));
      bytes += all[i].size;
      if (progress && !progress(i + 1, bytes, total)) return Error{ErrorKind::cancelled, 0, "stopped"};
    }
    verdict.actions = actions_;
    return verdict;
  }

 private:
  // A log that was pruned begins where its anchor says.
  Result<void> check_begin(const SegmentObject& first, Sequence first_needed) {
    const auto& anchor = reader_.anchor();
    if (anchor) first_needed = anchor->first_sequence;
    if (first_needed == 0 || first.first <= first_needed) return {};
    return Error{ErrorKind::corrupt, 0,
                 first.key + ": sequences " + std::to_string(first_needed) + " to " + std::to_string(first.first - 1) +
                     ", before it, are in no segment"};
  }

  Result<void> segment(const SegmentObject& object, const std::vector<SegmentObject>& all, SegmentVerdict& verdict) {
    TILLSYNC_LET(Segment segment, reader_.read(object));
    auto schema = reader_.schema_of(segment, all);
    if (!schema) return std::move(schema).error().with(object.key);
    auto bad = [&](const std::string& why) { return Error{ErrorKind::corrupt, 0, object.key + ": " + why}; };
    if (!state_.at(object.first - 1)) return bad("the snapshot at its start holds other rows than the log leads to");
    if (object.merged) TILLSYNC_TRY(check_parts(object, segment));
    std::map<uint32_t, std::unique_ptr<RowIdentity>> identities;
    for (auto& action : segment.actions) {
      actions_++;
      if (action.kind <= ActionKind::remove) {
        const Table* table = (*schema)->find(segment.tables[action.table_index]);
        if (!table)
          return bad("it names table '" + segment.tables[action.table_index] + "', which its schema does not have");
        auto& identity = identities[action.table_index];
        if (!identity) identity = std::make_unique<RowIdentity>(*table);
        auto added = state_.row(*table, *identity, action);
        if (!added) return std::move(added).error().with(object.key);
      } else if (action.kind != ActionKind::restore) {
        // Tables are counted anew after it.
        state_.lose();
      }
      if (action.sequence != object.last && !state_.at(action.sequence))
        return bad("at sequence " + std::to_string(action.sequence) +
                   " its rows do not lead to what the snapshot there holds");
    }
    verdict.stated = segment.head.state != Digest{};
    if (!segment.digests.empty() && state_digest(segment.digests) != segment.head.state)
      return bad("it carries other digests than its head states");
    if (verdict.stated && state_.valid()) {
      if (state_digest(state_.list()) != segment.head.state)
        return bad("its rows do not lead to the digests it states");
      verdict.proven = true;
    }
    if (!segment.digests.empty()) state_.take(segment.digests);
    if (!state_.at(object.last)) return bad("the snapshot at its end holds other rows than the log leads to");
    return {};
  }

  // What lies within a merged segment is what it was merged from. Else two wrote into one epoch.
  Result<void> check_parts(const SegmentObject& object, const Segment& segment) {
    const auto& parts = reader_.parts();
    auto inside = std::lower_bound(parts.begin(), parts.end(), object.first,
                                   [](auto& part, Sequence first) { return part.first < first; });
    for (; inside != parts.end() && inside->last <= object.last; ++inside)
      if (!is_part(segment, *inside))
        return Error{ErrorKind::corrupt, 0,
                     object.key + ": " + inside->key + " lies within it, and is none of those it was merged from"};
    return {};
  }

  LogReader reader_;
  RunningState state_;
  uint64_t actions_ = 0;
};

}  // namespace

bool is_about_data(const Error& error) {
  return error.kind == ErrorKind::corrupt || error.kind == ErrorKind::not_found || error.kind == ErrorKind::schema ||
         error.kind == ErrorKind::conflict;
}

bool LogVerdict::ok() const {
  return std::all_of(segments.begin(), segments.end(), [](auto& s) { return !s.error; });
}

Result<LogVerdict> verify_log(ObjectStore& store, const Lineage& lineage, const KnownStates& known,
                              Sequence first_needed,
                              const std::function<bool(uint64_t, uint64_t, uint64_t)>& progress) {
  return LogVerifier(store, lineage, known).run(first_needed, progress);
}

}  // namespace tillsync
