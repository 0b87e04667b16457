// What the agent says of itself, as an icon needs it: the notification `state` of the control protocol.
//
// Errors: usage for a document of another shape, which an agent of another version may send; members that are not known
// here are left aside. Threads: values; no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/types.h"

namespace tillsync {

struct RunningWorkflow {
  std::string uuid;
  std::string type;  // "BACKUP", "RESTORE", …
  std::optional<int> percent;
  std::optional<Milliseconds> left;
};

struct AgentProblem {
  std::string code;  // "store", "disk_low", …
  std::string text, remedy;
  bool is_advice = false;  // nothing is wrong, something could be better
};

struct AgentState {
  enum class Condition { ok, working, attention, paused };
  Condition condition = Condition::ok;
  std::optional<Timestamp> last_backup_at;
  uint64_t waiting = 0;                   // changes that are not in the store yet
  std::optional<Timestamp> safe_until;    // every sale captured up to then is in the store
  std::optional<Timestamp> paused_until;  // none: until somebody resumes
  std::optional<RunningWorkflow> workflow;
  std::vector<AgentProblem> problems;
};

Result<AgentState> parse_agent_state(const Json& document);

// 0 to 100; nullopt for what is no number.
std::optional<int> percent_in(const Json& document);
// "" for what is no text.
std::string text_in_document(const Json& document, const char* key);

}  // namespace tillsync
