#include "restore/plan.h"

#include <algorithm>

#include "snapshot/epochs.h"

namespace tillsync {

namespace {

// Finds the last transaction that still counts, by reading few segments: what `counts` says is true up to some
// transaction and false after it.
class Search {
 public:
  Search(LogReader& reader, const std::vector<SegmentObject>& segments) : reader_(reader), segments_(segments) {}

  struct Found {
    TransactionNo transaction = 0;
    Sequence sequence = 0;
    size_t segment = 0;
    bool any = false;
  };

  Result<Found> last(const std::function<bool(const SegmentTransaction&, Sequence first, Sequence last)>& counts) {
    Found found;
    size_t low = 0, high = segments_.size();  // the first segment whose first transaction does not count lies in here
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      TILLSYNC_LET(Found here, last_in(middle, counts));
      if (here.any) {
        found = here;
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return found;
  }

 private:
  using Counts = std::function<bool(const SegmentTransaction&, Sequence, Sequence)>;

  Result<Found> last_in(size_t index, const Counts& counts) {
    TILLSYNC_LET(Found found, ends_in(index, counts));
    // Only the first part of a large transaction: the end of the one before is in an earlier segment.
    for (size_t i = index; found.any && found.transaction == 0 && i > 0; i--) {
      TILLSYNC_LET(Found before, ends_in(i - 1, [](auto&, Sequence, Sequence) { return true; }));
      found.transaction = before.transaction;
      found.sequence = before.sequence;
    }
    return found;
  }

  // The last transaction that ends in the segment and counts; `any` also for one that only begins or goes on there.
  Result<Found> ends_in(size_t index, const Counts& counts) {
    TILLSYNC_LET(Segment segment, reader_.read(segments_[index]));
    Found found;
    found.segment = index;
    size_t at = 0;
    for (size_t t = 0; t < segment.transactions.size(); t++) {
      Sequence first = at < segment.actions.size() ? segment.actions[at].sequence : segment.head.last_sequence;
      while (at < segment.actions.size() && segment.actions[at].transaction_index == t) at++;
      Sequence last = segment.actions[at - 1].sequence;
      bool complete = t + 1 < segment.transactions.size() || !(segment.head.flags & kEndsInside);
      // A part of a transaction stands for the whole when it is asked whether it counts, but is never the end.
      if (!counts(segment.transactions[t], first, last)) break;
      found.any = true;
      if (!complete) break;
      found.transaction = segment.transactions[t].number;
      found.sequence = last;
    }
    return found;
  }

  LogReader& reader_;
  const std::vector<SegmentObject>& segments_;
};

// Those of all_segments that lie between the chain's target and the plan's moment, without a gap.
Result<void> choose_segments(RestorePlan& plan) {
  const Sequence from = plan.chain.target().sequence;
  plan.segments.clear();
  if (plan.sequence <= from) return {};
  for (auto& segment : plan.all_segments)
    if (segment.last > from && segment.first <= plan.sequence) plan.segments.push_back(segment);
  TILLSYNC_TRY(LogReader::check_whole(plan.segments));
  if (!plan.segments.empty() && plan.segments.front().first <= from + 1) return {};
  return Error{ErrorKind::corrupt, 0,
               (plan.segments.empty() ? std::string("the log") : plan.segments.front().key) + ": sequences from " +
                   std::to_string(from + 1) + " on are missing before it"};
}

// Of a log that was pruned: snapshots before its begin are moments of their own, and nothing leads from one to the
// next.
bool is_cut_off(const LogReader& reader, Sequence from) {
  return reader.anchor() && from + 1 < reader.anchor()->first_sequence;
}

Error unreachable(const std::string& what) { return Error{ErrorKind::not_found, 0, what}; }

// Said where the moment lies before every snapshot of an epoch.
struct Before {
  bool all = false;
  std::string but;  // what a person has to know who takes the epoch before
};

Result<RestorePlan> plan_in_epoch(ObjectStore& store, const Lineage& lineage, const RestoreMoment& moment,
                                  Before& before) {
  before = {};
  RestorePlan plan;
  plan.lineage = lineage;
  LogReader reader(store, lineage);
  TILLSYNC_LET(plan.all_segments, reader.list());

  Uuid start;
  if (moment.snapshot) {
    start = *moment.snapshot;
    TILLSYNC_LET(plan.chain, resolve_chain(store, lineage, start));
    plan.transaction = plan.chain.target().transaction;
    plan.sequence = plan.chain.target().sequence;
    if (plan.chain.target().is_page_level())
      plan.note =
          "this snapshot holds the pages of a damaged database as they were read, and proves nothing about its "
          "rows; sqlite3's .recover gets out what is legible: " +
          plan.chain.target().damage;
    return plan;
  }

  std::vector<Error> bad;
  TILLSYNC_LET(auto manifests, list_manifests(store, lineage, &bad));
  if (!bad.empty()) return bad.front();
  // A damaged database's pages are no state of the log: they are restored by their uuid alone.
  std::optional<Manifest> damaged;
  for (auto& m : manifests)
    if (m.is_page_level() && (!damaged || damaged->captured_at < m.captured_at)) damaged = m;
  std::erase_if(manifests, [](auto& m) { return m.is_page_level(); });
  before.all = manifests.empty();
  if (before.all) before.but = "; what was captured since has no snapshot yet";
  if (manifests.empty())
    return unreachable(
        "there is no complete snapshot of database '" + lineage.database + "' in the store yet" +
        (damaged ? ", only its pages as they were read when it was damaged: --snapshot " + damaged->uuid.str() : ""));
  const Manifest& oldest = *std::min_element(manifests.begin(), manifests.end(),
                                             [](auto& a, auto& b) { return a.transaction < b.transaction; });

  // The moment, as a transaction.
  Search::Found found;
  Search search(reader, plan.all_segments);
  auto newest_snapshot = std::max_element(manifests.begin(), manifests.end(),
                                          [](auto& a, auto& b) { return a.transaction < b.transaction; });
  if (moment.at) {
    TILLSYNC_LET(found, search.last([&](auto& t, Sequence, Sequence) { return t.captured_at <= *moment.at; }));
  } else if (moment.sequence) {
    TILLSYNC_LET(found, search.last([&](auto&, Sequence, Sequence last) { return last <= *moment.sequence; }));
    Sequence newest = newest_snapshot->sequence;
    if (!plan.all_segments.empty()) newest = std::max(newest, plan.all_segments.back().last);
    if (*moment.sequence > newest)
      return unreachable("sequence " + std::to_string(*moment.sequence) +
                         " is not in the store yet; the newest there is " + std::to_string(newest));
  } else if (moment.transaction) {
    TILLSYNC_LET(found, search.last([&](auto& t, Sequence, Sequence) { return t.number <= *moment.transaction; }));
  } else {
    TILLSYNC_LET(found, search.last([](auto&, Sequence, Sequence) { return true; }));
  }
  TransactionNo target = found.transaction;
  Sequence target_sequence = found.sequence;
  // Before the first logged transaction there is the baseline, at transaction 0; and the log may lag behind a snapshot.
  bool reached = found.any;
  for (auto& m : manifests) {
    bool counts = moment.at            ? m.captured_at <= *moment.at
                  : moment.sequence    ? m.sequence <= *moment.sequence
                  : moment.transaction ? m.transaction <= *moment.transaction
                                       : true;
    if (!counts || (reached && m.transaction <= target)) continue;
    reached = true;
    target = m.transaction;
    target_sequence = m.sequence;
  }
  before.all = !reached;
  if (!reached) {
    if (moment.at)
      return unreachable("nothing was captured at or before " + to_rfc3339(*moment.at) +
                         "; the oldest snapshot is of " + to_rfc3339(oldest.captured_at));
    return unreachable("the asked moment lies before the oldest snapshot, at transaction " +
                       std::to_string(oldest.transaction));
  }
  // The snapshot before the asked moment, and the asked moment itself, if no log leads from the one to the other.
  if (found.transaction == 0 && is_cut_off(reader, target_sequence)) {
    const Manifest* at = nullptr;
    const Manifest* after = nullptr;
    for (auto& m : manifests) {
      if (m.transaction == target && (!at || m.captured_at > at->captured_at)) at = &m;
      if (m.transaction > target && (!after || m.transaction < after->transaction)) after = &m;
    }
    const bool exact = moment.at            ? at->captured_at == *moment.at
                       : moment.sequence    ? target_sequence == *moment.sequence
                       : moment.transaction ? target == *moment.transaction
                                            : true;
    const std::string gone = "the log before sequence " + std::to_string(reader.anchor()->first_sequence) +
                             " is no longer kept (retention.log)";
    auto named = [](const Manifest& m) { return "snapshot " + m.uuid.str() + " of " + to_rfc3339(m.captured_at); };
    if (!exact)
      return unreachable(gone + "; the nearest moments are " + named(*at) +
                         (after ? " and " + named(*after) : std::string()));
    if (!moment.at && !moment.sequence && !moment.transaction)
      plan.note = gone + ", so this is the newest snapshot and not the newest moment";
  }
  if (moment.transaction && *moment.transaction != target)
    return unreachable("transaction " + std::to_string(*moment.transaction) + " is not in the store" +
                       (*moment.transaction > target ? " yet" : "") + "; the newest there up to it is " +
                       std::to_string(target));
  if (moment.sequence && target_sequence < *moment.sequence)
    plan.note = "sequence " + std::to_string(*moment.sequence) +
                " lies inside a transaction; restored up to sequence " + std::to_string(target_sequence);

  const Manifest* from = nullptr;
  for (auto& m : manifests) {
    if (m.transaction > target) continue;
    if (m.uuid == moment.start) {
      from = &m;
      break;
    }
    if (!from || m.transaction >= from->transaction) from = &m;
  }
  before.all = !from;
  if (!from) before.but = "; transactions up to " + std::to_string(target) + " are in its log, without a snapshot";
  if (!from)
    return unreachable("transaction " + std::to_string(target) + " lies before the oldest snapshot, at transaction " +
                       std::to_string(oldest.transaction));
  TILLSYNC_LET(plan.chain, resolve_chain(store, lineage, from->uuid));
  plan.transaction = target;
  plan.sequence = target_sequence;
  plan.newest = !moment.at && !moment.sequence && !moment.transaction;
  if (target_sequence > from->sequence && is_cut_off(reader, from->sequence))
    return unreachable("the log that leads from snapshot " + from->uuid.str() + " of " + to_rfc3339(from->captured_at) +
                       " to transaction " + std::to_string(target) + " is no longer kept (retention.log)");
  TILLSYNC_TRY(choose_segments(plan));
  if (plan.newest && damaged && damaged->sequence >= plan.sequence)
    plan.note =
        "this is the last state that could be read row by row; the database was found damaged afterwards, and "
        "its pages as of " +
        to_rfc3339(damaged->captured_at) + " are in --snapshot " + damaged->uuid.str();
  return plan;
}

// Where to look: with the snapshot that it names, else everywhere.
Result<std::optional<Lineage>> epoch_of(ObjectStore& store, const Lineage& lineage, const RestoreMoment& moment) {
  const auto& named = moment.snapshot ? moment.snapshot : moment.start;
  if (!named) return std::optional<Lineage>();
  auto manifest = find_manifest(store, lineage, *named);
  if (manifest) return std::optional<Lineage>(manifest->lineage);
  // Whoever goes on with a restore must not land in another epoch because the store was away for a moment.
  if (manifest.error().kind != ErrorKind::not_found) return std::move(manifest).error();
  return std::optional<Lineage>();
}

}  // namespace

Result<RestorePlan> plan_restore(ObjectStore& store, const Lineage& lineage, const RestoreMoment& moment) {
  Before before;
  TILLSYNC_LET(const auto only, epoch_of(store, lineage, moment));
  auto plan = plan_in_epoch(store, only.value_or(lineage), moment, before);
  if (plan || !before.all || only) return plan;
  TILLSYNC_LET(const auto older, epochs_before(store, lineage));
  uint64_t later = lineage.epoch;
  std::string but = before.but;
  for (auto& epoch : older) {
    auto found = plan_in_epoch(store, epoch, moment, before);
    if (!found && before.all) {
      but += before.but;
      later = epoch.epoch;
      continue;
    }
    if (found)
      found->note += std::string(found->note.empty() ? "" : "; ") + "of epoch " + std::to_string(epoch.epoch) +
                     ", before the terminal began epoch " + std::to_string(later) + but;
    return found;
  }
  return plan;
}

Result<std::optional<RestorePlan>> plan_between(ObjectStore& store, const Lineage& lineage, SnapshotChain from,
                                                const Manifest& to) {
  RestorePlan plan;
  plan.lineage = lineage;
  plan.chain = std::move(from);
  plan.transaction = to.transaction;
  plan.sequence = to.sequence;
  if (plan.chain.target().sequence >= to.sequence) return std::optional<RestorePlan>();
  LogReader reader(store, lineage);
  TILLSYNC_LET(plan.all_segments, reader.list());
  if (plan.all_segments.empty() || plan.all_segments.back().last < to.sequence) return std::optional<RestorePlan>();
  if (is_cut_off(reader, plan.chain.target().sequence)) return std::optional<RestorePlan>();
  TILLSYNC_TRY(choose_segments(plan));
  return std::optional<RestorePlan>(std::move(plan));
}

}  // namespace tillsync
