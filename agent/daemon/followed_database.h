// One followed database: its capturer and the thread that runs it.
//
// Threads: start() and stop() by the agent's thread; the rest from any.
#pragma once

#include <atomic>
#include <functional>
#include <map>
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
    std::function<void()> idle = {};                        // all is captured, and nothing comes
    std::function<void()> problem = {};                     // one came, went or became another
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
  enum class HeldBy { person, disk };
  // Capturer::hold(), for as long as either of them wants it; where both do, what the person said is shown.
  void hold(HeldBy by, std::optional<CaptureHold> why, std::function<void()> released = {});
  bool is_paused() const;  // by a person
  // For whoever opens the application's database beside the capture thread: it is in use until the token goes, and a
  // pause is not answered before. conflict: a person wants it left alone.
  using FilesInUse = std::shared_ptr<void>;
  Result<FilesInUse> use_files();
  // Whether its thread goes on: it has beaten since it was asked before, or may be quiet for longer than `patience`.
  // Asked by one thread.
  bool goes_on(std::chrono::milliseconds patience);
  void set_dependency_floor(Sequence floor) { capturer_->set_dependency_floor(floor); }
  void request_cut(Capturer::CutCallback callback);
  void request_capture(std::function<void(Result<Sequence>)> callback);
  void request_activation(ActivationRequest request, std::function<void(Result<void>)> callback);

 private:
  FollowedDatabase(const Services& services, const DatabaseConfig& config) : services_(services), config_(config) {}
  void run();
  void wake();
  void leave_files();
  void when_unused(std::function<void()> callback);
  Services services_;
  DatabaseConfig config_;
  int64_t id_ = 0;
  std::function<void()> problem_changed_;
  std::unique_ptr<Capturer> capturer_;
  std::unique_ptr<ChangeNotifier> notifier_;
  std::mutex notifier_mutex_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex hold_mutex_;  // of what follows
  std::map<HeldBy, CaptureHold> holds_;
  size_t files_used_ = 0;
  std::vector<std::function<void()>> when_unused_;
  uint64_t beats_seen_ = 0;  // of goes_on()
  std::chrono::steady_clock::time_point beat_seen_at_ = std::chrono::steady_clock::now();
  std::optional<std::string> told_;  // the problem that was logged last
  std::thread thread_;
};

}  // namespace tillsync
