#include "agent/cli/cli.h"
#include "agent/cli/render.h"
#include "agent/cli/restore_assets.h"
#include "agent/cli/target_file.h"

namespace tillsync {

namespace {

Json restore_params(const Arguments& arguments) {
  Json params = Json::object();
  if (!arguments.database.empty()) params["database"] = arguments.database;
  if (!arguments.snapshot.empty()) params["snapshot"] = arguments.snapshot;
  if (!arguments.at.empty()) params["at"] = arguments.at;
  if (arguments.sequence) params["sequence"] = *arguments.sequence;
  if (arguments.transaction) params["transaction"] = *arguments.transaction;
  if (arguments.keep_going) params["keep_going"] = true;
  if (arguments.no_integrity_check) params["no_integrity_check"] = true;
  return params;
}

// The agent fills and proves the file through our descriptor: it needs no right to the target. One that was started
// again meanwhile has lost the descriptor, stages in its own folder, and copies when asked to deliver.
Result<Json> restore_by_agent(const CliContext& context, ControlClient& agent, const Json& params, int fd) {
  ControlClient::CallOptions options;
  options.fd = fd;
  TILLSYNC_LET(const Json begun, agent.call("restore", params, options));
  const std::string uuid = text_in(begun, "uuid");
  TILLSYNC_TRY(wait_for_workflow(context, agent, uuid));
  const Json deliver{{"uuid", uuid}, {"into_given", true}};
  return agent.call("restore.deliver", deliver, options);
}

// Beside their places, proven; they are put there together with the database.
Result<void> stage_assets(const CliContext& context, const CliContext::Source& source, const Json& restored,
                          AssetsTarget& target) {
  Json params{{"snapshot", text_in(restored, "snapshot_uuid")}};
  if (!context.arguments().database.empty()) params["database"] = context.arguments().database;
  TILLSYNC_LET(const AssetSource assets,
               source.agent ? assets_by_agent(*source.agent, params) : source.store->assets(params));
  ProgressView view(context.err(), context.progress_kind());
  return target.stage(assets, context.store_progress(view));
}

}  // namespace

namespace {

// What the person would lose without having meant to.
Result<void> confirm(const CliContext& context, ControlClient& agent) {
  const Arguments& arguments = context.arguments();
  if (arguments.yes) return {};
  TILLSYNC_LET(const Json status, agent.call("status"));
  std::string which = "the database", now;
  for (auto& database : member(status, "databases")) {
    if (!arguments.database.empty() && text_in(database, "name") != arguments.database) continue;
    which = "database '" + text_in(database, "name") + "' (" + text_in(database, "path") + ")";
    now = ", which is at transaction " + human_count(count_in(database, "transaction"));
  }
  if (!context.environment().ask)
    return Error{ErrorKind::denied, 0,
                 "this replaces the content of " + which + ", and nobody is there to be asked: say --yes"};
  const std::string answer = context.environment().ask(
      "This replaces the content of " + which + now +
      (arguments.undo ? ", by what was there before the last restore in place" : ", by an earlier one") +
      ". What is there now is kept and can be put back with --undo.\nReplace it? Type yes: ");
  if (answer == "yes") return {};
  return Error{ErrorKind::denied, 0, "nothing was changed"};
}

Result<void> restore_in_place(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  if (!arguments.store.empty())
    return Error{ErrorKind::usage, 0, "--in-place is done by the agent that follows the database: leave out --store"};
  if (!arguments.assets.empty())
    return Error{ErrorKind::usage, 0, "--in-place puts assets where they were: --assets goes with --to"};
  TILLSYNC_LET(auto agent, context.connect());
  TILLSYNC_TRY(confirm(context, agent));
  Json params = restore_params(arguments);
  params["in_place"] = true;
  if (arguments.undo) params["undo"] = true;
  TILLSYNC_LET(const Json begun, agent.call("restore", params));
  TILLSYNC_LET(const Json restored, wait_for_workflow(context, agent, text_in(begun, "uuid")));
  context.print(restored, [&](const Json& document, const Style& style) {
    return render_restore(document, arguments.undo ? "what was there before" : "restored in place", style);
  });
  return {};
}

}  // namespace

Result<void> run_restore(const CliContext& context) {
  const Arguments& arguments = context.arguments();
  if (arguments.in_place) return restore_in_place(context);
  if (arguments.target.empty())
    return Error{ErrorKind::usage, 0, "restore: say where to: --to FILE, or --in-place for the followed database"};
  std::vector<std::string> followed;
  for (const auto& database : context.config().databases) followed.push_back(database.path);
  TILLSYNC_LET(auto target, TargetFile::open(arguments.target, arguments.force, followed));
  std::unique_ptr<AssetsTarget> assets;
  if (!arguments.assets.empty()) {
    TILLSYNC_LET(assets, AssetsTarget::open(arguments.assets, arguments.force));
  }
  TILLSYNC_LET(auto source, context.agent_or_store());
  const Json params = restore_params(arguments);
  ProgressView view(context.err(), source.agent ? ProgressView::Kind::none : context.progress_kind());
  auto restored = source.agent ? restore_by_agent(context, *source.agent, params, target.fd())
                               : source.store->restore(params, target.fd(), context.store_progress(view));
  view.finish();
  if (!restored) return std::move(restored).error();
  // Belt and braces: nobody gets a file under the asked name that was not proven, unless he asked to keep going, or for
  // the pages of a damaged database, by their uuid.
  const bool proven = flag_in(*restored, "proven"), page_level = flag_in(*restored, "page_level");
  if (!proven && !page_level && !arguments.keep_going)
    return Error{ErrorKind::corrupt, 0,
                 "the restored data does not match its proof: " + arguments.target + " was not made"};
  if (assets) TILLSYNC_TRY(stage_assets(context, source, *restored, *assets));
  TILLSYNC_TRY(target.commit());
  if (assets) {
    TILLSYNC_LET((*restored)["assets"], assets->put_in_place());
  }
  context.print(*restored, [&](const Json& document, const Style& style) {
    return render_restore(document, arguments.target, style);
  });
  if (!proven && !page_level)
    return Error{ErrorKind::corrupt, 0, arguments.target + " was made as --keep-going asks, but it is not proven"};
  return {};
}

Result<void> run_drill(const CliContext& context) {
  TILLSYNC_LET(auto agent, context.connect());
  Json params{{"drill", true}};
  if (!context.arguments().database.empty()) params["database"] = context.arguments().database;
  TILLSYNC_LET(const Json begun, agent.call("restore", params));
  TILLSYNC_LET(const Json proven, wait_for_workflow(context, agent, text_in(begun, "uuid")));
  context.print(proven, [](const Json& document, const Style& style) {
    return render_restore(document, "everything up to " + text_in(document, "restorable_until"), style);
  });
  return {};
}

}  // namespace tillsync
