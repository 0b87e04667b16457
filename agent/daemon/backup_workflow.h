// BACKUP: the steps that make a snapshot, under the names of the requirements.
//
// A database whose rows can't be read is kept page by page instead (Manifest::damage).
// Each step is safe to repeat. The image is cut and packed in CAPTURE_TABLE_DATA, file assets in CAPTURE_CONFIGURATION;
// what that made lies in the spool, synced, and is named in the step's result, so that a restarted agent goes on with
// the same bytes.
// Workflow data: {database, type, name, description, dedup, snapshot_uuid}.
// Threads: steps run on the workers.
#pragma once

#include <map>

#include "agent/daemon/asset_backup.h"
#include "agent/daemon/log_shipper.h"
#include "snapshot/builder.h"
#include "workflow/engine.h"

namespace tillsync {

class BackupWorkflow {
 public:
  BackupWorkflow(const Services& services, std::vector<FollowedDatabase*> databases, LogShipper& shipper,
                 Transfers& transfers);
  void define(WorkflowEngine& engine);
  // What a newest complete snapshot makes possible: INCREMENTAL needs one, else FULL.
  struct Request {
    std::string type;  // FULL, INCREMENTAL, DIFFERENTIAL, or empty for the default
    std::string database, name, description;
    bool dedup = true;
  };
  Result<WorkflowRequest> request(const Request& request, Uuid& snapshot);

 private:
  Result<FollowedDatabase*> database_of(const StepContext& context);
  // What one that failed or was cancelled leaves lying. What it put into the store is the prune's.
  void clean_up(const WorkflowRecord& workflow);
  void remove_spooled(const Json& captured, const Json& configuration, const Json& created);
  Result<Json> initialize(StepContext& context);
  Result<Json> count_entities(StepContext& context);
  Result<Json> capture_pages(StepContext& context);
  Result<Json> capture_log(StepContext& context);
  Result<Json> capture_configuration(StepContext& context);
  Result<Json> create_snapshot(StepContext& context);
  Result<Json> upload(StepContext& context);
  Result<Json> validate(StepContext& context);

  Result<Json> capture_damaged(StepContext& context, FollowedDatabase& database, const Error& damage);
  Result<void> name_snapshot(StepContext& context, FollowedDatabase& database, Manifest& m);
  Result<Json> pack(StepContext& context, FollowedDatabase& database, SnapshotPlan& what, PageImage& image);
  // Size of a pack in the store, 0: not known; nullopt: it is gone.
  using KnownPacks = std::map<std::string, std::optional<uint64_t>>;
  Result<std::optional<StoredBlock>> stored_block(int64_t database, const Digest& name, KnownPacks& packs);
  Result<void> forget_pack(int64_t database, const std::string& key);
  Result<void> check_packs(const Json& captured, int64_t database);
  Result<void> withdraw(const Uuid& snapshot, const std::string& manifest_key);
  Result<void> spool(const std::string& path, ByteView bytes);
  Result<int64_t> ask_integer(FollowedDatabase& database, const std::string& sql);
  Result<std::string> ask_app_version(FollowedDatabase& database);

  Services services_;
  std::vector<FollowedDatabase*> databases_;
  LogShipper& shipper_;
  Transfers& transfers_;
  AssetBackup assets_;
};

}  // namespace tillsync
