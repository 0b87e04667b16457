// The last step of a restore drill: what was proven is recorded, and thrown away.

#include "agent/daemon/drill_record.h"
#include "agent/daemon/restore_workflow.h"
#include "agent/logging/log.h"
#include "assets/asset_verifier.h"
#include "snapshot/epochs.h"

namespace tillsync {

// The moment up to which everything is proven: when the log was found complete, or the time of the last transaction.
Result<Timestamp> RestoreWorkflow::proven_until(StepContext& context, const FollowedDatabase& database,
                                                const Json& document, const Manifest& snapshot) const {
  const Json& validated = context.result("VALIDATE_SNAPSHOT");
  const auto transaction = document.at("transaction").get<TransactionNo>();
  if (validated.contains("log_complete_at") && transaction == validated.at("transaction").get<TransactionNo>())
    return from_ms(validated.at("log_complete_at").get<int64_t>());
  auto db = services_.state->lease();
  TILLSYNC_LET(auto query, db->prepare("SELECT captured_at FROM transactions WHERE id=?"));
  query.bind(1, scoped_id(database.id(), transaction));
  TILLSYNC_LET(bool found, query.step());
  return found ? from_ms(query.integer(0)) : snapshot.captured_at;
}

Result<Json> RestoreWorkflow::finish_drill(StepContext& context) {
  TILLSYNC_LET(auto database, database_of(context.data()));
  Json document = context.result("FINAL_VALIDATION");
  document.erase("state");
  if (!document.at("proven").get<bool>())
    return Error{ErrorKind::corrupt, 0, "the restored database could not be proven: " + document.value("note", "")};
  TILLSYNC_LET(Uuid uuid, Uuid::parse(document.at("snapshot_uuid").get<std::string>()));
  TILLSYNC_LET(Manifest manifest, find_manifest(*services_.store, database->lineage(), uuid));
  AssetVerifier assets(*services_.store, services_.terminal);
  TILLSYNC_LET(uint64_t asset_bytes, assets.prove(manifest, [&](uint64_t bytes) {
    context.progress(0, bytes, 0);
    return !context.cancelled();
  }));
  TILLSYNC_TRY(remove_staged(*services_.files, staging_path(context.workflow())));
  DrillSuccess success;
  success.workflow = context.workflow();
  success.finished_at = services_.clock->now();
  success.sequence = document.at("sequence").get<Sequence>();
  success.transaction = document.at("transaction").get<TransactionNo>();
  TILLSYNC_LET(success.restorable_until, proven_until(context, *database, document, manifest));
  context.on_commit([id = database->id(), success](Connection& db) { return record_drill(db, id, success); });
  document["drill"] = true;
  document["asset_bytes"] = asset_bytes;
  document["restorable_until"] = to_rfc3339(success.restorable_until);
  document["elapsed_ms"] = std::max<int64_t>(0, to_ms(success.finished_at) - to_ms(context.created_at()));
  log::info("{}: restore drill: everything up to {} was restored and proven", database->config().name,
            to_rfc3339(success.restorable_until));
  return document;
}

void RestoreWorkflow::drill_failed(const WorkflowRecord& workflow) {
  auto database = database_of(workflow.data);
  if (!database) return;  // it was taken out of the configuration
  auto recorded = record_failed_drill(*services_.state->lease(), (*database)->id(), workflow.uuid,
                                      services_.clock->now(), workflow.error.value_or("it did not end"));
  if (!recorded) log::warn("restore drill: {}", recorded.error().context);
}

}  // namespace tillsync
