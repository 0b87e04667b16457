#include "agent/tray/agent_state.h"

#include <algorithm>
#include <cmath>

namespace tillsync {

namespace {

const Json& member_of(const Json& document, const char* key) {
  static const Json kNull;
  if (!document.is_object()) return kNull;
  const auto found = document.find(key);
  return found == document.end() ? kNull : *found;
}

Result<std::optional<Timestamp>> time_in(const Json& document, const char* key) {
  const Json& value = member_of(document, key);
  if (value.is_null()) return std::optional<Timestamp>();
  if (!value.is_string()) return Error{ErrorKind::usage, 0, std::string(key) + ": expected a time or null"};
  TILLSYNC_LET(const Timestamp time, parse_rfc3339(value.get_ref<const std::string&>()).with(key));
  return std::optional(time);
}

Result<AgentState::Condition> condition_in(const Json& document) {
  using Condition = AgentState::Condition;
  const std::string name = text_in_document(document, "state");
  if (name == "ok") return Condition::ok;
  if (name == "working") return Condition::working;
  if (name == "attention") return Condition::attention;
  if (name == "paused") return Condition::paused;
  return Error{ErrorKind::usage, 0, "state: expected ok, working, attention or paused, not '" + name + "'"};
}

}  // namespace

std::string text_in_document(const Json& document, const char* key) {
  const Json& value = member_of(document, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<int> percent_in(const Json& document) {
  const Json& value = member_of(document, "percent");
  if (!value.is_number()) return std::nullopt;
  return static_cast<int>(std::floor(std::clamp(value.get<double>(), 0.0, 100.0)));
}

Result<AgentState> parse_agent_state(const Json& document) {
  AgentState state;
  TILLSYNC_LET(state.condition, condition_in(document));
  TILLSYNC_LET(state.last_backup_at, time_in(document, "last_backup_at"));
  TILLSYNC_LET(state.safe_until, time_in(document, "safe_until"));
  TILLSYNC_LET(state.paused_until, time_in(document, "paused_until"));
  if (const Json& waiting = member_of(document, "waiting"); waiting.is_number_integer())
    state.waiting = static_cast<uint64_t>(std::max<int64_t>(0, waiting.get<int64_t>()));
  if (const Json& workflow = member_of(document, "workflow"); workflow.is_object()) {
    RunningWorkflow running{text_in_document(workflow, "uuid"), text_in_document(workflow, "type"),
                            percent_in(workflow), std::nullopt};
    const Json& left = member_of(workflow, "eta_ms");
    constexpr double kLongest = 1e12;  // milliseconds: 30 years
    if (left.is_number() && left.get<double>() >= 0)
      running.left = Milliseconds(static_cast<int64_t>(std::min(left.get<double>(), kLongest)));
    state.workflow = std::move(running);
  }
  const Json& problems = member_of(document, "problems");
  if (!problems.is_array()) return state;
  for (const Json& problem : problems)
    state.problems.push_back({text_in_document(problem, "code"), text_in_document(problem, "text"),
                              text_in_document(problem, "remedy"), text_in_document(problem, "severity") == "advice"});
  return state;
}

}  // namespace tillsync
