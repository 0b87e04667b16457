#include "agent/daemon/pruner.h"

#include "agent/config/retention_policy.h"
#include "agent/daemon/log_begin.h"
#include "agent/daemon/store_plans.h"
#include "agent/logging/log.h"
#include "assets/asset_memory.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {
constexpr std::chrono::hours kInterval{1}, kAssetInterval{24};
// Beside what the agent knows of its own backups: another agent may write here, on a till that was cloned.
constexpr std::chrono::hours kOrphanAge{24};
}  // namespace

Result<Json> Pruner::each(const std::string& wanted, const std::function<Result<Json>(const Database&)>& work) {
  Json documents = Json::array();
  for (auto& database : databases_) {
    if (!wanted.empty() && database.name != wanted) continue;
    TILLSYNC_LET(Json document, work(database).with("database '" + database.name + "'"));
    documents.push_back(std::move(document));
  }
  if (!wanted.empty() && documents.empty())
    return Error{ErrorKind::usage, 0, "there is no database '" + wanted + "' in the configuration"};
  return documents;
}

Result<Json> Pruner::show(const std::string& wanted) {
  std::set<Uuid> going;
  TILLSYNC_LET(Json databases, each(wanted, [&](const Database& database) -> Result<Json> {
                 TILLSYNC_LET(const PrunePlan decided, plan(database));
                 for (auto& one : decided.lineages) going.insert(one.remove.begin(), one.remove.end());
                 return to_json(decided, false);
               }));
  std::vector<std::string> problems;
  TILLSYNC_LET(Json assets, prune_assets(true, std::move(going), problems));
  return Json{{"dry_run", true}, {"databases", std::move(databases)}, {"assets", std::move(assets)}};
}

// Steps that have captured assets name objects that no snapshot names yet.
Result<bool> Pruner::assets_are_in_use() {
  auto db = services_.state->lease();
  TILLSYNC_LET(int64_t count,
               db->query_integer("SELECT count(*) FROM workflow_steps s JOIN workflows w ON w.id=s.workflow_id WHERE "
                                 "w.status IN ('PENDING', 'IN_PROGRESS') AND w.type='BACKUP' AND "
                                 "s.step_type='CAPTURE_CONFIGURATION' AND s.status IN ('IN_PROGRESS', 'COMPLETED')"));
  return count > 0;
}

Result<Json> Pruner::prune_assets(bool dry_run, std::set<Uuid> going, std::vector<std::string>& problems) {
  TILLSYNC_LET(bool in_use, assets_are_in_use());
  if (in_use) return Json(nullptr);
  AssetPruneRequest request;
  request.now = services_.clock->now();
  request.orphan_age = kOrphanAge;
  request.going = std::move(going);
  request.is_wanted = [this] { return !stopping_; };
  TILLSYNC_LET(AssetPrunePlan decided, plan_asset_prune(*services_.store, services_.terminal, request));
  for (auto& problem : decided.problems) problems.push_back("assets: " + problem);
  Json document = to_json(decided, !dry_run);
  if (dry_run) return document;
  AssetPruneHooks hooks;
  hooks.before_removal = [this](const std::vector<PruneObject>& objects) -> Result<void> {
    {
      auto db = services_.state->lease();
      TILLSYNC_LET(auto transaction, Transaction::begin(*db));
      for (auto& object : objects) TILLSYNC_TRY(forget_asset_object(*db, *keys::sha256_of_asset(object.key)));
      TILLSYNC_TRY(transaction.commit());
    }
    return services_.state->make_durable();
  };
  hooks.progress = [this](uint64_t, uint64_t) { return !stopping_; };
  TILLSYNC_TRY(run_asset_prune(*services_.store, std::move(decided), hooks));
  if (document["objects"] > 0)
    log::info("assets: pruned {} objects of {} bytes", document["objects"].get<uint64_t>(),
              document["bytes"].get<uint64_t>());
  return document;
}

Result<Json> Pruner::prune(const std::string& wanted, bool with_assets) {
  std::vector<std::string> problems;
  auto databases = each(wanted, [&](const Database& database) -> Result<Json> {
    StorePlans::Lock lock;
    if (services_.plans) lock = services_.plans->for_prune();
    TILLSYNC_LET(const PrunePlan decided, plan(database));
    for (auto& problem : decided.problems) problems.push_back(database.name + ": " + problem);
    PruneHooks hooks;
    hooks.before_removal = [&](const PrunePlan& what) { return forget(database, what); };
    hooks.progress = [this](uint64_t, uint64_t) { return may_go_on(); };
    TILLSYNC_TRY(run_prune(*services_.store, decided, *services_.random, hooks));
    Json document = to_json(decided, true);
    if (document["objects"] > 0)
      log::info("{}: pruned {} objects of {} bytes; {} snapshots stay", database.name,
                document["objects"].get<uint64_t>(), document["bytes"].get<uint64_t>(), document["keep"].size());
    return document;
  });
  if (databases && services_.store->properties().may_delete) {
    const Timestamp before = services_.clock->now() - kOrphanAge;
    for (auto& prefix :
         {keys::terminal_prefix(services_.terminal), keys::terminal_name(services_.config->terminal.name)}) {
      auto swept = services_.store->remove_unfinished(prefix, before);
      if (!swept) problems.push_back(swept.error().context);
    }
  }
  if (!databases) problems.push_back(databases.error().context);
  Json assets;
  if (databases && with_assets) {
    auto pruned = prune_assets(false, {}, problems);
    if (pruned)
      assets = std::move(*pruned);
    else if (pruned.error().kind != ErrorKind::cancelled)
      problems.push_back("assets: " + pruned.error().context);
  }
  {
    std::lock_guard lock(mutex_);
    problems_ = problems;
  }
  if (!databases) return std::move(databases).error();
  return Json{{"dry_run", false}, {"databases", std::move(*databases)}, {"assets", std::move(assets)}};
}

void Pruner::prune_if_due() {
  const auto now = services_.clock->steady_now();
  if (stopping_) return;
  if (services_.is_write_only() || !services_.store->properties().may_delete) {
    if (!last_begins_ || now - *last_begins_ >= kInterval) move_log_begins();
    return;
  }
  if (last_ && now - *last_ < kInterval) return;
  last_ = now;
  const bool with_assets = !last_assets_ || now - *last_assets_ >= kAssetInterval;
  if (with_assets) last_assets_ = now;
  auto done = prune("", with_assets);
  // A restore came first: after the next backup, then.
  if (!done && done.error().kind == ErrorKind::cancelled) last_.reset(), last_assets_.reset();
  if (!done && done.error().kind != ErrorKind::cancelled) log::warn("prune: {}", done.error().context);
  for (auto& problem : problems()) log::warn("prune: {}", problem);
}

void Pruner::move_log_begins() {
  last_begins_ = services_.clock->steady_now();
  StorePlans::Lock lock;
  if (services_.plans) lock = services_.plans->for_prune();
  for (auto& database : databases_) {
    // Which snapshot a restore goes by is not looked at: none of it moves under a restore.
    if (!may_go_on() || (pinned_ && !pinned_(database.name).empty())) continue;
    auto moved = move_log_begin(services_, database.id, database.name);
    if (!moved)
      log::warn("{}: where its log begins: {}", database.name, moved.error().context);
    else if (*moved)
      log::info("{}: its log begins at sequence {} now; what lies before it can be pruned", database.name, **moved);
  }
}

std::vector<std::string> Pruner::problems() {
  std::lock_guard lock(mutex_);
  return problems_;
}

Result<PrunePlan> Pruner::plan(const Database& database) {
  PruneRequest request;
  request.policy = policy_of(services_.config->retention);
  request.now = services_.clock->now();
  request.orphan_age = kOrphanAge;
  request.is_wanted = [this] { return may_go_on(); };
  TILLSYNC_TRY(add_pins(database, request));
  SnapshotCache cache;
  {
    std::lock_guard lock(mutex_);
    cache = cache_;
  }
  TILLSYNC_LET(PrunePlan decided, plan_prune(*services_.store, services_.terminal, database.name, request, &cache));
  std::lock_guard lock(mutex_);
  cache_.merge(cache);
  for (auto& one : decided.lineages)
    for (auto& object : one.manifests) cache_.erase(object.key);
  return decided;
}

bool Pruner::may_go_on() const { return !stopping_ && (!services_.plans || services_.plans->prune_may_go_on()); }

// Of a backup that was not packed yet nothing but its name and where it goes on from is decided. One that has put its
// manifest and still has to look at it stays too, also when others overtook it.
Result<void> Pruner::add_pins(const Database& database, PruneRequest& request) {
  if (pinned_) request.replayed_snapshots = pinned_(database.name);
  auto db = services_.state->lease();
  TILLSYNC_LET(
      auto steps,
      db->prepare("SELECT s.step_type, s.data, w.data->>'$.snapshot_uuid' FROM workflow_steps s JOIN workflows w ON "
                  "w.id=s.workflow_id JOIN backup_sessions b ON b.workflow_uuid=w.uuid WHERE "
                  "w.status IN ('PENDING', 'IN_PROGRESS') AND s.status='COMPLETED' AND "
                  "b.database_id=?"));
  steps.bind(1, database.id);
  while (true) {
    TILLSYNC_LET(bool row, steps.step());
    if (!row) return {};
    const Json data = Json::parse(steps.text(1), nullptr, false);
    if (steps.text(0) == "INITIALIZE_BACKUP") {
      for (const char* field : {"from", "parent"}) {
        auto uuid = Uuid::parse(data.value(field, ""));
        if (uuid) request.pinned_snapshots.insert(*uuid);
      }
      if (auto own = Uuid::parse(steps.text(2))) request.pinned_snapshots.insert(*own);
    } else if (steps.text(0) == "CAPTURE_TABLE_DATA") {
      if (!data.contains("refers"))
        return Error{ErrorKind::conflict, 0, "a backup is under way that an earlier version began; prune after it"};
      for (auto& key : data["refers"]) request.pinned_packs.insert(key.get<std::string>());
    }
  }
}

Result<void> Pruner::forget(const Database& database, const PrunePlan& plan) {
  Json snapshots = Json::array(), packs = Json::array();
  Sequence log_begins = 0;
  for (auto& one : plan.lineages) {
    for (auto& uuid : one.remove) snapshots.push_back(uuid.str());
    for (auto& object : one.packs) packs.push_back(object.key);
    if (one.anchor && one.lineage.epoch == services_.epoch) log_begins = one.anchor->first_sequence;
  }
  {
    auto db = services_.state->lease();
    TILLSYNC_LET(auto transaction, Transaction::begin(*db));
    TILLSYNC_LET(auto rows, db->prepare("DELETE FROM snapshots WHERE uuid IN (SELECT value FROM json_each(?))"));
    TILLSYNC_TRY(rows.bind(1, snapshots.dump()).run());
    TILLSYNC_LET(auto blocks, db->prepare("DELETE FROM stored_blocks WHERE database_id=? AND pack_key IN (SELECT value "
                                          "FROM json_each(?))"));
    TILLSYNC_TRY(blocks.bind(1, database.id).bind(2, packs.dump()).run());
    if (log_begins > 0) {
      TILLSYNC_LET(auto segments,
                   db->prepare("DELETE FROM segments WHERE id BETWEEN ? AND ? AND durable_at IS NOT NULL"));
      TILLSYNC_TRY(segments.bind(1, scoped_id(database.id, 0)).bind(2, scoped_id(database.id, log_begins - 1)).run());
    }
    TILLSYNC_TRY(transaction.commit());
  }
  // A power cut must not bring back what the store has no longer.
  return services_.state->make_durable();
}

}  // namespace tillsync
