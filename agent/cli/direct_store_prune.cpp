// prune, without an agent: by age alone, because nobody here knows of backups under way.
#include "agent/cli/direct_store.h"
#include "agent/cli/step_progress.h"
#include "agent/cli/text.h"
#include "prune/asset_prune.h"
#include "prune/prune_run.h"
#include "snapshot/epochs.h"

namespace tillsync {

// The terminal knows best how long its backups are to be kept, and writes it into each of its snapshots.
Result<RetentionPolicy> DirectStore::retention_of(const std::string& database, const Json& params) {
  const Json& given = member(params, "retention");
  if (!given.is_null()) return retention_from_json(given);
  TILLSYNC_LET(auto epochs, list_epochs(*store_, terminal_, database));
  for (auto epoch = epochs.rbegin(); epoch != epochs.rend(); ++epoch) {
    TILLSYNC_LET(const auto snapshots, list_snapshots(*store_, *epoch));
    if (snapshots.empty()) continue;
    auto manifest = read_manifest(*store_, *epoch, snapshots.back());
    // One that can't be read is the plan's to report.
    if (!manifest) break;
    auto stated = retention_from_json(member(manifest->configuration, "retention"));
    if (stated) return stated;
    break;
  }
  return configured_;
}

Result<Json> DirectStore::prune(const Json& params, const Progress& tell) {
  TILLSYNC_LET(const auto found, databases(params));
  const bool dry_run = flag_in(params, "dry_run");
  Json documents = Json::array();
  std::set<Uuid> going;
  StepProgress progress(tell, clock_);
  for (const auto& lineage : found) {
    if (!progress.begin("PRUNE " + lineage.database)) return Error{ErrorKind::cancelled, 0, "interrupted"};
    PruneRequest request;
    TILLSYNC_LET(request.policy, retention_of(lineage.database, params));
    request.now = clock_.now();
    request.can_sign = !terminal_.keys || terminal_.keys->signer;
    request.is_wanted = [&] { return progress.show(0, 0, 0); };
    TILLSYNC_LET(const PrunePlan plan, plan_prune(*store_, terminal_, lineage.database, request));
    PruneHooks hooks;
    hooks.progress = [&](uint64_t done, uint64_t) { return progress.show(done, 0, 0); };
    for (auto& one : plan.lineages) going.insert(one.remove.begin(), one.remove.end());
    if (!dry_run) TILLSYNC_TRY(run_prune(*store_, plan, random_, hooks));
    documents.push_back(to_json(plan, !dry_run));
  }
  if (!progress.begin("PRUNE_ASSETS")) return Error{ErrorKind::cancelled, 0, "interrupted"};
  AssetPruneRequest request;
  request.now = clock_.now();
  request.is_wanted = [&] { return progress.show(0, 0, 0); };
  request.going = std::move(going);
  TILLSYNC_LET(AssetPrunePlan assets, plan_asset_prune(*store_, terminal_, request));
  Json document = to_json(assets, !dry_run);
  AssetPruneHooks hooks;
  hooks.progress = [&](uint64_t done, uint64_t) { return progress.show(done, 0, 0); };
  if (!dry_run) TILLSYNC_TRY(run_asset_prune(*store_, std::move(assets), hooks));
  return Json{{"dry_run", dry_run}, {"databases", std::move(documents)}, {"assets", std::move(document)}};
}

}  // namespace tillsync
