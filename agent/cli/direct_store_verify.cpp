// verify and log verify: what is in the store, against its proofs.
#include <algorithm>

#include "actionlog/log_verifier.h"
#include "agent/cli/direct_store.h"
#include "agent/cli/private_folder.h"
#include "agent/cli/step_progress.h"
#include "agent/cli/text.h"
#include "restore/verification.h"

namespace tillsync {

namespace {

Json entry_of(const SnapshotVerdict& verdict) {
  Json entry{
      {"uuid", verdict.snapshot.str()}, {"type", nullptr}, {"ok", !verdict.error}, {"bytes", verdict.bytes_read}};
  if (verdict.type) entry["type"] = to_string(*verdict.type);
  if (verdict.error) entry["error"] = verdict.error->context;
  return entry;
}

bool all_ok(const Json& entries) {
  for (const auto& entry : entries)
    if (!flag_in(entry, "ok")) return false;
  return true;
}

}  // namespace

Result<void> DirectStore::verify_database(const Lineage& lineage, const Json& params, const Progress& tell,
                                          Json& snapshots) {
  const std::string asked = text_in(params, "snapshot");
  const bool data = flag_in(params, "data");
  std::vector<Uuid> uuids;
  if (asked.empty()) {
    TILLSYNC_LET(uuids, list_snapshots(*store_, lineage));
  } else {
    TILLSYNC_LET(const Uuid one, Uuid::parse(asked));
    uuids.push_back(one);
  }
  TILLSYNC_LET(const auto folder, PrivateFolder::make(data ? PrivateFolder::parent_for(-1) : ""));
  SnapshotVerifier verifier(*store_, lineage, files_, vfs_.name(), folder.path() + "/database");
  StepProgress progress(tell, clock_);
  for (const auto& uuid : uuids) {
    if (!progress.begin("VERIFY_SNAPSHOT " + uuid.str())) return Error{ErrorKind::cancelled, 0, "interrupted"};
    const auto show = [&](uint64_t bytes, uint64_t total) { return progress.show(snapshots.size(), bytes, total); };
    TILLSYNC_LET(const SnapshotVerdict verdict, data ? verifier.prove(uuid, show) : verifier.check(uuid));
    if (verdict.error && asked.empty()) {
      // A prune may run beside it: what is missing counts only while its manifest is still there.
      TILLSYNC_LET(const auto there, list_snapshots(*store_, lineage));
      if (std::find(there.begin(), there.end(), uuid) == there.end()) continue;
    }
    Json entry = entry_of(verdict);
    if (data && !verdict.error) {
      TILLSYNC_LET(const Manifest manifest, read_manifest(*store_, lineage, uuid));
      VerifiedMark mark{uuid, manifest.checksum, clock_.now(), verdict.replay_proven ? "replay" : "read-back",
                        verdict.bytes_read};
      entry["method"] = mark.method;
      // Who may only read the store, or can't sign for the terminal, has still proven it.
      const bool may_sign = !terminal_.keys || terminal_.keys->signer;
      auto marked = may_sign ? put_verified(*store_, manifest, mark, random_)
                             : Result<void>(Error{ErrorKind::denied, 0, "no signing key"});
      if (!marked && marked.error().kind != ErrorKind::denied) return marked;
      entry["marked"] = marked.has_value();
    }
    snapshots.push_back(std::move(entry));
  }
  return {};
}

Result<Json> DirectStore::verify(const Json& params, const Progress& progress) {
  TILLSYNC_LET(auto lineages, all_epochs(params));
  const std::string asked = text_in(params, "snapshot");
  if (!asked.empty() && lineages.size() > 1) {
    // The one that has it; if none has, the error is that of the last.
    TILLSYNC_LET(const Uuid uuid, Uuid::parse(asked));
    Lineage owner = lineages.back();
    for (const auto& lineage : lineages) {
      TILLSYNC_LET(const auto uuids, list_snapshots(*store_, lineage));
      if (std::find(uuids.begin(), uuids.end(), uuid) != uuids.end()) owner = lineage;
    }
    lineages = {owner};
  }
  Json snapshots = Json::array();
  for (const auto& lineage : lineages) TILLSYNC_TRY(verify_database(lineage, params, progress, snapshots));
  const bool ok = all_ok(snapshots);
  return Json{{"ok", ok}, {"snapshots", std::move(snapshots)}};
}

Result<void> DirectStore::log_verify_database(const Lineage& lineage, const Progress& tell, Json& result) {
  StepProgress progress(tell, clock_);
  if (!progress.begin("VERIFY_LOG " + lineage.database)) return Error{ErrorKind::cancelled, 0, "interrupted"};
  TILLSYNC_LET(const KnownStates known, known_states(*store_, lineage));
  TILLSYNC_LET(const LogVerdict verdict,
               verify_log(*store_, lineage, known, 1, [&](uint64_t items, uint64_t bytes, uint64_t total) {
                 return progress.show(items, bytes, total);
               }));
  for (const auto& segment : verdict.segments) {
    Json entry{{"key", segment.key}, {"ok", !segment.error}, {"proven", segment.proven}};
    if (segment.error) entry["error"] = segment.error->context;
    result["segments"].push_back(std::move(entry));
  }
  return {};
}

Result<Json> DirectStore::log_verify(const Json& params, const Progress& progress) {
  TILLSYNC_LET(const auto lineages, all_epochs(params));
  Json result{{"ok", true}, {"segments", Json::array()}, {"problems", Json::array()}};
  for (const auto& lineage : lineages) TILLSYNC_TRY(log_verify_database(lineage, progress, result));
  result["ok"] = all_ok(result["segments"]);
  return result;
}

}  // namespace tillsync
