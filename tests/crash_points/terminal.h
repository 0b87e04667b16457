// A till, its agent and its store in memory, on one thread, where any call of the file port may be the last.
//
// Purpose: the agent's own classes, put together as agent/daemon/agent.cpp does it, over a file system that counts
// calls. The followed database is in the same file system, and its application is a process of its own: it lives on
// when the agent is killed, and not when the power goes. File assets are read from, and put back into, a real folder.
// Fault model: a kill is every call from the Nth on failing, the Nth half done if it is a write; a loss of power is
// what MemoryFileSystem and PowerLossFolders say. Threads: one.
#pragma once

#include "agent/daemon/backup_workflow.h"
#include "agent/daemon/fenced_store.h"
#include "agent/daemon/pruner.h"
#include "agent/daemon/restore_workflow.h"
#include "restore/restore_fixture.h"
#include "support/faulty_file_system.h"
#include "support/hooked_folders.h"
#include "support/memory_file_system.h"
#include "support/power_loss_folders.h"
#include "support/shared_vfs.h"

namespace tillsync::test {

enum class Crash { kill, power, strict_power };
std::string to_string(Crash crash);

// The agent between a start and its end.
class AgentProcess {
 public:
  static Result<std::unique_ptr<AgentProcess>> start(class Terminal& terminal);
  ~AgentProcess();
  // A round of capture and one of the shipper.
  void pump();
  // Until the workflow ends, waiting as long as it asks for. transient: it can't be run, because of state.db.
  Result<RunOutcome> run(const Uuid& workflow, int attempts_max = 12);
  // What the agent does after a start.
  Result<void> resume();
  // Everything committed is in the store.
  Result<void> ship();
  Result<Uuid> begin_backup(const std::string& type);
  Result<Uuid> begin_restore(const Json& params);

  StateDb& state() { return *state_; }
  ObjectStore& store() { return *store_; }
  WorkflowEngine& engine() { return *engine_; }
  RestoreWorkflow& restores() { return *restores_; }
  Pruner& pruner() { return *pruner_; }
  const Services& services() const { return services_; }
  const FileVfs& vfs() const { return vfs_; }
  FollowedDatabase& database() { return *database_; }
  Lineage lineage() const { return database_->lineage(); }

 private:
  explicit AgentProcess(Terminal& terminal);
  Result<void> open();
  static constexpr int kRoundsMax = 200;
  int rounds_ = 0;  // without an end of what they were run for
  Terminal& terminal_;
  FileVfs vfs_;
  SharedVfs application_;
  std::unique_ptr<File> lock_;
  std::unique_ptr<StateDb> state_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<EpochClaim> claim_;
  std::unique_ptr<FencedStore> fenced_store_;
  Services services_;
  std::unique_ptr<FollowedDatabase> database_;
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<LogShipper> shipper_;
  std::unique_ptr<BackupWorkflow> backups_;
  std::unique_ptr<RestoreWorkflow> restores_;
  std::unique_ptr<Pruner> pruner_;
  std::unique_ptr<WorkflowEngine> engine_;
};

class Terminal {
 public:
  static constexpr const char* kState = "/till/agent";
  static constexpr const char* kDatabase = "/till/pos.db";
  static constexpr const char* kStore = "/backup/store";
  static constexpr const char* kMigrations = "/till/migrations";
  static constexpr const char* kAssets = "assets/";  // before the names in calls of the folders of assets

  explicit Terminal(uint64_t seed);
  ~Terminal();

  // A new till: its database with some sales, and nothing of the agent's.
  void install();
  // Everything as it was in another one, of which nothing is open.
  void copy_from(const Terminal& other);

  void open_application();
  void run(const std::string& sql);
  void sell(int number);
  void write_asset(const std::string& name, const std::string& text);
  std::map<std::string, std::string> assets() const;
  // What the application's tables hold, by another connection.
  Content live();

  void start() { agent = must(AgentProcess::start(*this)); }
  void stop() { agent.reset(); }
  void close_application() { app.close(); }

  // Calls of the folders of assets count as those of the file port do.
  void count_folders();
  bool names_can_change_places = true;  // of the file system of the assets
  // From here on calls are counted; call n is the last one of the agent, or of the machine.
  void arm(uint64_t n, Crash how);
  // The first call of which that is true is the last one: "remove /till/agent/spool/...".
  void arm_at(std::function<bool(const std::string& call)> is_last, Crash how);
  bool crashed() const { return crashed_; }
  // Takes down what is left and lets the next start begin.
  void after_crash(Crash how, SeededRandom& random);

  MemoryFileSystem memory;
  FaultyFileSystem files{memory};
  FakeClock clock;
  SeededRandom random;
  Computer computer;
  FileVfs application_files{memory, clock, random};
  SharedVfs application_vfs{application_files, memory, computer, false};
  PowerLossFolders asset_disk;
  HookedFolders folders{asset_disk};
  TemporaryDirectory asset_parent;  // what a restore stages lies beside the assets
  std::string asset_folder = asset_parent / "receipts";
  Config config;
  Connection app;
  std::unique_ptr<AgentProcess> agent;

 private:
  bool crashed_ = false;
};

// Rows of a database file's bytes.
Content dump_file(Bytes bytes);

}  // namespace tillsync::test
