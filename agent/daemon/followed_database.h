// One followed database: its capturer and the thread that runs it.
//
// Threads: start() and stop() by the agent's thread; the rest from any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "agent/daemon/services.h"
#include "capture/capturer.h"

namespace tillsync {

class FollowedDatabase {
 public:
  struct Events {
    std::function<void()> committed;                        // something new is in the log
    std::function<void(FollowedDatabase&)> schema_changed;  // a snapshot must follow at once
    std::function<void(FollowedDatabase&)> damaged;         // likewise, of its pages
  };
  // Finds or makes the database's row in state.db.
  static Result<std::unique_ptr<FollowedDatabase>> create(const Services& services, const DatabaseConfig& config,
                                                          Events events);
  ~FollowedDatabase();
  void start();
  void stop();
  // One round of capture, by whoever runs it without start(): what its thread does between two sleeps. How long to
  // sleep at most.
  std::chrono::milliseconds step();

  int64_t id() const { return id_; }
  const DatabaseConfig& config() const { return config_; }
  Lineage lineage() const { return services_.lineage(config_.name); }
  CaptureStatus status() const { return capturer_->status(); }
  // Capturer::hold().
  void hold(std::optional<Error> why);
  void set_dependency_floor(Sequence floor) { capturer_->set_dependency_floor(floor); }
  void request_cut(Capturer::CutCallback callback);
  void request_capture(std::function<void(Result<Sequence>)> callback);
  void request_activation(ActivationRequest request, std::function<void(Result<void>)> callback);

 private:
  FollowedDatabase(const Services& services, const DatabaseConfig& config) : services_(services), config_(config) {}
  void run();
  Services services_;
  DatabaseConfig config_;
  int64_t id_ = 0;
  std::unique_ptr<Capturer> capturer_;
  std::unique_ptr<ChangeNotifier> notifier_;
  std::mutex notifier_mutex_;
  std::atomic<bool> stopping_ = false;
  std::optional<std::string> told_;  // the problem that was logged last
  std::thread thread_;
};

}  // namespace tillsync
