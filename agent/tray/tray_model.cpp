// What happens to the tray; what it shows is in tray_model_view.cpp.
#include "agent/tray/tray_model.h"
#include "version.h"

#include <algorithm>
#include <utility>

namespace tillsync {

using namespace std::chrono_literals;

namespace {

constexpr Milliseconds kPause = 1h;
// A restart of the agent, or of the till, is no news.
constexpr auto kAbsenceToldAfter = 2min;
// A problem that comes and goes is told of once.
constexpr auto kProblemForgottenAfter = 1h;
constexpr auto kProgressToldEvery = 2s;

}  // namespace

TrayModel::TrayModel(TrayTexts texts, ToLocalTime to_local_time, Now now)
    : texts_(texts), to_local_time_(std::move(to_local_time)), absent_since_(now.steady) {}

uint64_t TrayModel::ask(Purpose purpose, const std::string& method, Json params) {
  const uint64_t id = ++last_request_;
  asked_.emplace(id, purpose);
  requests_.push_back({id, method, std::move(params)});
  return id;
}

std::vector<TrayRequest> TrayModel::take_requests() { return std::exchange(requests_, {}); }
std::vector<TrayNotification> TrayModel::take_notifications() { return std::exchange(notifications_, {}); }

// What is shown stays until the agent has said how it is: a connection that is refused at once must not flicker.
void TrayModel::connected(Now) {
  ask(Purpose::watch, "watch", Json::object());
  if (backup_) backup_->connected();
}

void TrayModel::lost(const Error& why, Now now) {
  if (state_)
    for (const AgentProblem& problem : state_->problems) told_problems_.insert_or_assign(problem.code, now.steady);
  state_.reset();
  requests_.clear();
  const auto asked = std::exchange(asked_, {});
  if (why.kind == ErrorKind::denied) {
    link_ = Link::denied;
    absent_since_.reset();
  } else {
    link_ = Link::absent;
    if (!absent_since_) absent_since_ = now.steady;
  }
  for (const auto& [id, purpose] : asked) {
    if (purpose == Purpose::pause) pause_answered(why, now);
    if (purpose == Purpose::resume) resume_answered(why);
  }
  if (!backup_) return;
  backup_->lost();
  backup_may_have_ended(now);
}

void TrayModel::notified(const std::string& method, const Json& params, Now now) {
  if (method == "progress" && backup_ && backup_->progressed(params)) return tell_progress(now);
  if (method != "state") return;
  auto state = parse_agent_state(params);
  absent_since_.reset();
  is_absence_told_ = false;
  if (!state) {
    link_ = Link::other_version;
    other_version_ = state.error().context;
    state_.reset();
    return;
  }
  link_ = Link::known;
  const auto before = std::exchange(state_, std::move(*state));
  if (before)
    for (const AgentProblem& problem : before->problems) told_problems_.insert_or_assign(problem.code, now.steady);
  tell_problems(now);
}

void TrayModel::answered(uint64_t request, const Result<Json>& answer, Now now) {
  const auto found = asked_.find(request);
  if (found == asked_.end()) return;
  const Purpose purpose = found->second;
  asked_.erase(found);
  switch (purpose) {
    case Purpose::watch:
      if (answer) return;
      absent_since_.reset();
      state_.reset();
      link_ = answer.error().kind == ErrorKind::denied ? Link::denied : Link::other_version;
      other_version_ = answer.error().context;
      return;
    case Purpose::pause: return pause_answered(answer, now);
    case Purpose::resume: return resume_answered(answer);
    case Purpose::backup:
      if (backup_) backup_->answered(request, answer);
      return backup_may_have_ended(now);
  }
}

void TrayModel::chosen(MenuItem item, Now now) {
  const auto entries = menu(now);
  const auto entry = std::find_if(entries.begin(), entries.end(), [&](const MenuEntry& e) { return e.item == item; });
  if (entry == entries.end() || !entry->enabled || !entry->visible) return;
  const auto waits = [&](Purpose purpose) {
    return std::any_of(asked_.begin(), asked_.end(), [&](const auto& asked) { return asked.second == purpose; });
  };
  switch (item) {
    case MenuItem::back_up_now:
      backup_begun_at_ = now.wall;
      told_percent_.reset();
      told_percent_at_ = now.steady;
      backup_.emplace(
          [this](const std::string& method, Json params) { return ask(Purpose::backup, method, std::move(params)); });
      return tell({.topic = TrayNotification::Topic::backup,
                   .summary = texts_.say(Text::backup_begun),
                   .body = texts_.say(Text::backup_begun_body),
                   .urgency = TrayNotification::Urgency::low,
                   .icon = TrayIcon::working});
    case MenuItem::pause:
      if (!waits(Purpose::pause)) ask(Purpose::pause, "pause", Json{{"for_ms", kPause.count()}});
      return;
    case MenuItem::resume:
      if (!waits(Purpose::resume)) ask(Purpose::resume, "resume", Json::object());
      return;
    case MenuItem::show_status: {
      const bool is_well = icon() != TrayIcon::attention && icon() != TrayIcon::no_agent;
      return tell({.topic = TrayNotification::Topic::status,
                   .summary = is_well ? "tillsync" : texts_.say(Text::attention),
                   .body = status_text(now),
                   .icon = icon(),
                   .stays = true});
    }
    case MenuItem::about:
      return tell({.topic = TrayNotification::Topic::about,
                   .summary = texts_.say(Text::about_title, {TILLSYNC_VERSION}),
                   .body = texts_.say(Text::about_body)});
    case MenuItem::state_line:
    case MenuItem::separator_before_actions:
    case MenuItem::separator_after_actions: return;
  }
}

void TrayModel::tick(Now now) {
  if (link_ != Link::absent || is_absence_told_ || !absent_since_) return;
  if (now.steady - *absent_since_ < kAbsenceToldAfter) return;
  is_absence_told_ = true;
  tell({.topic = TrayNotification::Topic::attention,
        .summary = texts_.say(Text::attention),
        .body = status_text(now),
        .icon = TrayIcon::no_agent});
}

std::optional<Milliseconds> TrayModel::changes_after(Now now) const {
  if (link_ == Link::absent && !is_absence_told_ && absent_since_)
    return std::max(Milliseconds(0),
                    std::chrono::ceil<Milliseconds>(kAbsenceToldAfter - (now.steady - *absent_since_)));
  return view_stands_for(now);
}

void TrayModel::pause_answered(const Result<Json>& answer, Now now) {
  using Topic = TrayNotification::Topic;
  if (!answer)
    return tell({.topic = Topic::pause,
                 .summary = texts_.say(Text::pause_failed),
                 .body = texts_.reason(answer.error().kind) + "\n" + answer.error().context,
                 .icon = TrayIcon::attention});
  const auto until = parse_rfc3339(text_in_document(*answer, "paused_until"));
  const std::string line = until ? texts_.say(Text::paused_until, {time(*until, now)}) : texts_.say(Text::paused);
  tell({.topic = Topic::pause,
        .summary = texts_.say(Text::pause_title),
        .body = line + ".\n" + texts_.say(Text::after_pause),
        .icon = TrayIcon::paused});
}

void TrayModel::resume_answered(const Result<Json>& answer) {
  using Topic = TrayNotification::Topic;
  if (answer)
    tell({.topic = Topic::pause, .summary = texts_.say(Text::resumed), .body = texts_.say(Text::resumed_body)});
  else
    tell({.topic = Topic::pause,
          .summary = texts_.say(Text::resume_failed),
          .body = texts_.reason(answer.error().kind) + "\n" + answer.error().context,
          .icon = TrayIcon::attention});
}

void TrayModel::tell_progress(Now now) {
  const auto percent = backup_->percent();
  if (!percent || percent == told_percent_ || now.steady - told_percent_at_ < kProgressToldEvery) return;
  told_percent_ = percent;
  told_percent_at_ = now.steady;
  tell({.topic = TrayNotification::Topic::backup,
        .summary = texts_.say(Text::backing_up),
        .body = texts_.say(Text::backup_percent_body, {std::to_string(*percent)}),
        .urgency = TrayNotification::Urgency::low,
        .icon = TrayIcon::working,
        .percent = percent,
        .is_update = true});
}

void TrayModel::backup_may_have_ended(Now now) {
  if (!backup_) return;
  const auto outcome = backup_->outcome();
  if (!outcome) return;
  backup_.reset();
  TrayNotification notification;
  notification.topic = TrayNotification::Topic::backup;
  switch (outcome->ended) {
    case BackupRun::Outcome::Ended::done:
      notification.summary = texts_.say(Text::backup_done);
      notification.body = texts_.say(Text::backup_done_body, {time(backup_begun_at_, now)});
      break;
    case BackupRun::Outcome::Ended::cancelled:
      notification.summary = texts_.say(Text::backup_cancelled);
      notification.body = texts_.say(Text::backup_cancelled_body);
      break;
    case BackupRun::Outcome::Ended::failed: {
      const Error error = outcome->error.value_or(Error{});
      const std::string whose = outcome->database.empty() ? "" : outcome->database + ": ";
      notification.summary = texts_.say(Text::backup_failed);
      notification.body = texts_.reason(error.kind) + " " + texts_.say(Text::backup_failed_remedy) + "\n" +
                          texts_.say(Text::for_it, {whose + error.context});
      notification.icon = TrayIcon::attention;
      told_problems_.insert_or_assign("backup", now.steady);  // the agent will say it as well
      break;
    }
  }
  tell(std::move(notification));
}

void TrayModel::tell_problems(Now now) {
  std::string body;
  for (const AgentProblem* problem : problems(false)) {
    const auto told = told_problems_.find(problem->code);
    const bool is_new = told == told_problems_.end() || now.steady - told->second > kProblemForgottenAfter;
    told_problems_.insert_or_assign(problem->code, now.steady);
    if (is_new) body += (body.empty() ? "" : "\n") + problem_in_full(*problem);
  }
  if (body.empty()) return;
  tell({.topic = TrayNotification::Topic::attention,
        .summary = texts_.say(Text::attention),
        .body = std::move(body),
        .icon = TrayIcon::attention});
}

}  // namespace tillsync
