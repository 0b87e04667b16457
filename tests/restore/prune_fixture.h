// A till whose store is pruned as it goes.
#pragma once

#include "actionlog/log_verifier.h"
#include "prune/prune_run.h"
#include "restore/restore_fixture.h"
#include "restore/verification.h"

namespace tillsync::test {

struct PrunedTill : RestoreWorld {
  PruneRequest request;
  std::map<Uuid, TransactionNo> taken;  // every snapshot that was ever made

  explicit PrunedTill(const RetentionPolicy& policy) {
    store.set_clock(&clock);
    stored.emplace();
    request.policy = policy;
    request.orphan_age = std::chrono::hours(24);
    run("CREATE TABLE stock(id INTEGER PRIMARY KEY, item TEXT, left INTEGER, note BLOB)");
    run(numbers(40) + "INSERT INTO stock SELECT n, 'item '||n, 100, randomblob(400) FROM g");
    remember();
    take(SnapshotType::full);
  }
  void sell_one() {
    const std::string id = std::to_string(1 + random.below(40));
    sell("UPDATE stock SET left=left-1, note=randomblob(400) WHERE id=" + id);
    seal();
  }
  Manifest take(SnapshotType type) {
    Manifest m = snapshot(type);
    taken[m.uuid] = m.transaction;
    return m;
  }
  PrunePlan plan() {
    request.now = clock.now();
    return must(plan_prune(store, lineage.terminal, lineage.database, request));
  }
  Result<void> try_prune() {
    request.now = clock.now();
    TILLSYNC_LET(auto decided, plan_prune(store, lineage.terminal, lineage.database, request));
    PruneHooks hooks;
    hooks.before_removal = [this](const PrunePlan& p) -> Result<void> {
      std::set<std::string> gone;
      for (auto& one : p.lineages)
        for (auto& object : one.packs) gone.insert(object.key);
      std::erase_if(*stored, [&](auto& block) { return gone.contains(block.second.pack_key); });
      return {};
    };
    return run_prune(store, decided, random, hooks);
  }
  // Restored by its uuid, proven, and as the copy was.
  void check_snapshot(const Uuid& uuid) {
    INFO("snapshot " << uuid.str());
    RestoreMoment moment;
    moment.snapshot = uuid;
    auto outcome = must(try_restore(moment));
    CHECK(outcome.proven);
    auto db = open_staged();
    check_same(dump(db), copies.at(taken.at(uuid)));
  }
  LogVerdict log_verdict() {
    KnownStates known;
    for (auto& m : must(list_manifests(store, lineage))) known[m.sequence] = m.tables;
    return must(verify_log(store, lineage, known, 1));
  }
  void check_log() {
    for (auto& segment : log_verdict().segments)
      if (segment.error) FAIL_CHECK(segment.key << ": " << segment.error->context);
  }
  std::map<std::string, Bytes> contents() {
    std::map<std::string, Bytes> all;
    for (auto& key : store.keys()) all[key] = *store.content(key);
    return all;
  }
  void set_contents(const std::map<std::string, Bytes>& all) {
    for (auto& key : store.keys()) store.erase(key);
    for (auto& [key, bytes] : all) store.set(key, bytes);
  }
  std::vector<std::string> keys_with(std::string_view suffix) {
    std::vector<std::string> out;
    for (auto& key : store.keys())
      if (key.ends_with(suffix)) out.push_back(key);
    return out;
  }
};

}  // namespace tillsync::test
