#include "agent/cli/demo_stage.h"

#include <signal.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>
#include <system_error>
#include <thread>

#include "agent/cli/render.h"

namespace tillsync {

using namespace std::chrono_literals;

namespace {

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string last_lines(const std::string& path) {
  const std::string text = content_of(path);
  return text.size() > 2000 ? "…" + text.substr(text.size() - 2000) : text;
}

}  // namespace

DemoStage::DemoStage(const CliContext& context, std::string folder)
    : context_(context),
      folder_(std::move(folder)),
      files_(folder_),
      program_(context.environment().program),
      config_(folder_ + "/tillsync.toml"),
      socket_(folder_ + "/control.sock"),
      agent_log_(folder_ + "/tillsyncd.log") {}

Result<std::unique_ptr<DemoStage>> DemoStage::set_up(const CliContext& context) {
  std::error_code failed;
  std::string name = (std::filesystem::temp_directory_path(failed) / "tillsync-demo.XXXXXX").string();
  // A socket's path is short; TMPDIR may not be.
  if (failed || name.size() > 80) name = "/tmp/tillsync-demo.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    return Error{ErrorKind::internal, errno, "make " + name + ": " + std::generic_category().message(errno)};
  std::unique_ptr<DemoStage> stage(new DemoStage(context, name));
  TILLSYNC_TRY(stage->write_config());
  return stage;
}

DemoStage::~DemoStage() {
  shop_.kill();
  agent_.kill();
  std::error_code ignored;
  if (context_.arguments().keep)
    context_.err() << "The folder is kept: " << folder_ << std::endl;
  else
    std::filesystem::remove_all(folder_, ignored);
}

// No schedule: each backup here is asked for, so that the account is the same in every run.
Result<void> DemoStage::write_config() const {
  std::filesystem::create_directories(folder_ + "/store");
  std::ofstream out(config_);
  out << "[terminal]\nname = \"demo/till-1\"\nstate_dir = \"" << folder_ << "/state\"\ncontrol = \"" << socket_
      << "\"\n\n"
      << "[[database]]\nname = \"pos\"\npath = \"" << files_.database
      << "\"\nuser_column = { orders = \"cashier_id\" }\n\n"
      << "[store]\nurl = \"file://" << folder_ << "/store\"\n\n"
      << "[schedule]\nlog_flush = \"500ms\"\nincremental = \"\"\nfull = \"\"\nverify = \"\"\ndrill = \"\"\njitter = "
         "\"0s\"\n\n"
      << "[limits]\nmin_free = \"0B\"\n";
  out.flush();
  if (!out) return Error{ErrorKind::no_space, errno, "write " + config_};
  return {};
}

void DemoStage::tell(const std::string& text) const {
  if (context_.arguments().json) return;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  char head[24];
  std::snprintf(head, sizeof head, "%5.1f s  ", seconds);
  context_.out() << toned(context_.style(), Tone::faint, head) << text << std::endl;
}

Error DemoStage::died(const std::string& who, const std::string& log) const {
  return Error{ErrorKind::internal, 0, who + " ended by itself; its last words:\n" + last_lines(log)};
}

Result<void> DemoStage::until(const std::string& what, std::chrono::milliseconds limit,
                              const std::function<Result<bool>()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    TILLSYNC_LET(const bool now, done());
    if (now) return {};
    if (is_interrupted()) return Error{ErrorKind::cancelled, 0, "interrupted"};
    if (std::chrono::steady_clock::now() > deadline)
      return Error{ErrorKind::timeout, 0,
                   what + " did not happen within " + human_duration(limit) + "; the agent's last words:\n" +
                       last_lines(agent_log_)};
    std::this_thread::sleep_for(20ms);
  }
}

Result<void> DemoStage::open_shop() {
  const std::string log = folder_ + "/shop.log";
  TILLSYNC_LET(shop_, ChildProcess::start({program_, "demo-shop", folder_}, log));
  return until("the opening of the shop", 10s, [&]() -> Result<bool> {
    if (!shop_.is_running()) return died("the shop", log);
    return std::filesystem::exists(files_.ready);
  });
}

Result<Json> DemoStage::close_shop() {
  std::ofstream(files_.stop) << "\n";
  TILLSYNC_LET(const int status, shop_.wait(10s, [this] { return is_interrupted(); }));
  if (status != 0) return died("the shop", folder_ + "/shop.log");
  return Json::parse(content_of(files_.result), nullptr, false);
}

Result<void> DemoStage::start_agent() {
  const std::string daemon = (std::filesystem::path(program_).parent_path() / "tillsyncd").string();
  if (!std::filesystem::exists(daemon))
    return Error{ErrorKind::not_found, 0, daemon + " is missing: the demo needs the agent beside tillsync"};
  TILLSYNC_LET(agent_, ChildProcess::start({daemon, "--config", config_}, agent_log_));
  return until("the agent's first answer", 15s, [&]() -> Result<bool> {
    if (!agent_.is_running()) return died("the agent", agent_log_);
    return call("status").has_value();
  });
}

Result<void> DemoStage::stop_agent() {
  agent_.signal(SIGTERM);
  TILLSYNC_LET(const int status, agent_.wait(10s, [this] { return is_interrupted(); }));
  if (status != 0) return died("the agent", agent_log_);
  return {};
}

Result<Json> DemoStage::call(const std::string& method, const Json& params) const {
  TILLSYNC_LET(auto agent, ControlClient::connect(socket_, context_.environment().is_interrupted));
  ControlClient::CallOptions options;
  options.deadline = std::chrono::steady_clock::now() + 30s;
  auto result = agent.call(method, params, options);
  if (!result && !is_agent_absent(result.error())) return std::move(result).error().with("ask the agent for " + method);
  return result;
}

Result<Json> DemoStage::back_up(const std::string& type) const {
  const auto began = std::chrono::steady_clock::now();
  TILLSYNC_LET(const Json begun, call("backup", Json{{"type", type}}));
  TILLSYNC_LET(const Json ended, call("workflow.wait", Json{{"uuid", member(begun, "uuid")}}));
  if (text_in(ended, "status") != "COMPLETED") {
    const Json& error = member(ended, "error");
    return Error{ErrorKind::internal, 0,
                 "the " + type + " backup failed: " + text_in(error, "message", text_in(ended, "status"))};
  }
  const auto took = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - began);
  Json snapshot = member(ended, "result");
  tell("backup " + type + ": " + human_size(count_in(snapshot, "size")) + " of database, " +
       human_size(count_in(snapshot, "stored_bytes")) + " stored, at sequence " +
       human_count(count_in(snapshot, "sequence")) + ", in " + human_duration(took));
  return snapshot;
}

Result<void> DemoStage::sell_for(std::chrono::milliseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  return until("the end of the sale", duration + 1s, [&]() -> Result<bool> {
    if (!shop_.is_running()) return died("the shop", folder_ + "/shop.log");
    return std::chrono::steady_clock::now() >= end;
  });
}

Result<Json> DemoStage::run_cli_program(const std::vector<std::string>& words) const {
  const std::string output = folder_ + "/cli.out";
  std::filesystem::remove(output);
  std::vector<std::string> all{program_, "--config", config_, "--json"};
  all.insert(all.end(), words.begin(), words.end());
  TILLSYNC_LET(auto program, ChildProcess::start(all, output));
  TILLSYNC_LET(const int status, program.wait(60s, [this] { return is_interrupted(); }));
  const std::string text = content_of(output);
  if (status != 0)
    return Error{ErrorKind::internal, status,
                 "tillsync " + words[0] + " ended with status " + std::to_string(status) + ": " + text};
  Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded())
    return Error{ErrorKind::internal, 0, "tillsync " + words[0] + " printed no JSON: " + text};
  return document;
}

}  // namespace tillsync
