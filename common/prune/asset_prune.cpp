#include "prune/asset_prune.h"

#include "assets/asset_reference.h"
#include "ports/object_keys.h"
#include "snapshot/epochs.h"

namespace tillsync {

namespace {

Result<std::vector<Lineage>> list_lineages(ObjectStore& store, const TerminalRef& terminal) {
  std::vector<Lineage> all;
  TILLSYNC_LET(auto folders, list_folders(store, keys::terminal_prefix(terminal)));
  for (auto& folder : folders) {
    auto name = keys::unescaped(folder);
    if (!name) continue;
    TILLSYNC_LET(auto epochs, list_epochs(store, terminal, *name));
    all.insert(all.end(), epochs.begin(), epochs.end());
  }
  return all;
}

class Marker {
 public:
  Marker(ObjectStore& store, AssetPrunePlan& plan) : store_(store), plan_(plan) {}

  Result<void> mark(const AssetPruneRequest* request) {
    TILLSYNC_LET(auto lineages, list_lineages(store_, plan_.terminal));
    for (auto& lineage : lineages) {
      TILLSYNC_LET(auto snapshots, list_snapshots(store_, lineage));
      for (auto& uuid : snapshots) {
        if (request && request->is_wanted && !request->is_wanted())
          return Error{ErrorKind::cancelled, 0, "interrupted"};
        if (request && request->going.contains(uuid)) continue;
        if (!plan_.snapshots.insert(uuid).second) continue;
        TILLSYNC_TRY(keep(lineage, uuid));
      }
    }
    return {};
  }

 private:
  Result<void> keep(const Lineage& lineage, const Uuid& uuid) {
    auto manifest = read_manifest(store_, lineage, uuid);
    if (!manifest) return problem(manifest.error());
    auto assets = assets_of(*manifest);
    if (!assets) return problem(assets.error());
    // Most snapshots share their trees.
    bool known = true;
    for (auto& asset : *assets)
      if (asset.tree) known = known && trees_.contains(asset.tree->sha256);
    if (known) return {};
    auto objects = asset_objects(store_, *manifest);
    if (!objects) return problem(objects.error());
    plan_.kept.insert(objects->begin(), objects->end());
    for (auto& asset : *assets)
      if (asset.tree) trees_.insert(asset.tree->sha256);
    return {};
  }

  // What says something about the data; the rest is an error of the way to it.
  Result<void> problem(const Error& error) {
    if (error.kind != ErrorKind::corrupt && error.kind != ErrorKind::not_found) return error;
    plan_.problems.push_back(error.context);
    return {};
  }

  ObjectStore& store_;
  AssetPrunePlan& plan_;
  std::set<Digest> trees_;
};

}  // namespace

Result<AssetPrunePlan> plan_asset_prune(ObjectStore& store, const TerminalRef& terminal,
                                        const AssetPruneRequest& request) {
  AssetPrunePlan plan;
  plan.terminal = terminal;
  // Listed first: what is put after it is not even looked at.
  std::vector<ObjectInfo> there;
  TILLSYNC_TRY(for_each_object(store, keys::assets_prefix(terminal), [&](const ObjectInfo& object) -> Result<void> {
    if (keys::sha256_of_asset(object.key)) there.push_back(object);
    return {};
  }));
  if (there.empty()) return plan;
  TILLSYNC_TRY(Marker(store, plan).mark(&request));
  if (!plan.problems.empty()) return plan;
  for (auto& object : there) {
    if (plan.kept.contains(object.key)) continue;
    const bool old = object.modified_at && *object.modified_at + request.orphan_age <= request.now;
    if (!old) {
      plan.young++;
      plan.young_bytes += object.size;
      continue;
    }
    plan.remove.push_back({PruneKind::asset, object.key, object.size, "no snapshot needs it"});
  }
  return plan;
}

Result<void> run_asset_prune(ObjectStore& store, AssetPrunePlan plan, const AssetPruneHooks& hooks) {
  if (plan.remove.empty()) return {};
  if (!store.properties().may_delete)
    return Error{ErrorKind::denied, 0,
                 "this store does not let us delete; prune with a key that may (tillsync prune --store …)"};
  if (hooks.before_removal) TILLSYNC_TRY(hooks.before_removal(plan.remove));
  TILLSYNC_TRY(Marker(store, plan).mark(nullptr));
  if (!plan.problems.empty())
    return Error{
        ErrorKind::conflict, 0,
        "a snapshot came while pruning, and no asset is removed because it can't be read: " + plan.problems.front()};
  uint64_t done = 0;
  for (auto& object : plan.remove) {
    if (plan.kept.contains(object.key)) continue;
    if (hooks.progress && !hooks.progress(done, plan.remove.size()))
      return Error{ErrorKind::cancelled, 0, "interrupted"};
    TILLSYNC_TRY(store.remove(object.key).with("prune"));
    done++;
  }
  return {};
}

Json to_json(const AssetPrunePlan& plan, bool removed) {
  uint64_t bytes = 0;
  for (auto& object : plan.remove) bytes += object.size;
  return {{"removed", removed},
          {"kept", plan.kept.size()},
          {"objects", plan.remove.size()},
          {"bytes", bytes},
          {"young", {{"count", plan.young}, {"bytes", plan.young_bytes}}},
          {"problems", plan.problems}};
}

}  // namespace tillsync
