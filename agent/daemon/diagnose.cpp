// What the agent knows of itself, for whoever helps: figures, states and reasons; no row of the application's, no key.
#include "agent/daemon/control_methods.h"
#include "agent/logging/log_output.h"
#include "sqlite/connection.h"

namespace tillsync {

namespace {

constexpr size_t kWorkflows = 30;

// A failed action names the row's key, and why; both may be data.
std::string without_rows(const std::string& text) {
  const auto at = text.find(", entity ");
  return at == text.npos ? text : text.substr(0, at) + ", entity left out";
}

Json workflow_summary(const WorkflowRecord& record) {
  const auto error = [](const std::optional<std::string>& text) {
    return text ? Json(without_rows(*text)) : Json(nullptr);
  };
  Json one{{"uuid", record.uuid.str()},
           {"type", std::string(to_string(record.type))},
           {"database", record.data.value("database", "")},
           {"status", std::string(to_string(record.status))},
           {"attempts", record.retry_count},
           {"error", error(record.error)},
           {"created_at", to_rfc3339(record.created_at)},
           {"updated_at", to_rfc3339(record.updated_at)},
           {"steps", Json::array()}};
  for (auto& step : record.steps)
    one["steps"].push_back({{"name", step.type},
                            {"status", std::string(to_string(step.status))},
                            {"attempts", step.retry_count},
                            {"error", error(step.error)}});
  return one;
}

// Tables that hold no rows of the application's, with all their columns as text.
Result<Json> rows_of(Connection& db, const std::string& sql) {
  TILLSYNC_LET(auto query, db.prepare(sql));
  Json rows = Json::array();
  while (true) {
    TILLSYNC_LET(bool row, query.step());
    if (!row) return rows;
    Json one = Json::object();
    for (int i = 0; i < sqlite3_column_count(query.handle()); i++)
      one[sqlite3_column_name(query.handle(), i)] = query.is_null(i) ? Json(nullptr) : Json(query.text(i));
    rows.push_back(std::move(one));
  }
}

}  // namespace

Result<Json> ControlMethods::diagnose() {
  Json document = Json::object();
  document["created_at"] = to_rfc3339(agent_.ports_.clock->now());
  TILLSYNC_LET(document["status"], status());
  const ProcessFigures process = agent_.ports_.process_figures();
  document["process"] = {{"resident_bytes", process.resident_bytes},
                         {"virtual_bytes", process.virtual_bytes},
                         {"cpu_seconds", process.cpu_seconds},
                         {"open_files", process.open_files},
                         {"threads", process.threads},
                         {"started_at", to_rfc3339(process.started_at)}};
  const StoreCounts counts = agent_.counted_store_->counts();
  document["store_requests"] = Json::object();
  for (size_t i = 0; i < kStoreOperations; i++)
    document["store_requests"][std::string(to_string(static_cast<StoreOperation>(i)))] = counts.calls[i];
  document["store_errors"] = Json::object();
  for (size_t i = 0; i < counts.errors.size(); i++)
    document["store_errors"][std::string(to_string(static_cast<ErrorClass>(i)))] = counts.errors[i];
  document["sqlite"] = sqlite3_libversion();
  document["workflows"] = Json::array();
  TILLSYNC_LET(const auto workflows, agent_.engine_->list(kWorkflows));
  for (auto& record : workflows) document["workflows"].push_back(workflow_summary(record));
  {
    auto db = agent_.state_->lease();
    TILLSYNC_LET(document["schedule"], rows_of(*db, "SELECT * FROM schedule_runs"));
    TILLSYNC_LET(document["waiting"],
                 rows_of(*db,
                         "SELECT lane, count(*) AS objects, sum(size) AS bytes, min(created_at) AS oldest FROM "
                         "transfer_queue GROUP BY lane"));
    TILLSYNC_LET(document["migrations"], rows_of(*db, "SELECT version, name, applied_at FROM migrations"));
    TILLSYNC_LET(document["state_db_pages"], db->query_integer("PRAGMA page_count"));
  }
  document["log"] = Json::array();
  for (auto& line : recent_log()) document["log"].push_back(without_rows(line));
  return document;
}

}  // namespace tillsync
