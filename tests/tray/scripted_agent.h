// An agent that says what a test wants it to say, over the real control server.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "tests/agent/control_fixture.h"

namespace tillsync::test {

class ScriptedAgent {
 public:
  ScriptedAgent(const std::string& socket, Json state)
      : state_(std::move(state)), server_(std::make_unique<TestServer>(socket)) {
    server_->handle("watch", [this](Request, Responder watcher) {
      std::lock_guard lock(mutex_);
      watcher.notify("state", state_);
      watchers_.push_back(std::move(watcher));
    });
    server_->handle("status", [this](Request request, Responder responder) {
      note(request);
      responder.result(Json{{"databases", {Json{{"name", "pos"}}}}});
    });
    server_->handle("backup", [this](Request request, Responder responder) {
      note(request);
      responder.result(Json{{"uuid", "workflow-1"}, {"snapshot_uuid", "snapshot-1"}});
    });
    server_->handle("workflow.wait", [this](Request request, Responder responder) {
      // In one step: once a test sees the call, what it says reaches the one who waits.
      std::lock_guard lock(mutex_);
      calls_[request.method].push_back(request.params);
      waiting_.push_back(std::move(responder));
    });
    server_->handle("pause", [this](Request request, Responder responder) {
      note(request);
      responder.result(Json{{"paused_until", nullptr}});
    });
    server_->handle("resume", [this](Request request, Responder responder) {
      note(request);
      responder.result(Json::object());
    });
  }
  ~ScriptedAgent() {
    give_up();
    server_->stop();
    give_up();  // who heard that he was given up may have asked once more
  }

  void say(Json state) {
    std::lock_guard lock(mutex_);
    state_ = std::move(state);
    for (auto& watcher : watchers_) watcher.notify("state", state_);
  }
  void progress(int percent) {
    std::lock_guard lock(mutex_);
    for (auto& waiting : waiting_) waiting.notify("progress", Json{{"uuid", "workflow-1"}, {"percent", percent}});
  }
  void end_workflow(const Json& result) {
    std::lock_guard lock(mutex_);
    for (auto& waiting : waiting_) waiting.result(result);
    waiting_.clear();
  }
  // How often a method was called, and with what at last.
  size_t calls(const std::string& method) {
    std::lock_guard lock(mutex_);
    return calls_[method].size();
  }
  Json params(const std::string& method) {
    std::lock_guard lock(mutex_);
    REQUIRE_FALSE(calls_[method].empty());
    return calls_[method].back();
  }

 private:
  void give_up() {
    std::lock_guard lock(mutex_);
    watchers_.clear();
    waiting_.clear();
  }
  void note(const Request& request) {
    std::lock_guard lock(mutex_);
    calls_[request.method].push_back(request.params);
  }

  std::mutex mutex_;
  Json state_;
  std::vector<Responder> watchers_, waiting_;
  std::map<std::string, std::vector<Json>> calls_;
  std::unique_ptr<TestServer> server_;
};

}  // namespace tillsync::test
