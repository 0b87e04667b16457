// prune, without an agent: by age alone, because nobody here knows of backups under way.
#include "agent/cli/direct_store.h"
#include "agent/cli/step_progress.h"
#include "agent/cli/text.h"
#include "prune/prune_run.h"

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
  StepProgress progress(tell, clock_);
  for (const auto& lineage : found) {
    if (!progress.begin("PRUNE " + lineage.database)) return Error{ErrorKind::cancelled, 0, "interrupted"};
    PruneRequest request;
    TILLSYNC_LET(request.policy, retention_of(lineage.database, params));
    request.now = clock_.now();
    request.is_wanted = [&] { return progress.show(0, 0, 0); };
    TILLSYNC_LET(const PrunePlan plan, plan_prune(*store_, terminal_, lineage.database, request));
    PruneHooks hooks;
    hooks.progress = [&](uint64_t done, uint64_t) { return progress.show(done, 0, 0); };
    if (!dry_run) TILLSYNC_TRY(run_prune(*store_, plan, random_, hooks));
    documents.push_back(to_json(plan, !dry_run));
  }
  return Json{{"dry_run", dry_run}, {"databases", std::move(documents)}};
}

}  // namespace tillsync
