// RESTORE to a new file: stages and proves in state_dir; nothing live is touched. The command line then asks for
// delivery into a descriptor it passes.
//
// A step that finds no staging of this process (the agent was restarted) fills and replays again: the staged file is
// not synced before it is proven. Workflow data: {database, snapshot | at | sequence | transaction, keep_going}.
// Threads: steps run on the workers; deliver() on any.
#pragma once

#include <map>
#include <mutex>

#include "agent/daemon/log_shipper.h"
#include "restore/staging.h"
#include "workflow/engine.h"

namespace tillsync {

class RestoreWorkflow {
 public:
  RestoreWorkflow(const Services& services, std::vector<FollowedDatabase*> databases, LogShipper& shipper)
      : services_(services), databases_(std::move(databases)), shipper_(shipper) {}
  std::vector<StepDefinition> steps();
  Result<WorkflowRequest> request(const Json& params);
  // Copies the proven database to the descriptor, syncs it, removes the staging. Returns the document of `restore
  // --json`.
  Result<Json> deliver(WorkflowEngine& engine, const Uuid& workflow, int fd);

 private:
  struct Job {
    RestorePlan plan;
    std::unique_ptr<Staging> staging;
    bool filled = false, replayed = false;
  };
  Result<std::shared_ptr<Job>> job_of(StepContext& context);
  Result<void> ensure_filled(StepContext& context, Job& job);
  Result<void> ensure_replayed(StepContext& context, Job& job);
  Result<FollowedDatabase*> database_of(const Json& data) const;
  // Until everything committed so far is in the store. What it says otherwise is a note for the outcome: a database
  // that can't be read is the reason for many a restore.
  Result<std::string> complete_log(StepContext& context, FollowedDatabase& database);
  Result<Json> validate(StepContext& context);
  Result<Json> check_schema(StepContext& context);
  Result<Json> check_packs(StepContext& context);
  Result<Json> fill(StepContext& context);
  Result<Json> replay(StepContext& context);
  Result<Json> prove(StepContext& context);
  std::string staging_path(const Uuid& workflow) const {
    return services_.staging_folder() + "/" + workflow.str() + ".db";
  }

  Services services_;
  std::vector<FollowedDatabase*> databases_;
  LogShipper& shipper_;
  std::mutex mutex_;
  std::map<Uuid, std::shared_ptr<Job>> jobs_;
};

}  // namespace tillsync
