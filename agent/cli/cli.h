// The command line program, as a function that tests can call.
//
// Purpose: run_cli() parses, finds the agent or the store, runs one command and says its exit status. Results go to
// `out`, everything for a person beside them (progress, errors, remarks) to `err`. Threads: one at a time.
// is_interrupted is asked several times a second.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "agent/cli/arguments.h"
#include "agent/cli/progress.h"
#include "agent/cli/store_commands.h"
#include "agent/cli/text.h"
#include "agent/config/config.h"
#include "agent/control/client.h"
#include "base/result.h"

namespace tillsync {

struct CliEnvironment {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool colour = false;       // may be used where the stream is a terminal
  std::string program = {};  // path of the running binary; demo finds tillsyncd beside it
  std::function<bool()> is_interrupted = [] { return false; };
  OpenStoreCommands open_store = {};  // empty: this build has none
  // One line of a person's answer; empty where nobody can be asked.
  std::function<std::string(const std::string& question)> ask = {};
  std::function<std::string(const std::string& question)> ask_secret = {};  // not shown as it is typed
};

int run_cli(const std::vector<std::string>& words, const CliEnvironment& environment);

// 0 done is for who has no Error; see docs/operations.md for the meaning of each.
int exit_status(const Error& error);

// What a command works with.
class CliContext {
 public:
  CliContext(const Arguments& arguments, Config config, const CliEnvironment& environment)
      : arguments_(arguments), config_(std::move(config)), environment_(environment) {}
  const Arguments& arguments() const { return arguments_; }
  const Config& config() const { return config_; }
  const CliEnvironment& environment() const { return environment_; }
  std::ostream& out() const { return environment_.out; }
  std::ostream& err() const { return environment_.err; }
  Style style() const;
  // The document as it is with --json, else as a person reads it.
  void print(const Json& document, const std::function<std::string(const Json&, const Style&)>& render) const;
  ProgressView::Kind progress_kind() const;
  std::function<bool(const Json&)> store_progress(ProgressView& view) const;

  Result<ControlClient> connect() const;
  Result<std::unique_ptr<StoreCommands>> open_store() const;
  // An agent, or else a store: with --store always the store; without an agent the store of the configuration.
  struct Source {
    std::unique_ptr<ControlClient> agent;
    std::unique_ptr<StoreCommands> store;
  };
  Result<Source> agent_or_store() const;

 private:
  const Arguments& arguments_;
  Config config_;
  const CliEnvironment& environment_;
};

// workflow.wait with its progress shown: the result of a workflow that completed, or its error.
Result<Json> wait_for_workflow(const CliContext& context, ControlClient& agent, const std::string& uuid);

// The commands. Each prints its result itself.
Result<void> run_doctor(const CliContext& context);
Result<void> run_diagnose(const CliContext& context);
Result<void> run_init(const CliContext& context);
Result<void> run_status(const CliContext& context);
Result<void> run_backup(const CliContext& context);
Result<void> run_flush(const CliContext& context);
Result<void> run_snapshots(const CliContext& context);
Result<void> run_workflows(const CliContext& context);
Result<void> run_drill(const CliContext& context);
Result<void> run_cancel(const CliContext& context);
Result<void> run_pause(const CliContext& context);
Result<void> run_resume(const CliContext& context);
Result<void> run_log(const CliContext& context);
Result<void> run_log_verify(const CliContext& context);
Result<void> run_verify(const CliContext& context);
Result<void> run_prune(const CliContext& context);
Result<void> run_restore(const CliContext& context);
Result<void> run_keys_show(const CliContext& context);
Result<void> run_keys_make(const CliContext& context);
Result<void> run_keys_rotate(const CliContext& context);
Result<void> run_keys_export(const CliContext& context);
Result<void> run_demo(const CliContext& context);
Result<void> run_demo_shop(const CliContext& context);

}  // namespace tillsync
