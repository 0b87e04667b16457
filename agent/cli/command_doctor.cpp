// doctor: what it finds, a line for each check, and below it what to do.
#include <ostream>

#include "agent/cli/cli.h"
#include "agent/cli/doctor.h"
#include "agent/cli/render.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"

namespace tillsync {

std::string render_doctor(const Json& document, const Style& style) {
  TextTable table;
  for (auto& check : member(document, "checks")) {
    const std::string state = text_in(check, "state");
    const Tone tone = state == "ok" ? Tone::good : state == "warning" ? Tone::warning : Tone::bad;
    table.add({{state, tone}, {text_in(check, "check"), Tone::strong}, {text_in(check, "text")}});
    const std::string remedy = text_in(check, "remedy");
    if (!remedy.empty()) table.add({{""}, {""}, {"→ " + remedy}});
  }
  return table.str(style);
}

Result<void> run_doctor(const CliContext& context) {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  DoctorPorts ports{files, clock, random, [&](const Config& config) -> Result<std::optional<Json>> {
                      auto agent =
                          ControlClient::connect(config.terminal.control, context.environment().is_interrupted);
                      if (!agent && is_agent_absent(agent.error())) return std::optional<Json>();
                      if (!agent) return std::move(agent).error();
                      TILLSYNC_LET(Json status, agent->call("status"));
                      return std::optional<Json>(std::move(status));
                    }};
  const auto findings = examine(context.arguments().config, ports);
  const Json document = to_json(findings);
  context.print(document, render_doctor);
  if (document.at("ok").get<bool>()) return {};
  size_t problems = 0;
  for (auto& one : findings) problems += one.state == Finding::State::problem;
  const bool bad_configuration = findings.front().state == Finding::State::problem;
  return Error{bad_configuration ? ErrorKind::usage : ErrorKind::internal, 0,
               std::to_string(problems) + (problems == 1 ? " problem" : " problems") + " found"};
}

}  // namespace tillsync
