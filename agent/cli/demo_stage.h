// The demo's stage: a temporary folder with a shop, an agent and a store, each a process of its own, and the account of
// it.
//
// Purpose: the verbs that demo.cpp tells its story with. Everything that runs is stopped, and the folder removed unless
// it is to be kept, when the stage goes, also on an error or Ctrl-C. Errors: a context that names the log file of the
// program that failed. Threads: one at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/cli/child_process.h"
#include "agent/cli/cli.h"
#include "agent/cli/demo_shop.h"

namespace tillsync {

class DemoStage {
 public:
  static Result<std::unique_ptr<DemoStage>> set_up(const CliContext& context);
  ~DemoStage();
  DemoStage(const DemoStage&) = delete;

  const std::string& folder() const { return folder_; }
  const DemoShopFiles& shop_files() const { return files_; }
  bool is_interrupted() const { return context_.environment().is_interrupted(); }
  // "  3.2 s  text"
  void tell(const std::string& text) const;

  Result<void> open_shop();
  Result<Json> close_shop();   // what shop.json says
  Result<void> start_agent();  // until it answers
  void kill_agent() { agent_.kill(); }
  Result<void> stop_agent();  // SIGTERM, and status 0

  Result<Json> call(const std::string& method, const Json& params = Json::object()) const;
  // A backup of that type, until it is durable; tells of it.
  Result<Json> back_up(const std::string& type) const;
  Result<void> sell_for(std::chrono::milliseconds duration);
  // Polls until `done` answers true.
  Result<void> until(const std::string& what, std::chrono::milliseconds limit,
                     const std::function<Result<bool>()>& done);
  // Our own program, as a person would run it: its --json document.
  Result<Json> run_cli_program(const std::vector<std::string>& words) const;

 private:
  DemoStage(const CliContext& context, std::string folder);
  Result<void> write_config() const;
  Error died(const std::string& who, const std::string& log) const;
  const CliContext& context_;
  std::string folder_;
  DemoShopFiles files_;
  std::string program_, config_, socket_, agent_log_;
  ChildProcess shop_, agent_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace tillsync
