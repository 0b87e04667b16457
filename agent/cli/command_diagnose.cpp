// diagnose: one file for whoever helps, that can be read before it is sent.
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>

#include "agent/cli/cli.h"
#include "agent/cli/doctor.h"
#include "agent/cli/render.h"
#include "agent/control/unique_fd.h"
#include "base/ids.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#include "version.h"

namespace tillsync {

namespace {

// A URL may carry a name and a password.
std::string without_passwords(std::string text) {
  for (size_t at = 0; (at = text.find("://", at)) != text.npos; at += 3) {
    const size_t begin = at + 3, end = text.find_first_of("/ \t\n\"'", begin);
    const size_t sign = text.rfind('@', end == text.npos ? text.size() : end);
    if (sign != text.npos && sign > begin) text.replace(begin, sign - begin, "…");
  }
  return text;
}

std::string first_line(const std::string& path, const std::string& begins) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(begins)) return line.substr(begins.size());
  return "";
}

Json system_facts(const Config& config) {
  utsname names{};
  ::uname(&names);
  std::error_code ignored;
  Json facts{{"system", first_line("/etc/os-release", "PRETTY_NAME=")},
             {"kernel", std::string(names.sysname) + " " + names.release + " " + names.machine},
             {"processors", ::sysconf(_SC_NPROCESSORS_ONLN)},
             {"memory", first_line("/proc/meminfo", "MemTotal:")},
             {"load", first_line("/proc/loadavg", "")},
             {"time_zone", std::filesystem::read_symlink("/etc/localtime", ignored).string()},
             {"user", ::geteuid()}};
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  char text[64];
  if (::localtime_r(&now, &local) && std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local))
    facts["local_time"] = text;
  facts["disks"] = Json::array();
  std::vector<std::string> places{config.terminal.state_dir};
  for (auto& database : config.databases) places.push_back(std::filesystem::path(database.path).parent_path());
  for (auto& place : places) {
    const auto space = std::filesystem::space(place, ignored);
    if (!ignored) facts["disks"].push_back({{"path", place}, {"bytes", space.capacity}, {"free", space.available}});
  }
  return facts;
}

// Names and sizes; nothing is opened.
Json state_files(const std::string& folder) {
  Json files = Json::array();
  std::error_code failed;
  for (auto it = std::filesystem::recursive_directory_iterator(folder, failed);
       !failed && it != std::filesystem::recursive_directory_iterator() && files.size() < 500; it.increment(failed)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored))
      files.push_back({{"path", it->path().string()}, {"bytes", it->file_size(ignored)}});
  }
  return files;
}

std::string section(const std::string& title, const std::string& text) {
  return "\n== " + title + " ==\n" + (text.empty() ? "nothing\n" : text.ends_with('\n') ? text : text + "\n");
}

std::string as_lines(const Json& lines) {
  std::string text;
  for (auto& line : lines) {
    const auto one =
        line.is_string() ? line.get<std::string>() : line.dump(-1, ' ', false, Json::error_handler_t::replace);
    text += printable(one.ends_with('\n') ? one.substr(0, one.size() - 1) : one) + "\n";
  }
  return text;
}

std::string report(const Json& document) {
  const Json& agent = member(document, "agent");
  std::string out = "tillsync diagnose, " + text_in(document, "created_at") + ", tillsync " +
                    text_in(document, "version") +
                    "\nNo rows of the databases and no keys are in here; names of tables, files and shops are. Read it "
                    "before you send it.\n";
  out += section("doctor", render_doctor(member(document, "doctor"), Style{}));
  if (agent.is_null()) {
    out += section("agent", text_in(document, "agent_error"));
  } else {
    Style style;
    if (auto now = parse_rfc3339(text_in(document, "created_at"))) style.now = *now;
    out += section("status", render_status(member(agent, "status"), style));
    out += section("log of the agent", as_lines(member(agent, "log")));
    out += section("workflows", as_lines(member(agent, "workflows")));
    Json rest = agent;
    rest.erase("log");
    rest.erase("workflows");
    out += section("agent, in full", rest.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  out += section("configuration", text_in(document, "configuration"));
  out += section("system", member(document, "system").dump(2, ' ', false, Json::error_handler_t::replace));
  return out + section("files of the agent", as_lines(member(document, "state_files")));
}

// For its owner alone, and never over something else.
Result<void> write_report(const std::string& path, const std::string& text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) {
    const int code = errno;
    return Error{code == EEXIST ? ErrorKind::conflict : ErrorKind::denied, code,
                 path + ": " + std::generic_category().message(code) + "; say where with --out FILE"};
  }
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(fd.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{ErrorKind::no_space, errno, path + ": " + std::generic_category().message(errno)};
    at += static_cast<size_t>(n);
  }
  return {};
}

}  // namespace

Result<void> run_diagnose(const CliContext& context) {
  LinuxFileSystem files;
  SystemClock clock;
  SystemRandom random;
  Json document{{"created_at", to_rfc3339(clock.now())}, {"version", TILLSYNC_VERSION}};
  // A configuration that does not parse is a reason to ask for help.
  const std::string path = config_path(context.arguments().config);
  auto loaded = load_config(path);
  const Config config = loaded ? *loaded : default_config();
  auto text = read_file(files, path, 1 << 20);
  document["configuration"] = text ? without_passwords(std::string(as_text(*text))) : text.error().context;
  auto ask = [&](const std::string& method) -> Result<Json> {
    TILLSYNC_LET(auto agent, ControlClient::connect(config.terminal.control, context.environment().is_interrupted));
    return agent.call(method);
  };
  DoctorPorts ports{files, clock, random, [&](const Config&) -> Result<std::optional<Json>> {
                      auto status = ask("status");
                      if (!status && is_agent_absent(status.error())) return std::optional<Json>();
                      if (!status) return std::move(status).error();
                      return std::optional<Json>(std::move(*status));
                    }};
  document["doctor"] = to_json(examine(context.arguments().config, ports));
  auto agent = ask("diagnose");
  document["agent"] = agent ? *agent : Json(nullptr);
  if (!agent) document["agent_error"] = agent.error().context;
  document["system"] = system_facts(config);
  document["state_files"] = state_files(config.terminal.state_dir);
  if (context.arguments().json) {
    context.print(document, {});
    return {};
  }
  std::string out = context.arguments().target;
  if (out.empty()) {
    out = "tillsync-diagnose-" + text_in(document, "created_at").substr(0, 19) + ".txt";
    for (char& c : out)
      if (c == ':') c = '-';
  }
  TILLSYNC_TRY(write_report(out, report(document)));
  context.out() << out << "\nRead it before you send it: no rows and no keys are in it, but names are.\n";
  return {};
}

}  // namespace tillsync
