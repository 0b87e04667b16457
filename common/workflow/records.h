// Workflows as they are stored: the rows of workflows and workflow_steps, and their JSON for `workflows --json`.
//
// Threads: as StateDb.
#pragma once

#include <optional>
#include <string>
#include <vector>
#include "base/json.h"

#include "base/ids.h"
#include "state/state_db.h"

namespace tillsync {

enum class WorkflowType { backup, restore, migration, replay };
enum class WorkflowStatus { pending, in_progress, completed, failed, cancelled };
enum class StepStatus { pending, in_progress, completed, failed, skipped };

std::string_view to_string(WorkflowType type);      // "BACKUP"
std::string_view to_string(WorkflowStatus status);  // "IN_PROGRESS"
std::string_view to_string(StepStatus status);
constexpr bool is_final(WorkflowStatus s) {
  return s == WorkflowStatus::completed || s == WorkflowStatus::failed || s == WorkflowStatus::cancelled;
}

struct StepRecord {
  int64_t id = 0;
  Uuid uuid;
  int64_t workflow_id = 0;
  std::string type;
  StepStatus status = StepStatus::pending;
  Json data;             // COMPLETED: its result; else what it saved on the way
  int64_t sequence = 0;  // from 1
  std::optional<Timestamp> started_at, completed_at;
  std::optional<std::string> error;
  uint32_t retry_count = 0;               // all retries of this step, interruptions included
  std::vector<std::string> dependencies;  // uuids of steps
};

// In the data of an unfinished step: StepContext::no_way_back().
inline constexpr const char* kNoWayBack = "no_way_back";
bool has_no_way_back(const StepRecord& step);

struct WorkflowRecord {
  int64_t id = 0;
  Uuid uuid;
  std::string name;
  WorkflowType type = WorkflowType::backup;
  WorkflowStatus status = WorkflowStatus::pending;
  Json data;
  Timestamp created_at, updated_at;
  std::optional<Timestamp> completed_at;
  std::optional<std::string> error;
  std::optional<ErrorKind> error_kind;
  uint32_t retry_count = 0;  // retries since the last step that completed
  uint32_t max_retries = 0;
  Timestamp not_before;           // epoch when it may run now
  Json progress;                  // to_json(Progress), as it was kept last; null before
  std::vector<StepRecord> steps;  // in order
};

// not_found: no such workflow.
Result<WorkflowRecord> read_workflow(Connection& db, const Uuid& uuid);
// Newest first, with their steps.
Result<std::vector<WorkflowRecord>> read_workflows(Connection& db, size_t limit);

// The data of the last step that was completed and not skipped; null without one.
Json result_of(const WorkflowRecord& workflow);

// snake_case, times in RFC 3339; null where there is no value.
Json to_json(const WorkflowRecord& workflow);

// Text of a JSON value for state.db; bytes that are not UTF-8 are replaced, never thrown about.
std::string dump(const Json& value);
Result<Json> parse_json(const std::string& text, std::string_view what);

}  // namespace tillsync
