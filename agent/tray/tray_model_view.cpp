// What the tray shows: icon, words and menu, out of what is known.
#include "agent/tray/tray_model.h"

namespace tillsync {

namespace {

constexpr size_t kLineMax = 120;      // bytes; panels draw it on one line
constexpr size_t kProblemsShown = 3;  // a notification with more is cut by most desktops

// Under a till that sells something is always on its way, for a second.
constexpr std::chrono::minutes kAMoment{1};

// Nothing waits during a pause, and nothing where capture fails: that says nothing of the sales made since.
bool is_all_safe(const AgentState& state) {
  using Condition = AgentState::Condition;
  return state.waiting == 0 && (state.condition == Condition::ok || state.condition == Condition::working);
}

// Cut between two characters of UTF-8.
std::string shortened(std::string text) {
  if (text.size() <= kLineMax) return text;
  size_t end = kLineMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

void add_line(std::string& text, const std::string& line) {
  if (line.empty()) return;
  if (!text.empty()) text += "\n";
  text += line;
}

}  // namespace

TrayView TrayModel::view(Now now) const { return {icon(), line(now), details(now), menu(now)}; }

std::optional<Milliseconds> TrayModel::view_stands_for(Now now) const {
  // A problem's line has no age in it.
  if (!state_ || !state_->last_backup_at || icon() == TrayIcon::attention) return std::nullopt;
  Milliseconds stands = age_stands_for(now.wall - *state_->last_backup_at);
  if (is_all_safe(*state_) || !state_->safe_until) return stands;
  const Milliseconds age = now.wall - *state_->safe_until;
  return age < kAMoment ? std::min<Milliseconds>(stands, kAMoment - age) : stands;
}

TrayIcon TrayModel::icon() const {
  if (link_ == Link::absent) return TrayIcon::no_agent;
  if (link_ != Link::known) return TrayIcon::attention;
  switch (state_->condition) {
    case AgentState::Condition::attention: return TrayIcon::attention;
    case AgentState::Condition::paused: return TrayIcon::paused;
    case AgentState::Condition::working: return TrayIcon::working;
    case AgentState::Condition::ok: break;
  }
  return backup_ ? TrayIcon::working : TrayIcon::ok;
}

bool TrayModel::is_pausing() const {
  return state_ && (state_->condition == AgentState::Condition::paused || state_->paused_until);
}

std::string TrayModel::line(Now now) const {
  switch (link_) {
    case Link::absent: return texts_.say(Text::no_agent);
    case Link::denied: return texts_.say(Text::denied);
    case Link::other_version: return texts_.say(Text::other_version);
    case Link::known: break;
  }
  switch (icon()) {
    case TrayIcon::attention: {
      const auto all = problems(false);
      if (all.empty()) return texts_.say(Text::attention);
      if (all.size() == 1) return shortened(problem_text(*all.front()));
      return texts_.say(Text::problems, {std::to_string(all.size())});
    }
    case TrayIcon::paused:
      if (!state_->paused_until) return texts_.say(Text::paused);
      return texts_.say(Text::paused_until, {time(*state_->paused_until, now)});
    case TrayIcon::working: {
      if (state_->workflow) return work_line(*state_->workflow);
      if (!backup_) return texts_.say(Text::working);
      return work_line({"", "BACKUP", backup_->percent(), std::nullopt});
    }
    case TrayIcon::ok:
    case TrayIcon::no_agent: break;
  }
  return backups_line(*state_, now);
}

std::string TrayModel::backups_line(const AgentState& state, Now now) const {
  if (!state.last_backup_at) return texts_.say(Text::no_backup);
  std::string line = texts_.say(Text::last_backup, {texts_.age(now.wall - *state.last_backup_at)});
  if (is_all_safe(state)) return line + ", " + texts_.say(Text::all_safe);
  if (!state.safe_until) return line;
  if (now.wall - *state.safe_until < kAMoment) return line + ", " + texts_.say(Text::safe_until_now);
  return line + ", " + texts_.say(Text::safe_until, {time(*state.safe_until, now)});
}

std::string TrayModel::work_line(const RunningWorkflow& workflow) const {
  std::string line = texts_.say(workflow.type == "BACKUP"    ? Text::backing_up
                                : workflow.type == "RESTORE" ? Text::restoring
                                                             : Text::working);
  if (workflow.percent) line += ", " + std::to_string(*workflow.percent) + " %";
  if (workflow.left) line += ", " + texts_.left(*workflow.left);
  return line;
}

std::string TrayModel::details(Now now) const {
  switch (link_) {
    case Link::absent: return texts_.say(Text::no_agent_remedy);
    case Link::denied: return texts_.say(Text::denied_remedy);
    case Link::other_version: return texts_.say(Text::other_version_remedy);
    case Link::known: break;
  }
  // What is on its way for a moment is no news, and another number every second.
  const bool waits = state_->waiting > 0 && !(state_->safe_until && now.wall - *state_->safe_until < kAMoment);
  const std::string waiting = waits ? texts_.count(Text::change_waits, Text::changes_wait, state_->waiting) : "";
  std::string out;
  switch (icon()) {
    case TrayIcon::attention: {
      const auto all = problems(false);
      if (all.size() == 1) {
        const ProblemWords* words = texts_.problem(all.front()->code);
        const std::string remedy = words ? std::string(words->remedy) : all.front()->remedy;
        return remedy.empty() ? "" : texts_.say(Text::what_to_do, {remedy});
      }
      for (size_t i = 0; i < all.size() && i < kProblemsShown; ++i) add_line(out, shortened(problem_text(*all[i])));
      if (all.size() > kProblemsShown)
        add_line(out, texts_.count(Text::one_more, Text::more, all.size() - kProblemsShown));
      return out;
    }
    case TrayIcon::paused: add_line(out, texts_.say(Text::after_pause)); [[fallthrough]];
    case TrayIcon::working: add_line(out, backups_line(*state_, now)); break;
    case TrayIcon::ok:
    case TrayIcon::no_agent: break;
  }
  add_line(out, waiting);
  return out;
}

std::vector<MenuEntry> TrayModel::menu(Now now) const {
  const bool can_ask = link_ == Link::known;
  const bool runs = backup_ || (state_ && state_->workflow && state_->workflow->type == "BACKUP");
  const bool pauses = is_pausing();
  return {
      {MenuItem::state_line, line(now), false},
      {MenuItem::separator_before_actions, ""},
      {MenuItem::back_up_now, backup_label(), can_ask && !runs && !pauses},
      {MenuItem::pause, texts_.say(Text::menu_pause), can_ask, !pauses},
      {MenuItem::resume, texts_.say(Text::menu_resume), can_ask, pauses},
      {MenuItem::separator_after_actions, ""},
      {MenuItem::show_status, texts_.say(Text::menu_status)},
      {MenuItem::about, texts_.say(Text::menu_about)},
  };
}

std::string TrayModel::backup_label() const {
  const bool is_agents = state_ && state_->workflow && state_->workflow->type == "BACKUP";
  if (!backup_ && !is_agents) return texts_.say(Text::menu_backup);
  const auto percent = backup_ && backup_->percent() ? backup_->percent()
                       : is_agents                   ? state_->workflow->percent
                                                     : std::nullopt;
  return percent ? texts_.say(Text::menu_backup_percent, {std::to_string(*percent)})
                 : texts_.say(Text::menu_backup_runs);
}

std::string TrayModel::time(Timestamp time, Now now) const {
  return texts_.time_of_day(to_local_time_(time), to_local_time_(now.wall));
}

std::vector<const AgentProblem*> TrayModel::problems(bool advice) const {
  std::vector<const AgentProblem*> out;
  if (!state_) return out;
  for (const AgentProblem& problem : state_->problems)
    if (problem.is_advice == advice && !(advice && problem.code == "paused"))  // its line says so
      out.push_back(&problem);
  return out;
}

std::string TrayModel::problem_text(const AgentProblem& problem) const {
  if (const ProblemWords* words = texts_.problem(problem.code)) return std::string(words->text);
  return problem.text.empty() ? problem.code : problem.text;
}

std::string TrayModel::problem_in_full(const AgentProblem& problem) const {
  const ProblemWords* words = texts_.problem(problem.code);
  std::string out = problem_text(problem);
  const std::string remedy = words ? std::string(words->remedy) : problem.remedy;
  if (!remedy.empty()) add_line(out, texts_.say(Text::what_to_do, {remedy}));
  if (words && !problem.text.empty()) add_line(out, texts_.say(Text::for_it, {problem.text}));
  return out;
}

std::string TrayModel::status_text(Now now) const {
  // The problems are said in full below.
  std::string out = link_ == Link::known && icon() == TrayIcon::attention ? backups_line(*state_, now)
                                                                          : line(now) + "\n" + details(now);
  if (out.ends_with('\n')) out.pop_back();
  if (link_ == Link::other_version) add_line(out, texts_.say(Text::for_it, {other_version_}));
  const auto all = problems(false), advice = problems(true);
  for (size_t i = 0; i < all.size() && i < kProblemsShown; ++i) add_line(out, problem_in_full(*all[i]));
  if (all.size() > kProblemsShown) add_line(out, texts_.count(Text::one_more, Text::more, all.size() - kProblemsShown));
  for (size_t i = 0; i < advice.size() && i < kProblemsShown; ++i)
    add_line(out, texts_.say(Text::advice, {problem_in_full(*advice[i])}));
  return out;
}

}  // namespace tillsync
