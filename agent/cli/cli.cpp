#include "agent/cli/cli.h"

#include <cstdlib>
#include <filesystem>
#include <ostream>

namespace tillsync {

namespace {

struct Command {
  const char* name;
  Result<void> (*run)(const CliContext&);
  bool needs_configuration;
  bool reads_store;  // takes --store
};

constexpr Command kCommands[] = {
    {"status", run_status, true, false},
    {"backup", run_backup, true, false},
    {"flush", run_flush, true, false},
    {"snapshots", run_snapshots, true, true},
    {"workflows", run_workflows, true, false},
    {"log", run_log, true, true},
    {"log verify", run_log_verify, true, true},
    {"verify", run_verify, true, true},
    {"prune", run_prune, true, true},
    {"restore", run_restore, true, true},
    {"demo", run_demo, false, false},
    {"demo-shop", run_demo_shop, false, false},
    {"keys show", run_keys_show, true, false},
    {"keys make", run_keys_make, false, false},
    {"keys rotate", run_keys_rotate, true, false},
    {"keys export", run_keys_export, false, false},
    {"cancel", run_cancel, true, false},
    {"init", run_init, false, true},
    {"pause", run_pause, true, false},
    {"resume", run_resume, true, false},
    {"drill", run_drill, true, false},
    {"doctor", run_doctor, false, false},
    {"diagnose", run_diagnose, false, false},
};

// Nobody must write a file only to ask an agent in its usual place; but a file that was named has to be there.
Result<Config> find_config(const Arguments& arguments) {
  const std::string path = config_path(arguments.config);
  std::error_code ignored;
  if (path == kDefaultConfigPath && arguments.config.empty() && !std::filesystem::exists(path, ignored))
    return default_config();
  return load_config(path);
}

Result<void> run(const Command& command, const Arguments& arguments, const CliEnvironment& environment) {
  if (!arguments.store.empty() && !command.reads_store)
    return Error{ErrorKind::usage, 0,
                 std::string(command.name) + " asks the agent and reads no store: leave out --store"};
  Config config = default_config();
  if (command.needs_configuration) {
    TILLSYNC_LET(config, find_config(arguments));
  }
  return command.run(CliContext(arguments, std::move(config), environment));
}

}  // namespace

int exit_status(const Error& error) {
  if (is_agent_absent(error)) return 3;
  switch (error.kind) {
    case ErrorKind::usage: return 2;
    case ErrorKind::corrupt: return 4;
    case ErrorKind::denied: return 5;
    case ErrorKind::cancelled: return 130;
    default: return 1;
  }
}

int run_cli(const std::vector<std::string>& words, const CliEnvironment& environment) {
  Arguments arguments;
  if (const auto done = parse_arguments(words, arguments, environment.out, environment.err)) return *done;
  for (const auto& command : kCommands) {
    if (arguments.command != command.name) continue;
    auto outcome = run(command, arguments, environment);
    environment.out << std::flush;
    if (outcome && environment.out.good()) return 0;
    Error error = outcome ? Error{ErrorKind::no_space, 0, "could not write the output"} : std::move(outcome).error();
    environment.err << "tillsync: " << printable(error.context) << std::endl;
    return exit_status(error);
  }
  environment.err << "tillsync: no such command: " << arguments.command << std::endl;
  return 2;
}

Style CliContext::style() const {
  Style style;
  style.colour = environment_.out_is_terminal && environment_.colour;
  style.now = std::chrono::time_point_cast<Milliseconds>(std::chrono::system_clock::now());
  return style;
}

void CliContext::print(const Json& document,
                       const std::function<std::string(const Json&, const Style&)>& render) const {
  if (arguments_.json)
    out() << document.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  else
    out() << render(document, style());
}

ProgressView::Kind CliContext::progress_kind() const {
  if (environment_.err_is_terminal) return ProgressView::Kind::bar;
  return arguments_.json ? ProgressView::Kind::none : ProgressView::Kind::lines;
}

std::function<bool(const Json&)> CliContext::store_progress(ProgressView& view) const {
  return [this, &view](const Json& progress) {
    view.show(progress);
    return !environment_.is_interrupted();
  };
}

Result<ControlClient> CliContext::connect() const {
  return ControlClient::connect(config_.terminal.control, environment_.is_interrupted);
}

Result<std::unique_ptr<StoreCommands>> CliContext::open_store() const {
  StoreAccess access{config_, arguments_.terminal, arguments_.key};
  if (!arguments_.store.empty()) access.config.store.url = arguments_.store;
  const std::string& url = access.config.store.url;
  if (url.empty()) return Error{ErrorKind::usage, 0, "no store: give --store URL, or a configuration with [store]"};
  if (!url.starts_with("file:///") && !url.starts_with("s3://"))
    return Error{ErrorKind::usage, 0, "--store " + url + ": expected file:///folder or s3://bucket/prefix"};
  if (!environment_.open_store)
    return Error{ErrorKind::usage, 0, "this build reads no store by itself: ask an agent, without --store"};
  return environment_.open_store(access);
}

Result<CliContext::Source> CliContext::agent_or_store() const {
  Source source;
  if (arguments_.store.empty()) {
    auto agent = connect();
    if (agent) {
      source.agent = std::make_unique<ControlClient>(std::move(*agent));
      return source;
    }
    if (!is_agent_absent(agent.error()) || config_.store.url.empty() || !environment_.open_store)
      return std::move(agent).error();
  }
  TILLSYNC_LET(source.store, open_store());
  return source;
}

Result<Json> wait_for_workflow(const CliContext& context, ControlClient& agent, const std::string& uuid) {
  ProgressView view(context.err(), context.progress_kind());
  ControlClient::CallOptions options;
  options.on_notification = [&](const std::string& method, const Json& params) {
    if (method == "progress") view.show(params);
  };
  if (const auto timeout = context.arguments().timeout) options.deadline = std::chrono::steady_clock::now() + *timeout;
  const Json params{{"uuid", uuid}};
  TILLSYNC_LET(const Json ended, agent.call("workflow.wait", params, options));
  if (text_in(ended, "status") == "COMPLETED") return member(ended, "result");
  const Json& error = member(ended, "error");
  const auto kind = error_kind_from(text_in(error, "kind")).value_or(ErrorKind::internal);
  const std::string words = error.is_string()
                                ? error.get<std::string>()
                                : text_in(error, "message", "the workflow ended as " + text_in(ended, "status"));
  // Cancelled by somebody else is a failure here; 130 is for our own Ctrl-C.
  return Error{kind == ErrorKind::cancelled ? ErrorKind::internal : kind, 0, words};
}

}  // namespace tillsync
