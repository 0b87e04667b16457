// Commands that only an agent can answer.
#include <ostream>

#include "agent/cli/cli.h"
#include "agent/cli/render.h"

namespace tillsync {

Result<void> run_status(const CliContext& context) {
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json status, agent.call("status"));
  context.print(status, render_status);
  return {};
}

Result<void> run_backup(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  Json params = Json::object();
  if (!arguments.type.empty()) params["type"] = arguments.type;
  if (!arguments.database.empty()) params["database"] = arguments.database;
  if (!arguments.name.empty()) params["name"] = arguments.name;
  if (!arguments.description.empty()) params["description"] = arguments.description;
  if (arguments.no_dedup) params["dedup"] = false;
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json begun, agent.call("backup", params));
  const std::string snapshot = text_in(begun, "snapshot_uuid");
  const std::string workflow = text_in(begun, "uuid");
  if (!arguments.wait) {
    const Json document{{"uuid", snapshot}, {"workflow_uuid", workflow}};
    context.print(document, [&](const Json&, const Style&) { return snapshot + "\n"; });
    return {};
  }
  TILLSYNC_LET(const Json result, wait_for_workflow(context, agent, workflow));
  if (!arguments.json) context.err() << render_snapshot_line(result);
  context.print(result, [&](const Json& document, const Style&) { return text_in(document, "uuid", snapshot) + "\n"; });
  return {};
}

Result<void> run_flush(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  Json params{{"wait", arguments.wait}};
  if (!arguments.database.empty()) params["database"] = arguments.database;
  TILLSYNC_LET(auto agent, context.connect());
  ControlClient::CallOptions options;
  if (arguments.timeout) options.deadline = std::chrono::steady_clock::now() + *arguments.timeout;
  TILLSYNC_LET(const Json flushed, agent.call("flush", params, options));
  context.print(flushed, [](const Json& document, const Style&) { return render_flush(document); });
  return {};
}

Result<void> run_cancel(const CliContext& context) {
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json cancelled, agent.call("workflow.cancel", {{"uuid", context.arguments().workflow}}));
  context.print(cancelled, [](const Json& document, const Style&) {
    return "workflow " + text_in(document, "uuid") + " ends and cleans up\n";
  });
  return {};
}

// Answered when nothing of the databases is open any more.
Result<void> run_pause(const CliContext& context) {
  Json params = Json::object();
  if (context.arguments().pause_length) params["for_ms"] = context.arguments().pause_length->count();
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json paused, agent.call("pause", params));
  context.print(paused, [](const Json& document, const Style&) {
    return "paused until " + text_in(document, "paused_until", "'tillsync resume'") +
           ": the databases' files are let go of; what is sold meanwhile is captured afterwards\n";
  });
  return {};
}

Result<void> run_resume(const CliContext& context) {
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json resumed, agent.call("resume"));
  context.print(resumed, [](const Json&, const Style&) { return std::string("capture goes on\n"); });
  return {};
}

Result<void> run_workflows(const CliContext& context) {
  Json params = Json::object();
  if (!context.arguments().workflow.empty()) params["uuid"] = context.arguments().workflow;
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_LET(const Json workflows, agent.call("workflows", params));
  context.print(workflows, render_workflows);
  return {};
}

}  // namespace tillsync
