// The icon's mind: what the agent said and what the operator chose → what is shown, told and asked.
//
// Purpose: every decision of the tray, the same on every desktop. Whoever owns it carries requests to the agent and
// brings answers back, draws view(), and shows notifications.
// Units: Now carries the wall clock, for what people read, and a clock that never jumps, for how long something lasts.
// Errors: what goes wrong is told to the operator. Threads: one; no I/O, no clock.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/tray/agent_state.h"
#include "agent/tray/backup_run.h"
#include "agent/tray/tray_texts.h"
#include "agent/tray/tray_view.h"

namespace tillsync {

struct Now {
  Timestamp wall;
  std::chrono::steady_clock::time_point steady;
};

struct TrayRequest {
  uint64_t id = 0;
  std::string method;
  Json params;
};

class TrayModel {
 public:
  using ToLocalTime = std::function<LocalTime(Timestamp)>;
  // now: when the program started; an agent that is not there is told of some time after it.
  TrayModel(TrayTexts texts, ToLocalTime to_local_time, Now now);
  TrayModel(const TrayModel&) = delete;

  // The connection to the agent. lost() also says that it could not be made; every request that waits is given up.
  void connected(Now now);
  void lost(const Error& why, Now now);
  void notified(const std::string& method, const Json& params, Now now);
  void answered(uint64_t request, const Result<Json>& answer, Now now);
  // The operator. Entries that are not enabled do nothing.
  void chosen(MenuItem item, Now now);
  // Time has passed.
  void tick(Now now);

  std::vector<TrayRequest> take_requests();
  std::vector<TrayNotification> take_notifications();
  TrayView view(Now now) const;
  // After so long view() differs, or tick() has something to tell, though nothing else happens.
  std::optional<Milliseconds> changes_after(Now now) const;

 private:
  enum class Link { absent, denied, other_version, known };
  enum class Purpose { watch, pause, resume, backup };

  uint64_t ask(Purpose purpose, const std::string& method, Json params);
  void backup_may_have_ended(Now now);
  void tell_progress(Now now);
  void tell_problems(Now now);
  void pause_answered(const Result<Json>& answer, Now now);
  void resume_answered(const Result<Json>& answer);
  void tell(TrayNotification notification) { notifications_.push_back(std::move(notification)); }

  std::optional<Milliseconds> view_stands_for(Now now) const;
  TrayIcon icon() const;
  bool is_pausing() const;
  std::string line(Now now) const;
  std::string backups_line(const AgentState& state, Now now) const;
  std::string work_line(const RunningWorkflow& workflow) const;
  std::string details(Now now) const;
  std::vector<MenuEntry> menu(Now now) const;
  std::string backup_label() const;
  std::string time(Timestamp time, Now now) const;
  std::string problem_text(const AgentProblem& problem) const;
  std::string problem_in_full(const AgentProblem& problem) const;
  std::string status_text(Now now) const;
  std::vector<const AgentProblem*> problems(bool advice) const;

  TrayTexts texts_;
  ToLocalTime to_local_time_;

  Link link_ = Link::absent;
  std::optional<AgentState> state_;  // while link_ is known
  std::string other_version_;        // what was not understood
  std::optional<std::chrono::steady_clock::time_point> absent_since_;
  bool is_absence_told_ = false;

  uint64_t last_request_ = 0;
  std::map<uint64_t, Purpose> asked_;
  std::optional<BackupRun> backup_;
  Timestamp backup_begun_at_{};
  std::optional<int> told_percent_;
  std::chrono::steady_clock::time_point told_percent_at_{};

  // By code: when a problem that was told of was last seen.
  std::map<std::string, std::chrono::steady_clock::time_point> told_problems_;

  std::vector<TrayRequest> requests_;
  std::vector<TrayNotification> notifications_;
};

}  // namespace tillsync
