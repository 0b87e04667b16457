// The methods of local control (docs/control-protocol.md) on top of the agent's parts.
//
// Threads: install() and the handlers on the loop; work that may wait goes to the query threads.
#pragma once

#include "agent/daemon/agent.h"

namespace tillsync {

class ControlMethods {
 public:
  explicit ControlMethods(Agent& agent) : agent_(agent) {}
  void install(ControlServer& server);
  void stop();
  Result<Json> status();
  // What those who watch are told.
  Result<Json> state();

 private:
  using Work = std::function<Result<Json>(const Json& params)>;
  using WorkWithFile = std::function<Result<Json>(const Json& params, const std::shared_ptr<File>& file)>;
  void query(ControlServer& server, const std::string& method, Work work, Access access);
  void query_with_file(ControlServer& server, const std::string& method, WorkWithFile work, Access access);
  Result<Json> diagnose();
  Result<Json> backup(const Json& params);
  Result<Json> snapshots(const Json& params);
  Result<void> known_snapshots(const FollowedDatabase& database, Json& all);
  Result<Json> log(const Json& params);
  Result<Json> restore(const Json& params, std::shared_ptr<File> into);
  Result<Json> workflows(const Json& params);
  Result<Json> assets(const Json& params);
  Result<Json> read_asset(const Json& params, File* into);
  void flush(const Json& params, Responder responder);
  void prune(const Json& params, Responder responder);
  void pause(const Json& params, Responder responder);
  void follow_log(Json params, Responder responder, std::chrono::steady_clock::time_point until);
  Result<FollowedDatabase*> database_of(const Json& params);
  Json database_status(FollowedDatabase& database, Json& problems);
  Json drill_status(Json& problems);
  Result<Json> last_verified(Json& problems);
  Result<void> workflow_problems(Json& problems);
  Agent& agent_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillsync
