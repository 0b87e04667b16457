// The agent: builds every part, in the order in which they need each other, and runs until it is told to stop.
//
// Order: state lock, folders and sweep of leftovers, state.db, store, identity and epoch, databases, log shipper,
// workflows, control. SIGHUP reads the configuration again: what can change while running does, the rest is said.
// Errors: create() says what is wrong and what to do; a failing database or store never stops the agent.
// Threads: create(), run() on the main thread; stop() from any.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>

#include "agent/control/server.h"
#include "agent/daemon/backup_workflow.h"
#include "agent/daemon/capture_pause.h"
#include "agent/daemon/fenced_store.h"
#include "agent/daemon/metrics_export.h"
#include "agent/daemon/pruner.h"
#include "agent/daemon/restore_workflow.h"
#include "agent/daemon/scheduled_jobs.h"
#include "agent/daemon/service_watch.h"
#include "agent/daemon/state_feed.h"
#include "agent/daemon/store_plans.h"
#include "agent/daemon/workflow_runner.h"
#include "ports/process_figures.h"
#include "ports/process_signals.h"
#include "store/counted_store.h"

namespace tillsync {

class Agent {
 public:
  struct Ports {
    FileSystem* files = nullptr;
    Clock* clock = nullptr;
    Random* random = nullptr;
    ChangeNotifierFactory* notifiers = nullptr;
    Folders* folders = nullptr;
    std::function<std::string(const std::string& path)> who_holds = {};  // locks on a file, in words
    std::function<Result<void>(const std::string& path)> may_open = {};  // Capturer::Setup
    ProcessSignals* signals = nullptr;                                   // nullptr: only stop() ends run()
    std::function<ProcessFigures()> process_figures = [] { return ProcessFigures{}; };
    ServiceManager* manager = nullptr;  // nullptr: nobody watches
  };
  static Result<std::unique_ptr<Agent>> create(const Config& config, const Ports& ports);
  ~Agent();
  enum class Ended {
    stopped,
    again,  // a new epoch was begun: to be created anew, and run
  };
  // Until a signal to stop, or stop().
  Ended run();
  void stop();

 private:
  friend class ControlMethods;
  void end();
  Agent(const Config& config, const Ports& ports);
  Result<void> open();
  Result<void> prepare_folders();
  void announce();
  void back_up(const std::string& database, const std::string& why, const std::string& type = "");
  void poll_schedule();
  void watch_disk();
  void await_signals();
  void take_signals();
  void reload_soon();
  std::string service_status();
  std::string hung_capture(Milliseconds patience);
  void say_ready(std::chrono::steady_clock::time_point at_latest);
  void reload();
  void cover_schema_changes();
  Result<bool> lacks_snapshot(FollowedDatabase& database);
  // into: where a restore to a file is made; none: in our folder.
  Result<Uuid> start_restore(const Json& params, std::shared_ptr<File> into = nullptr);
  Result<Uuid> start_backup(const BackupWorkflow::Request& request, Uuid& snapshot);

  Result<void> seal_store();
  void fence_store();
  void leave_epoch(const EpochLoss& loss);
  void make_due_fulls();

  const Config config_;
  Config applied_;  // config_, and what was changed since; of the reloads
  Ports ports_;
  std::unique_ptr<File> state_lock_;
  std::unique_ptr<FileVfs> vfs_;
  std::unique_ptr<StateDb> state_;
  CountedStore* counted_store_ = nullptr;  // within store_
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<EpochClaim> claim_;
  std::unique_ptr<FencedStore> fenced_store_;
  std::atomic<bool> begins_again_ = false, is_told_to_stop_ = false;
  Services services_;
  std::vector<std::unique_ptr<FollowedDatabase>> databases_;
  std::unique_ptr<CapturePause> pause_;
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<LogShipper> shipper_;
  std::unique_ptr<BackupWorkflow> backups_;
  StorePlans plans_;
  std::unique_ptr<RestoreWorkflow> restores_;
  std::unique_ptr<Pruner> pruner_;
  std::unique_ptr<WorkflowEngine> engine_;
  boost::asio::io_context loop_;
  boost::asio::posix::stream_descriptor signals_{loop_};
  bool reloads_ = false, reload_again_ = false;  // of the loop
  boost::asio::steady_timer disk_timer_{loop_};
  DiskLadder disk_;     // of the loop
  ServiceWatch watch_;  // of the loop
  StateFeed feed_;
  std::unique_ptr<MetricsExport> metrics_;
  boost::asio::steady_timer ready_timer_{loop_};
  std::atomic<DiskRung> disk_rung_ = DiskRung::roomy;
  std::atomic<bool> captured_lately_ = false;  // since free memory was given back
  boost::asio::steady_timer schedule_timer_{loop_};
  std::unique_ptr<boost::asio::thread_pool> workers_;
  std::unique_ptr<boost::asio::thread_pool> queries_;
  std::unique_ptr<WorkflowRunner> runner_;
  std::unique_ptr<ScheduledJobs> schedule_;
  bool polling_ = false, poll_again_ = false;  // of the loop
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<class ControlMethods> methods_;
};

}  // namespace tillsync
