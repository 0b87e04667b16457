// RESTORE: to a new file, or in place of the followed database's content; and the REPLAY and MIGRATION it runs.
//
// To a file: stages and proves in state_dir; nothing live is touched. The command line then asks for delivery into a
// descriptor it passes. In place: the proven file is put into the live database in one transaction
// (restore/activation.h), after what was there was put aside as the safety copy; undo restores that copy in place. A
// content that does not hold what was proven after the commit is taken back by itself. Once that commit may have
// happened, the restore no longer fails and can't be cancelled: it goes on until the log shows it. REPLAY and MIGRATION
// are workflows of their own, run by a step of the restore (`parent` in their data). MIGRATE_SCHEMA happens in place
// alone: a file is given as the moment was.
//
// A drill is a restore to a file that is proven and thrown away; it reads the file assets too. What it proved, or why
// it failed, is kept (agent/daemon/drill_record.h).
//
// What a step leaves in the staged file is durable before its record, and taken up after a restart of the agent, which
// loses one step at most. A drill's is not synced, and begins again. Workflow data: {database, snapshot | at | sequence
// | transaction, keep_going, no_integrity_check, in_place, undo, drill}. Threads: steps run on the workers; deliver()
// on any.
#pragma once

#include <map>
#include <mutex>
#include <set>

#include "agent/daemon/log_shipper.h"
#include "restore/given_file.h"
#include "restore/staging.h"
#include "sqlite/file_vfs.h"
#include "workflow/engine.h"

namespace tillsync {

class RestoreWorkflow {
 public:
  RestoreWorkflow(const Services& services, std::vector<FollowedDatabase*> databases, LogShipper& shipper)
      : services_(services), databases_(std::move(databases)), shipper_(shipper) {}
  // The steps of RESTORE, REPLAY and MIGRATION. The engine must live as long.
  void define(WorkflowEngine& engine);
  // conflict: in place, while another one of that database is under way. state.db is leased until it is created.
  Result<WorkflowRequest> request(const Json& params);
  // Which snapshots the restores of a database that have not ended go by.
  std::set<Uuid> pinned(const std::string& database);
  // Before its first step: the restore is made in this file, open for reading and writing, and empty. Kept until it is
  // proven or has failed; after a restart of the agent there is none, and it is staged in our folder.
  void give(const Uuid& workflow, std::shared_ptr<File> into);
  // Copies a proven database that was staged into the file, syncs it, removes the staging. into_given: the file is the
  // one of give(), which has the database already where that was not lost. Returns the document of `restore --json`.
  Result<Json> deliver(WorkflowEngine& engine, const Uuid& workflow, File& into, bool into_given);

 private:
  struct Job {
    std::string database;
    RestorePlan plan;
    // Where the file to restore to was given.
    std::unique_ptr<WithGivenFile> given;
    std::unique_ptr<FileVfs> given_vfs;
    std::unique_ptr<Staging> staging;
    bool filled = false, replayed = false, migrated = false;
    std::optional<int64_t> migrate_to;
    Json applied_migrations = Json::array();
    std::function<bool()> cancelled;  // of the step that runs a workflow of its own
  };
  Result<std::shared_ptr<Job>> job_of(StepContext& context);
  Result<std::shared_ptr<Job>> plan(StepContext& context, const RestoreMoment& moment);
  Result<std::shared_ptr<Job>> job_of_parent(const StepContext& context);
  Result<void> ensure_filled(StepContext& context, Job& job);
  Result<void> ensure_replayed(StepContext& context, Job& job);
  Result<void> ensure_migrated(StepContext& context, Job& job);
  Result<FollowedDatabase*> database_of(const Json& data) const;
  // Until everything committed so far is in the store. What it says otherwise is a note for the outcome: a database
  // that can't be read is the reason for many a restore.
  Result<std::string> complete_log(StepContext& context, FollowedDatabase& database);
  Result<Json> run_child(StepContext& context, WorkflowType type, const std::string& name);
  Result<void> check_none_in_place(const std::string& database);
  Result<Json> validate(StepContext& context);
  Result<Json> validate_safety_copy(StepContext& context);
  Result<Json> check_schema(StepContext& context);
  Result<Json> check_packs(StepContext& context);
  Result<Json> fill(StepContext& context);
  Result<Json> replay(StepContext& context);
  Result<Json> migrate(StepContext& context);
  Result<Json> prove(StepContext& context);
  Result<Json> prove_safety_copy(StepContext& context);
  Result<Json> put_aside(StepContext& context);
  Result<Json> activate(StepContext& context);
  Result<Json> restore_assets(StepContext& context);
  Result<Json> finish_drill(StepContext& context);
  Result<Timestamp> proven_until(StepContext& context, const FollowedDatabase& database, const Json& document,
                                 const Manifest& snapshot) const;
  void drill_failed(const WorkflowRecord& workflow);
  // not_found is fine.
  Result<Json> after_activation(StepContext& context);
  void clean_up(const WorkflowRecord& workflow);

  struct Replacement {
    Uuid workflow;
    std::string staged, safety, description;
    Sequence restored_sequence = 0;
    Digest state{};
  };
  // Nothing to do where the log has it already.
  Result<CapturedActivation> replace(StepContext& context, FollowedDatabase& database, const Replacement& what);
  struct FoundInLog {
    std::optional<CapturedActivation> activation;
    bool all_captured = false;  // false: the database can't be read, so without an activation nothing is known
  };
  Result<FoundInLog> captured(StepContext& context, FollowedDatabase& database, const Uuid& workflow);
  bool may_be_committed(const FollowedDatabase& database, const Uuid& workflow);
  static std::optional<int64_t> migrate_to(const StepContext& context);
  Result<int64_t> live_schema_version(FollowedDatabase& database) const;

  static bool in_place(const StepContext& context) { return context.data().value("in_place", false); }
  static bool is_drill(const StepContext& context) { return context.data().value("drill", false); }
  static bool is_undo(const StepContext& context) { return context.data().value("undo", false); }
  std::string staging_path(const Uuid& workflow) const {
    return services_.staging_folder() + "/" + workflow.str() + ".db";
  }
  std::string safety_path(const Uuid& workflow) const {
    return services_.safety_folder() + "/" + workflow.str() + ".db";
  }

  Services services_;
  std::vector<FollowedDatabase*> databases_;
  LogShipper& shipper_;
  WorkflowEngine* engine_ = nullptr;
  std::mutex mutex_;
  std::map<Uuid, std::shared_ptr<Job>> jobs_;
  std::map<Uuid, std::shared_ptr<File>> given_;
};

}  // namespace tillsync
