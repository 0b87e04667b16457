#include "prune/prune_plan.h"

#include <algorithm>

#include "actionlog/log_verifier.h"
#include "ports/object_keys.h"
#include "prune/log_window.h"
#include "snapshot/epochs.h"

namespace tillsync {

namespace {

class Planner {
 public:
  Planner(ObjectStore& store, const PruneRequest& request, SnapshotCache* cache)
      : store_(store), request_(request), cache_(cache) {}

  Result<PrunePlan> run(const TerminalRef& terminal, const std::string& database) {
    plan_.terminal = terminal;
    plan_.database = database;
    plan_.policy = request_.policy;
    TILLSYNC_LET(auto epochs, list_epochs(store_, terminal, database));
    for (auto& lineage : epochs) {
      LineagePrune& one = plan_.lineages.emplace_back();
      one.lineage = lineage;
      TILLSYNC_TRY(read_snapshots(one));
    }
    if (!plan_.problems.empty()) return nothing();
    std::vector<RestorePoint> points;
    for (auto& [key, known] : snapshots_) points.push_back(known.point);
    RetentionRules rules(std::move(points));
    rules.apply_windows(request_.policy);
    for (auto& uuid : request_.pinned_snapshots)
      if (find(uuid)) rules.keep(uuid, "a backup under way goes on from it");
    for (auto& uuid : request_.replayed_snapshots)
      if (find(uuid)) rules.keep(uuid, "a restore under way goes by it");
    for (auto& one : plan_.lineages) TILLSYNC_TRY(plan_log(one, rules));
    auto closed = rules.close_chains();
    if (!closed) {
      plan_.problems.push_back(closed.error().context);
      return nothing();
    }
    plan_.kept = rules.kept();
    for (auto& point : rules.points()) {
      auto one = std::find_if(plan_.lineages.begin(), plan_.lineages.end(),
                              [&](auto& l) { return l.lineage.epoch == point.epoch; });
      if (plan_.kept.contains(point.uuid))
        one->keep.push_back(point);
      else
        one->remove.insert(point.uuid);
    }
    for (auto& [key, known] : snapshots_) {
      auto& packs = plan_.kept.contains(known.point.uuid) ? plan_.kept_packs : freed_;
      packs.insert(known.packs.begin(), known.packs.end());
    }
    for (auto& one : plan_.lineages) {
      sweep_manifests(one, rules);
      TILLSYNC_TRY(sweep_packs(one));
      finish_log(one);
    }
    return std::move(plan_);
  }

 private:
  Result<PrunePlan> nothing() {
    for (auto& one : plan_.lineages) {
      LineagePrune empty;
      empty.lineage = one.lineage;
      one = std::move(empty);
    }
    return std::move(plan_);
  }

  const KnownSnapshot* find(const Uuid& uuid) const {
    for (auto& one : plan_.lineages) {
      auto it = snapshots_.find(keys::manifest(prefix_of(one.lineage), uuid));
      if (it != snapshots_.end()) return &it->second;
    }
    return nullptr;
  }

  Result<void> read_snapshots(LineagePrune& one) {
    return for_each_object(store_, keys::snapshots_prefix(prefix_of(one.lineage)),
                           [&](const ObjectInfo& object) -> Result<void> {
                             sizes_[object.key] = object.size;
                             if (keys::snapshot_of_verified(object.key)) marks_.push_back(object.key);
                             auto uuid = keys::snapshot_of_manifest(object.key);
                             if (!uuid) return {};
                             if (cache_) {
                               auto known = cache_->find(object.key);
                               if (known != cache_->end()) {
                                 snapshots_.insert(*known);
                                 return {};
                               }
                             }
                             if (request_.is_wanted && !request_.is_wanted())
                               return Error{ErrorKind::cancelled, 0, "interrupted"};
                             auto manifest = read_manifest(store_, one.lineage, *uuid);
                             if (!manifest && !is_about_data(manifest.error())) return std::move(manifest).error();
                             if (!manifest) {
                               plan_.problems.push_back(manifest.error().context);
                               return {};
                             }
                             KnownSnapshot known{RestorePoint::of(*manifest), {}};
                             for (auto& pack : manifest->packs) known.packs.push_back(pack.key);
                             if (cache_) (*cache_)[object.key] = known;
                             snapshots_[object.key] = std::move(known);
                             return {};
                           });
  }

  // Finds where the log begins from now on, and keeps the snapshots that it is replayed from.
  Result<void> plan_log(LineagePrune& one, RetentionRules& rules) {
    auto done = [&]() -> Result<void> {
      TILLSYNC_LET(LogWindow log, LogWindow::open(store_, one.lineage));
      const RestorePoint* newest = rules.newest();
      size_t keep_from = 0;
      std::vector<Sequence> barriers;
      // The newest moment there is may be in the log alone, and a log that has no snapshot yet waits for its first.
      const bool is_old = newest && one.lineage.epoch < newest->epoch;
      const bool has_snapshots = std::any_of(rules.points().begin(), rules.points().end(),
                                             [&](auto& p) { return p.epoch == one.lineage.epoch && !p.page_level; });
      if (newest && (has_snapshots || is_old) && !log.segments().empty()) {
        // From the newest moment and not from now: a clock that runs ahead, or a till that stands still, cuts nothing
        // off.
        const Timestamp since = std::min(request_.now, newest->captured_at) - request_.policy.log;
        TILLSYNC_LET(keep_from, log.first_since(since));
        const bool outside = keep_from == log.segments().size();
        if (!is_old || !outside) {
          const RestorePoint* base = rules.base_at(one.lineage.epoch, since);
          for (auto& p : rules.points())
            if (!base && p.epoch == one.lineage.epoch && !p.page_level) base = &p;
          if (base) keep_from = std::min(keep_from, log.first_reaching(base->sequence + 1));
          // Of the log that goes on, its last segment stays: the next one follows it.
          if (!is_old && keep_from == log.segments().size() && keep_from > 0) keep_from--;
          TILLSYNC_LET(barriers, log.barriers(keep_from));
          rules.keep_for_log(one.lineage.epoch, since, barriers);
        }
        keep_from = std::min(keep_from, first_replayed(one.lineage.epoch, log));
      }
      return cut(one, log, keep_from);
    }();
    if (!done && !is_about_data(done.error())) return done;
    if (!done) {
      one.log.clear();
      one.anchor.reset();
      plan_.problems.push_back(done.error().context + "; this log stays as it is");
      // What could be replayed is not known: everything it could be replayed from stays.
      for (auto& p : rules.points())
        if (p.epoch == one.lineage.epoch) rules.keep(p.uuid, "its log can't be read");
    }
    return {};
  }

  // Up to which moment is not asked: a restore does not last, and the next prune comes.
  size_t first_replayed(uint64_t epoch, const LogWindow& log) const {
    size_t first = log.segments().size();
    for (auto& uuid : request_.replayed_snapshots) {
      const KnownSnapshot* snapshot = find(uuid);
      if (snapshot && snapshot->point.epoch == epoch)
        first = std::min(first, log.first_reaching(snapshot->point.sequence + 1));
    }
    return first;
  }

  Result<void> cut(LineagePrune& one, LogWindow& log, size_t keep_from) {
    for (auto& segment : log.leftovers())
      one.log.push_back({PruneKind::segment, segment.key, segment.size, "left over: before the begin of the log",
                         std::pair(segment.first, segment.last)});
    if (keep_from > 0 && !request_.can_sign) {
      plan_.notes.push_back(std::to_string(keep_from) + " segments of epoch " + std::to_string(one.lineage.epoch) +
                            " are older than retention.log, and stay until the terminal has signed that its log begins "
                            "after them: its agent does so after a backup, at most once an hour");
      keep_from = 0;
    }
    if (keep_from > 0) {
      TILLSYNC_LET(one.anchor, log.anchor_at(keep_from, request_.now));
      for (size_t i = 0; i < keep_from; i++) {
        const SegmentObject& segment = log.segments()[i];
        one.log.push_back({PruneKind::segment, segment.key, segment.size, "older than retention.log",
                           std::pair(segment.first, segment.last)});
      }
    }
    if (request_.replayed_snapshots.empty()) {
      TILLSYNC_LET(const auto parts, log.merged_parts(request_.now - request_.merged_age));
      for (auto& part : parts)
        one.log.push_back(
            {PruneKind::segment, part.key, part.size, "merged with others", std::pair(part.first, part.last)});
    }
    for (size_t i = 0; i < log.anchors().size(); i++)
      if (one.anchor || i + 1 < log.anchors().size())
        one.log.push_back({PruneKind::anchor, log.anchors()[i].key, log.anchors()[i].size, "a later one counts"});
    if (keep_from == log.segments().size()) emptied_[one.lineage.epoch] = log.anchors();
    return {};
  }

  // An epoch without snapshots and without a log needs no anchor.
  void finish_log(LineagePrune& one) {
    auto emptied = emptied_.find(one.lineage.epoch);
    if (emptied == emptied_.end() || !one.keep.empty()) return;
    const std::string why = "nothing of its log is left";
    if (one.anchor)
      one.log.push_back({PruneKind::anchor, keys::anchor(prefix_of(one.lineage), one.anchor->first_sequence), 0, why});
    else if (!emptied->second.empty())
      one.log.push_back({PruneKind::anchor, emptied->second.back().key, emptied->second.back().size, why});
  }

  void sweep_manifests(LineagePrune& one, const RetentionRules& rules) {
    const std::string prefix = prefix_of(one.lineage);
    std::set<std::string> marks;
    for (auto& key : marks_)
      if (key.starts_with(prefix)) marks.insert(key);
    auto& points = rules.points();
    for (auto p = points.rbegin(); p != points.rend(); ++p) {
      if (p->epoch != one.lineage.epoch) continue;
      const std::string key = keys::manifest(prefix, p->uuid), mark = keys::verified(prefix, p->uuid);
      if (one.remove.contains(p->uuid)) {
        one.manifests.push_back({PruneKind::snapshot, key, sizes_[key], "no window keeps it"});
        if (marks.contains(mark))
          one.manifests.push_back({PruneKind::verified, mark, sizes_[mark], "its snapshot goes"});
      }
      marks.erase(mark);
    }
    for (auto& mark : marks)
      one.manifests.push_back({PruneKind::verified, mark, sizes_[mark], "left over: its snapshot is gone"});
  }

  Result<void> sweep_packs(LineagePrune& one) {
    return for_each_object(
        store_, keys::packs_prefix(prefix_of(one.lineage)), [&](const ObjectInfo& object) -> Result<void> {
          if (!keys::sha256_of_pack(object.key) || plan_.kept_packs.contains(object.key)) return {};
          const bool freed = freed_.contains(object.key);
          // A store that does not say when: never old enough.
          const bool old = object.modified_at && *object.modified_at + request_.orphan_age <= request_.now;
          if (request_.pinned_packs.contains(object.key) || !(freed || old)) {
            plan_.young_packs++;
            plan_.young_bytes += object.size;
            return {};
          }
          one.packs.push_back({PruneKind::pack, object.key, object.size,
                               freed ? "only snapshots that go refer to it" : "left over: no snapshot refers to it"});
          return {};
        });
  }

  ObjectStore& store_;
  const PruneRequest& request_;
  SnapshotCache* cache_;
  PrunePlan plan_;
  SnapshotCache snapshots_;
  std::map<std::string, uint64_t> sizes_;
  std::vector<std::string> marks_;
  std::set<std::string> freed_;
  std::map<uint64_t, std::vector<ObjectInfo>> emptied_;  // epochs without a log, and their anchors
};

}  // namespace

std::string_view to_string(PruneKind kind) {
  switch (kind) {
    case PruneKind::snapshot: return "snapshot";
    case PruneKind::verified: return "verified";
    case PruneKind::pack: return "pack";
    case PruneKind::segment: return "segment";
    case PruneKind::anchor: return "anchor";
    case PruneKind::asset: return "asset";
  }
  return "";
}

Result<PrunePlan> plan_prune(ObjectStore& store, const TerminalRef& terminal, const std::string& database,
                             const PruneRequest& request, SnapshotCache* cache) {
  return Planner(store, request, cache).run(terminal, database);
}

}  // namespace tillsync
