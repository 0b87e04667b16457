#include "agent/cli/doctor.h"

#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "agent/cli/text.h"
#include "agent/keys/own_keys.h"
#include "dbfile/page.h"
#include "platform/linux/shared_files_linux.h"
#include "ports/object_keys.h"
#include "sqlite/connection.h"
#include "store/open_store.h"
#include "store/store_probe.h"

namespace tillsync {

namespace {

using State = Finding::State;

// The checkpointer of these can lose frames when a checkpoint meets another connection's commit.
bool has_wal_reset_bug(uint32_t version) {
  if (version >= 3051003 || version < 3007000) return false;
  return !(version / 1000 == 3050 && version >= 3050007) && !(version / 1000 == 3044 && version >= 3044006);
}

class Doctor {
 public:
  Doctor(const Config& config, const DoctorPorts& ports, std::vector<Finding>& findings)
      : config_(config), ports_(ports), findings_(findings) {}

  void all() {
    agent();
    for (auto& database : config_.databases) this->database(database);
    state_dir();
    clock();
    keys();
    store();
  }

 private:
  void add(const char* check, State state, std::string text, std::string remedy = "") {
    findings_.push_back({check, state, std::move(text), std::move(remedy)});
  }

  void agent() {
    auto status = ports_.ask_agent(config_);
    if (!status) {
      const bool denied = status.error().kind == ErrorKind::denied;
      return add("agent", denied ? State::warning : State::problem, status.error().context,
                 denied ? "ask as root or as a member of the agent's group"
                        : "look into the agent's log: it runs, and does not answer");
    }
    if (!*status)
      return add("agent", State::problem, "no agent answers on " + config_.terminal.control,
                 "start it: systemctl start tillsync, or tillsyncd --config " + config_.file);
    runs_ = true;
    terminal_ = text_in(member(**status, "terminal"), "id");
    add("agent", State::ok, "it runs, version " + text_in(member(**status, "terminal"), "version"));
    for (auto& problem : member(**status, "problems")) {
      // What is looked at here as well, is said once.
      const std::string code = text_in(problem, "code");
      if (code == "not_sealed" || code == "no_recovery_key" || code == "rollback_journal") continue;
      add("agent", State::problem, text_in(problem, "text"), text_in(problem, "remedy"));
    }
  }

  void database(const DatabaseConfig& database) {
    const std::string name = database.name + ": " + database.path;
    auto info = ports_.files.stat(database.path);
    if (!info)
      return add("database", State::problem, name + ": " + info.error().context,
                 info.error().kind == ErrorKind::not_found
                     ? "check the path; a database that is not there yet is followed as soon as it is"
                     : "let the agent's user read it");
    database_bytes_ += info->size;
    Bytes head(100);
    auto header = [&]() -> Result<DatabaseHeader> {
      TILLSYNC_LET(auto file, ports_.files.open(database.path, OpenMode::read));
      TILLSYNC_LET(const size_t got, file->read(0, head));
      return DatabaseHeader::parse(ByteView(head).first(got));
    }();
    if (!header)
      return add("database", State::problem, name + ": " + header.error().context,
                 "give the path of an SQLite database that this user can read and that is not encrypted");
    const std::string folder = std::filesystem::path(database.path).parent_path();
    if (::access(database.path.c_str(), R_OK | W_OK) != 0 || ::access(folder.c_str(), R_OK | W_OK | X_OK) != 0)
      add("database", State::warning, name + ": this user can't write to it or to its folder",
          "run the agent as the database's owner: it shares the application's wal-index, and restores in place");
    auto shared = may_share_database(database.path);
    if (!shared)
      add("database", State::problem, name + ": " + shared.error().context, "then start the agent again");
    else if (*shared != "its owner" && *shared != "root")
      add("database", State::ok, name + ": shared with its owner through " + *shared);
    if (!header->wal_mode)
      add("database", State::warning,
          name + ": is not in WAL mode; it is captured by scans every " + human_duration(database.scan_interval),
          "run 'PRAGMA journal_mode=WAL' on it once, from the application, so that every transaction is captured by "
          "itself");
    const std::string version = sqlite_version_text(header->sqlite_version);
    if (has_wal_reset_bug(header->sqlite_version))
      add("database", State::warning,
          name + ": SQLite " + version +
              " wrote it last, whose checkpoints can lose a transaction where several connections write",
          "have the application updated to SQLite 3.51.3 or later (3.50.7 and 3.44.6 are mended too)");
    add("database", State::ok,
        name + ": " + human_size(info->size) + ", pages of " + std::to_string(header->page_size) + " bytes, " +
            (header->wal_mode ? "WAL" : "rollback journal") + ", last written by SQLite " + version);
  }

  void state_dir() {
    const std::string& folder = config_.terminal.state_dir;
    std::string existing = folder;
    std::error_code ignored;
    while (existing.size() > 1 && !std::filesystem::exists(existing, ignored))
      existing = std::filesystem::path(existing).parent_path();
    if (existing != folder && !runs_ && ::access(existing.c_str(), W_OK | X_OK) != 0)
      return add("state_dir", State::problem, folder + ": is not there, and this user can't make it in " + existing,
                 "make it, and give it to the agent's user");
    if (existing == folder && ::access(folder.c_str(), R_OK | W_OK | X_OK) != 0)
      return add("state_dir", State::warning, folder + ": this user can't write to it",
                 "run doctor as the agent's user to see whether that one can");
    auto free = ports_.files.free_space(existing);
    if (!free) return add("state_dir", State::problem, folder + ": " + free.error().context, "check the disk");
    // A copy of each database, the spool of a FULL, and what a restore stages or keeps.
    const uint64_t needed = 3 * database_bytes_ + config_.limits.min_free;
    const std::string text = folder + ": " + human_size(*free) + " free";
    if (*free < config_.limits.min_free)
      return add("state_dir", State::problem,
                 text + ", and limits.min_free keeps " + human_size(config_.limits.min_free) +
                     ": nothing is captured below it",
                 "free space on this disk, or set limits.min_free lower");
    if (*free < needed && !runs_)
      return add("state_dir", State::warning,
                 text + "; a restore and a full snapshot of these databases can need " + human_size(needed),
                 "free space on this disk, or move state_dir to a larger one");
    add("state_dir", State::ok, text);
  }

  void clock() {
    timex now{};
    const int state = ::adjtimex(&now);
    const std::string time = to_rfc3339(ports_.clock.now());
    if (state == TIME_ERROR || (now.status & STA_UNSYNC))
      return add(
          "clock", State::warning, time + ", and nothing says that it is kept right",
          "let the clock be kept by NTP (systemd-timesyncd or chrony): a store refuses requests that are minutes "
          "off, and moments to restore to are times");
    add("clock", State::ok, time + ", kept by NTP");
  }

  void keys() {
    if (!config_.keys.seal)
      return add("keys", State::warning, "backups are not encrypted: keys.seal is false",
                 "keep the store where only you can read it");
    auto recovery = read_recovery_keys(ports_.files, config_);
    if (!recovery)
      return add("keys", State::problem, recovery.error().context, "name the public half of the recovery key");
    if (recovery->empty())
      return add("keys", State::problem,
                 "only this terminal can open its backups: with its disk they would be lost as well",
                 "make a recovery key on another machine ('tillsync keys make --out recovery.pem'), keep it there, and "
                 "name its public half in [keys] recovery");
    add("keys", State::ok,
        std::to_string(recovery->size()) + " recovery key" + (recovery->size() > 1 ? "s" : "") +
            (config_.keys.write_only ? ", and this terminal can't read its own backups"
                                     : " beside the terminal's own"));
  }

  // Of a terminal that has none yet, one that nobody has.
  Uuid terminal() {
    if (auto known = Uuid::parse(terminal_)) return *known;
    const std::string state = config_.terminal.state_dir + "/state.db";
    std::error_code ignored;
    if (std::filesystem::exists(state, ignored)) {
      auto db = Connection::open(state, SQLITE_OPEN_READONLY);
      auto id =
          db ? db->query_text("SELECT value FROM settings WHERE key='terminal_id'") : Result<std::string>(db.error());
      if (id)
        if (auto known = Uuid::parse(*id)) return *known;
    }
    return make_uuid_v7(ports_.clock, ports_.random);
  }

  void store() {
    auto store = make_store(config_.store, ports_.files, ports_.clock, ports_.random);
    auto probe = store ? probe_store(**store, keys::terminal_prefix(terminal()) + "probe/", ports_.random)
                       : Result<StoreProbe>(store.error());
    const std::string& url = config_.store.url;
    if (!probe)
      return add("store", State::problem, url + ": " + probe.error().context,
                 probe.error().kind == ErrorKind::denied
                     ? "let the access key list, put and get objects below the prefix of [store] url"
                     : "check [store] url, endpoint, region, credentials and ca_file, and the link");
    if (!probe->create_only)
      add("store", State::warning, url + ": it takes a second object under a name that is taken",
          "switch on conditional writes or object lock, if the server has them: tillsync looks before it puts, but "
          "nothing else does");
    if (!probe->left.empty())
      add("store", State::ok,
          url + ": it lets nothing be removed, so retention is somebody else's: " + probe->left +
              " of this check stays");
    add("store", State::ok,
        url + ": listed, put, read back and compared; " + probe->name +
            (probe->create_only ? ", nothing can be overwritten" : "") + (probe->may_delete ? ", may remove" : "") +
            (probe->resumable
                 ? ", large objects in parts of " + human_size(probe->part_size_bytes) + " that go on after a restart"
                 : ""));
  }

  const Config& config_;
  const DoctorPorts& ports_;
  std::vector<Finding>& findings_;
  bool runs_ = false;
  std::string terminal_;
  uint64_t database_bytes_ = 0;
};

}  // namespace

std::string_view to_string(Finding::State state) {
  switch (state) {
    case State::ok: return "ok";
    case State::warning: return "warning";
    case State::problem: return "problem";
  }
  return "";
}

std::vector<Finding> examine(const std::string& file, const DoctorPorts& ports) {
  std::vector<Finding> findings;
  auto config = load_config(config_path(file));
  if (config)
    if (auto usable = check_agent_config(*config); !usable) config = std::move(usable).error();
  if (!config) {
    findings.push_back({"configuration", State::problem, config.error().context,
                        "mend it; tillsync.toml(5) has every setting, and 'tillsyncd --check-config' checks it"});
    return findings;
  }
  findings.push_back({"configuration", State::ok, config->file, ""});
  Doctor(*config, ports, findings).all();
  return findings;
}

Json to_json(const std::vector<Finding>& findings) {
  Json checks = Json::array();
  for (auto& one : findings) {
    Json check{{"check", one.check}, {"state", to_string(one.state)}, {"text", one.text}};
    if (!one.remedy.empty()) check["remedy"] = one.remedy;
    checks.push_back(std::move(check));
  }
  const bool ok = std::none_of(findings.begin(), findings.end(), [](auto& one) { return one.state == State::problem; });
  return Json{{"ok", ok}, {"checks", std::move(checks)}};
}

}  // namespace tillsync
