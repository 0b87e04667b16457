#include "workflow/records.h"

#include <array>

namespace tillsync {

namespace {
constexpr std::array<std::string_view, 4> kTypes{"BACKUP", "RESTORE", "MIGRATION", "REPLAY"};
constexpr std::array<std::string_view, 5> kStatuses{"PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"};
constexpr std::array<std::string_view, 5> kStepStatuses{"PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "SKIPPED"};

template <class Enum, size_t N>
Result<Enum> from_text(const std::array<std::string_view, N>& names, std::string_view text) {
  for (size_t i = 0; i < N; i++)
    if (names[i] == text) return static_cast<Enum>(i);
  return Error{ErrorKind::corrupt, 0, "state.db: '" + std::string(text) + "' is not a known state of a workflow"};
}

std::optional<Timestamp> optional_time(const Statement& row, int column) {
  auto ms = row.optional_integer(column);
  return ms ? std::optional<Timestamp>(from_ms(*ms)) : std::nullopt;
}

constexpr const char* kWorkflowColumns =
    "SELECT id, uuid, name, status, type, data, created_at, updated_at, completed_at, error, error_kind, retry_count,"
    " max_retries, not_before, progress FROM workflows ";

Result<WorkflowRecord> workflow_of(const Statement& row) {
  WorkflowRecord w;
  w.id = row.integer(0);
  TILLSYNC_LET(w.uuid, Uuid::parse(row.text(1)));
  w.name = row.text(2);
  TILLSYNC_LET(w.status, from_text<WorkflowStatus>(kStatuses, row.text(3)));
  TILLSYNC_LET(w.type, from_text<WorkflowType>(kTypes, row.text(4)));
  TILLSYNC_LET(w.data, parse_json(row.text(5), "data of workflow " + w.uuid.str()));
  w.created_at = from_ms(row.integer(6));
  w.updated_at = from_ms(row.integer(7));
  w.completed_at = optional_time(row, 8);
  w.error = row.optional_text(9);
  if (auto kind = row.optional_text(10)) w.error_kind = error_kind_from(*kind);
  w.retry_count = static_cast<uint32_t>(row.integer(11));
  w.max_retries = static_cast<uint32_t>(row.integer(12));
  w.not_before = from_ms(row.integer(13));
  if (auto progress = row.optional_text(14)) {
    TILLSYNC_LET(w.progress, parse_json(*progress, "progress of workflow " + w.uuid.str()));
  }
  return w;
}

Result<void> read_steps(Connection& db, WorkflowRecord& workflow) {
  TILLSYNC_LET(
      auto query,
      db.cached("SELECT id, uuid, workflow_id, step_type, status, data, sequence, started_at, completed_at, error,"
                " retry_count, dependencies FROM workflow_steps WHERE workflow_id=? ORDER BY sequence"));
  query->bind(1, workflow.id);
  while (true) {
    TILLSYNC_LET(bool row, query->step());
    if (!row) return {};
    StepRecord s;
    s.id = query->integer(0);
    TILLSYNC_LET(s.uuid, Uuid::parse(query->text(1)));
    s.workflow_id = query->integer(2);
    s.type = query->text(3);
    TILLSYNC_LET(s.status, from_text<StepStatus>(kStepStatuses, query->text(4)));
    TILLSYNC_LET(s.data, parse_json(query->text(5), "data of step " + s.type));
    s.sequence = query->integer(6);
    s.started_at = optional_time(*query, 7);
    s.completed_at = optional_time(*query, 8);
    s.error = query->optional_text(9);
    s.retry_count = static_cast<uint32_t>(query->integer(10));
    TILLSYNC_LET(Json dependencies, parse_json(query->text(11), "dependencies of step " + s.type));
    for (auto& d : dependencies)
      if (d.is_string()) s.dependencies.push_back(d.get<std::string>());
    workflow.steps.push_back(std::move(s));
  }
}

Json time_or_null(const std::optional<Timestamp>& t) { return t ? Json(to_rfc3339(*t)) : Json(); }
Json text_or_null(const std::optional<std::string>& t) { return t ? Json(*t) : Json(); }

}  // namespace

std::string_view to_string(WorkflowType type) { return kTypes[static_cast<size_t>(type)]; }
std::string_view to_string(WorkflowStatus status) { return kStatuses[static_cast<size_t>(status)]; }
std::string_view to_string(StepStatus status) { return kStepStatuses[static_cast<size_t>(status)]; }

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<Json> parse_json(const std::string& text, std::string_view what) {
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) return Error{ErrorKind::corrupt, 0, std::string(what) + " is not JSON"};
  return value;
}

bool has_no_way_back(const StepRecord& step) {
  const bool open = step.status == StepStatus::pending || step.status == StepStatus::in_progress;
  return open && step.data.is_object() && step.data.value(kNoWayBack, false);
}

Result<WorkflowRecord> read_workflow(Connection& db, const Uuid& uuid) {
  TILLSYNC_LET(auto query, db.prepare(std::string(kWorkflowColumns) + "WHERE uuid=?"));
  query.bind(1, uuid.str());
  TILLSYNC_LET(bool found, query.step());
  if (!found) return Error{ErrorKind::not_found, 0, "there is no workflow " + uuid.str()};
  TILLSYNC_LET(auto workflow, workflow_of(query));
  TILLSYNC_TRY(read_steps(db, workflow));
  return workflow;
}

Result<std::vector<WorkflowRecord>> read_workflows(Connection& db, size_t limit) {
  TILLSYNC_LET(auto query, db.prepare(std::string(kWorkflowColumns) + "ORDER BY id DESC LIMIT ?"));
  query.bind(1, static_cast<uint64_t>(limit));
  std::vector<WorkflowRecord> out;
  while (true) {
    TILLSYNC_LET(bool row, query.step());
    if (!row) break;
    TILLSYNC_LET(auto workflow, workflow_of(query));
    TILLSYNC_TRY(read_steps(db, workflow));
    out.push_back(std::move(workflow));
  }
  return out;
}

Json result_of(const WorkflowRecord& workflow) {
  Json result;
  for (auto& step : workflow.steps)
    if (step.status == StepStatus::completed) result = step.data;
  return result;
}

Json to_json(const WorkflowRecord& w) {
  Json steps = Json::array();
  for (auto& s : w.steps)
    steps.push_back({{"id", std::to_string(s.id)},
                     {"uuid", s.uuid.str()},
                     {"workflow_id", std::to_string(s.workflow_id)},
                     {"step_type", s.type},
                     {"status", to_string(s.status)},
                     {"data", s.data},
                     {"sequence", s.sequence},
                     {"started_at", time_or_null(s.started_at)},
                     {"completed_at", time_or_null(s.completed_at)},
                     {"error", text_or_null(s.error)},
                     {"retry_count", s.retry_count},
                     {"dependencies", s.dependencies}});
  return {{"id", std::to_string(w.id)},
          {"uuid", w.uuid.str()},
          {"name", w.name},
          {"status", to_string(w.status)},
          {"type", to_string(w.type)},
          {"data", w.data},
          {"created_at", to_rfc3339(w.created_at)},
          {"updated_at", to_rfc3339(w.updated_at)},
          {"completed_at", time_or_null(w.completed_at)},
          {"error", text_or_null(w.error)},
          {"error_class", w.error_kind ? Json(to_string(error_class(*w.error_kind))) : Json()},
          {"progress", w.progress},
          {"retry_count", w.retry_count},
          {"max_retries", w.max_retries},
          {"not_before", to_ms(w.not_before) == 0 ? Json() : Json(to_rfc3339(w.not_before))},
          {"steps", std::move(steps)}};
}

}  // namespace tillsync
