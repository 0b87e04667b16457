#include "prune/prune_run.h"

#include "ports/object_keys.h"

namespace tillsync {

namespace {

class Run {
 public:
  Run(ObjectStore& store, const PrunePlan& plan, Random& random, const PruneHooks& hooks)
      : store_(store), plan_(plan), random_(random), hooks_(hooks), kept_packs_(plan.kept_packs) {}

  Result<void> run() {
    for (auto& one : plan_.lineages) total_ += one.manifests.size() + one.packs.size() + one.log.size();
    if (total_ == 0) return {};
    if (!store_.properties().may_delete)
      return Error{ErrorKind::denied, 0,
                   "this store does not let us delete; prune with a key that may (tillsync prune --store …)"};
    if (hooks_.before_removal) TILLSYNC_TRY(hooks_.before_removal(plan_));
    for (auto& one : plan_.lineages)
      if (one.anchor) TILLSYNC_TRY(put_anchor(one));
    for (auto& one : plan_.lineages)
      for (auto& object : one.manifests) TILLSYNC_TRY(remove(object));
    for (auto& one : plan_.lineages) TILLSYNC_TRY(look_again(one));
    for (auto& one : plan_.lineages)
      for (auto& object : one.packs)
        if (!kept_packs_.contains(object.key)) TILLSYNC_TRY(remove(object));
    for (auto& one : plan_.lineages)
      for (auto& object : one.log) TILLSYNC_TRY(remove(object));
    return {};
  }

 private:
  Result<void> remove(const PruneObject& object) {
    if (hooks_.progress && !hooks_.progress(done_, total_)) return Error{ErrorKind::cancelled, 0, "interrupted"};
    TILLSYNC_TRY(store_.remove(object.key).with("prune"));
    done_++;
    return {};
  }

  Result<void> put_anchor(const LineagePrune& one) {
    const std::string key = keys::anchor(prefix_of(one.lineage), one.anchor->first_sequence);
    const Bytes object = one.anchor->encode(one.lineage, random_);
    BytesSource source(object);
    auto done = store_.put(key, source);
    if (done || done.error().kind != ErrorKind::conflict) return done;
    // Somebody else prunes as well, or the answer to an earlier put was lost: the same begin is as good.
    TILLSYNC_LET(Bytes there, read_object(store_, key, uint64_t{256} << 20));
    TILLSYNC_LET(LogAnchor other, LogAnchor::decode(there, key, one.lineage));
    if (other.previous == one.anchor->previous) return {};
    return Error{ErrorKind::conflict, 0, key + ": another anchor is there, of another log"};
  }

  Result<void> look_again(const LineagePrune& one) {
    std::set<Uuid> known;
    for (auto& point : one.keep) known.insert(point.uuid);
    TILLSYNC_LET(auto there, list_snapshots(store_, one.lineage));
    for (auto& uuid : there) {
      if (known.contains(uuid)) continue;
      auto manifest = read_manifest(store_, one.lineage, uuid);
      if (!manifest)
        return Error{ErrorKind::conflict, 0,
                     "a snapshot came while pruning, and no pack is removed because its manifest can't be read: " +
                         manifest.error().context};
      for (auto& pack : manifest->packs) kept_packs_.insert(pack.key);
    }
    return {};
  }

  ObjectStore& store_;
  const PrunePlan& plan_;
  Random& random_;
  const PruneHooks& hooks_;
  std::set<std::string> kept_packs_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<void> run_prune(ObjectStore& store, const PrunePlan& plan, Random& random, const PruneHooks& hooks) {
  return Run(store, plan, random, hooks).run();
}

}  // namespace tillsync
