// Commands that read the store: through the agent where there is one, else directly.
#include <ostream>
#include <thread>

#include "agent/cli/cli.h"
#include "agent/cli/render.h"
#include "agent/config/retention_policy.h"

namespace tillsync {

namespace {

constexpr int kPage = 1000;
constexpr auto kPollPause = std::chrono::milliseconds(100);

Json database_params(const Arguments& arguments) {
  Json params = Json::object();
  if (!arguments.database.empty()) params["database"] = arguments.database;
  return params;
}

Json log_params(const Arguments& arguments) {
  Json params = database_params(arguments);
  if (!arguments.table.empty()) params["table"] = arguments.table;
  if (!arguments.entity.empty()) params["entity"] = arguments.entity;
  if (arguments.from_sequence) params["from"] = *arguments.from_sequence;
  if (arguments.to_sequence) params["to"] = *arguments.to_sequence;
  if (!arguments.since.empty()) params["since"] = arguments.since;
  return params;
}

void print_action(const CliContext& context, const Json& action) { context.print(action, render_action); }

// Page by page; with --follow the agent holds a call back until there is something.
Result<void> log_from_agent(const CliContext& context, ControlClient& agent, Json params) {
  params["limit"] = kPage;
  bool caught_up = false;
  while (true) {
    if (caught_up) params["wait"] = true;
    const auto asked = std::chrono::steady_clock::now();
    TILLSYNC_LET(const Json page, agent.call("log", params));
    for (const auto& action : member(page, "actions")) {
      print_action(context, action);
      params["after"] = member(action, "sequence");
    }
    context.out() << std::flush;
    if (!context.out().good()) return {};
    const Json& next = member(page, "next");
    if (!next.is_null()) params["after"] = next;
    if (next.is_null() || caught_up) {
      if (!context.arguments().follow) return {};
      caught_up = true;
    }
    // An agent that does not hold the call back must not be asked in a spin.
    const bool at_once = std::chrono::steady_clock::now() - asked < kPollPause;
    if (caught_up && at_once && member(page, "actions").empty()) std::this_thread::sleep_for(kPollPause);
  }
}

Result<void> finish_verification(const CliContext& context, const Json& verification) {
  context.print(verification, render_verification);
  if (flag_in(verification, "ok")) return {};
  return Error{ErrorKind::corrupt, 0, "verification failed: the data does not match its proof"};
}

}  // namespace

Result<void> run_snapshots(const CliContext& context) {
  TILLSYNC_LET(auto source, context.agent_or_store());
  const Json params = database_params(context.arguments());
  auto snapshots = source.agent ? source.agent->call("snapshots", params) : source.store->snapshots(params);
  if (!snapshots) return std::move(snapshots).error();
  context.print(*snapshots, render_snapshots);
  return {};
}

Result<void> run_log(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  if (arguments.follow && !arguments.store.empty())
    return Error{ErrorKind::usage, 0, "--follow needs an agent: a store does not tell when something comes"};
  const Json params = log_params(arguments);
  TILLSYNC_LET(auto source, context.agent_or_store());
  if (source.agent) return log_from_agent(context, *source.agent, params);
  if (arguments.follow) return std::move(context.connect()).error();
  return source.store->log(params, [&](const Json& action) -> Result<void> {
    print_action(context, action);
    if (context.environment().is_interrupted()) return Error{ErrorKind::cancelled, 0, "interrupted"};
    if (!context.out().good()) return Error{ErrorKind::no_space, 0, "could not write the output"};
    return {};
  });
}

Result<void> run_log_verify(const CliContext& context) {
  TILLSYNC_LET(auto store, context.open_store());
  ProgressView view(context.err(), context.progress_kind());
  TILLSYNC_LET(const Json verification,
               store->log_verify(database_params(context.arguments()), context.store_progress(view)));
  view.finish();
  return finish_verification(context, verification);
}

Result<void> run_prune(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  Json params = database_params(arguments);
  params["dry_run"] = arguments.dry_run;
  TILLSYNC_LET(auto source, context.agent_or_store());
  ProgressView view(context.err(), context.progress_kind());
  // This machine's own configuration may be that of another till: it counts where it was named, or names the store.
  if (source.store && (!arguments.config.empty() || arguments.store.empty()))
    params["retention"] = to_json(policy_of(context.config().retention));
  TILLSYNC_LET(const Json pruned, source.agent ? source.agent->call("prune", params)
                                               : source.store->prune(params, context.store_progress(view)));
  view.finish();
  context.print(pruned, render_prune);
  for (const auto& database : member(pruned, "databases"))
    if (!member(database, "problems").empty())
      return Error{ErrorKind::corrupt, 0,
                   "not everything was pruned: what can't be read is no reason to remove something"};
  if (!member(member(pruned, "assets"), "problems").empty())
    return Error{ErrorKind::corrupt, 0,
                 "no file asset was pruned: what can't be read is no reason to remove something"};
  return {};
}

Result<void> run_verify(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  Json params = database_params(arguments);
  if (!arguments.snapshot.empty()) params["snapshot"] = arguments.snapshot;
  params["data"] = arguments.data;
  TILLSYNC_LET(auto store, context.open_store());
  ProgressView view(context.err(), context.progress_kind());
  TILLSYNC_LET(const Json verification, store->verify(params, context.store_progress(view)));
  view.finish();
  return finish_verification(context, verification);
}

}  // namespace tillsync
