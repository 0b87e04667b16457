#include "agent/config/config.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>

#include "agent/config/table_reader.h"
#include "agent/config/values.h"

namespace tillsync {

using namespace std::chrono_literals;

namespace {

constexpr uint64_t kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024;
constexpr Milliseconds kLong = std::chrono::days(36500);
constexpr size_t kSocketPathMax = 107;  // sockaddr_un

bool is_name_part(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

bool is_store_url(std::string_view url) {
  if (url.starts_with("file:///")) return url.size() > 8;
  return url.starts_with("s3://") && url.size() > 5 && url[5] != '/';
}

bool is_listen_address(std::string_view text) {
  if (text.empty()) return true;
  if (text.starts_with("unix:")) return text.size() > 6 && text[5] == '/' && text.size() - 5 <= kSocketPathMax;
  const auto colon = text.rfind(':');
  if (colon == text.npos || colon == 0 || colon + 1 == text.size()) return false;
  const auto host = text.substr(0, colon), port = text.substr(colon + 1);
  // Figures of a shop are for this machine: whoever wants them elsewhere has an exporter or a proxy that says for whom.
  if (!host.starts_with("127.") && host != "[::1]") return false;
  return port.size() <= 5 && port.find_first_not_of("0123456789") == port.npos &&
         std::atoi(std::string(port).c_str()) <= 65535;
}

void read_terminal(TableReader in, TerminalConfig& out) {
  in.text("name", out.name, is_terminal_name, "a name of letters, digits, '.', '_', '-', parts joined by '/'");
  in.absolute_path("state_dir", out.state_dir);
  in.text(
      "control", out.control,
      [](std::string_view path) { return path.starts_with('/') && path.size() <= kSocketPathMax; },
      "an absolute path of at most 107 bytes");
  in.finish();
}

void read_database(TableReader in, DatabaseConfig& out) {
  in.require("name");
  in.text("name", out.name, is_database_name, "a name of letters, digits, '.', '_', '-', at most 64");
  in.required_path("path", out.path);
  in.text_map("user_column", out.user_column);
  in.duration("scan_interval", out.scan_interval, 1s, std::chrono::days(7));
  in.duration("idle_release", out.idle_release, 100ms, 24h);
  in.text("schema_version", out.schema_version);
  in.text("app_version", out.app_version);
  in.absolute_path("migrations", out.migrations);
  in.finish();
}

void read_assets(TableReader in, AssetsConfig& out) {
  in.require("name");
  in.text("name", out.name, is_database_name, "a name of letters, digits, '.', '_', '-', at most 64");
  in.required_path("path", out.path);
  in.texts("include", out.include);
  in.finish();
}

void read_store(TableReader in, StoreConfig& out) {
  in.text("url", out.url, is_store_url, "file:///folder or s3://bucket/prefix");
  in.text(
      "endpoint", out.endpoint,
      [](std::string_view url) { return url.empty() || url.starts_with("https://") || url.starts_with("http://"); },
      "an URL that begins with https:// or http://");
  in.text("region", out.region);
  in.boolean("path_style", out.path_style);
  in.absolute_path("ca_file", out.ca_file);
  in.absolute_path("credentials", out.credentials);
  in.text("proxy", out.proxy);
  in.parsed<uint64_t>("upload_limit", out.upload_limit, parse_rate);
  in.parsed_list<HourRange>("upload_hours", out.upload_hours, parse_hours);
  in.finish();
}

void read_keys(TableReader in, KeysConfig& out, const StoreConfig& store) {
  in.texts("recovery", out.recovery, true);
  in.boolean("write_only", out.write_only);
  in.boolean("seal", out.seal);
  if (!out.seal && store.url.starts_with("s3://")) in.refuse("seal", "expected true: what goes to S3 is always sealed");
  if (out.write_only && out.recovery.empty())
    in.refuse("write_only", "expected a recovery key beside it: nobody could read these backups");
  if (out.write_only && !out.seal)
    in.refuse("write_only", "expected seal = true beside it: what is not sealed can be read by everybody");
  if (out.recovery.size() > 15) in.refuse("recovery", "expected at most 15 keys");
  in.finish();
}

void read_schedule(TableReader in, ScheduleConfig& out) {
  in.duration("log_flush", out.log_flush, 10ms, 24h);
  in.parsed<ScheduleRule>("incremental", out.incremental, parse_schedule);
  in.parsed<ScheduleRule>("differential", out.differential, parse_schedule);
  in.parsed<ScheduleRule>("full", out.full, parse_schedule);
  in.parsed<ScheduleRule>("verify", out.verify, parse_schedule);
  in.parsed<ScheduleRule>("drill", out.drill, parse_schedule);
  in.duration("jitter", out.jitter, 0ms, 24h);
  in.finish();
}

void read_retention(TableReader in, RetentionConfig& out) {
  constexpr int kMany = 1'000'000;
  in.integer("last", out.last, 1, kMany);
  in.integer("hourly", out.hourly, 0, kMany);
  in.integer("daily", out.daily, 0, kMany);
  in.integer("weekly", out.weekly, 0, kMany);
  in.integer("monthly", out.monthly, 0, kMany);
  in.duration("log", out.log, 1h, kLong);
  in.finish();
}

void read_metrics(TableReader in, MetricsConfig& out) {
  in.text("listen", out.listen, is_listen_address, "\"\", 127.0.0.1:port, [::1]:port or unix:/path");
  in.absolute_path("textfile", out.textfile);
  in.finish();
}

void read_log(TableReader in, LogConfig& out) {
  in.absolute_path("file", out.file);
  in.size("file_size", out.file_size, 64 * kKiB, kGiB);
  in.integer("files", out.files, 1, 100);
  in.finish();
}

void read_limits(TableReader in, LimitsConfig& out) {
  in.duration("local_log", out.local_log, 1h, kLong);
  in.size("wal", out.wal, 256 * kKiB, 64 * kGiB);
  in.size("wal_hard", out.wal_hard, kMiB, 1024 * kGiB);
  in.size("min_free", out.min_free, 0, 1024 * kGiB);
  in.size("memory", out.memory, 16 * kMiB, 64 * kGiB);
  if (out.wal_hard < out.wal) in.refuse("wal_hard", "expected at least limits.wal");
  in.finish();
}

class ConfigReader {
 public:
  ConfigReader(const toml::table& root, const std::string& file)
      : root_(root), errors_(file), config_(default_config()) {
    config_.file = file;
  }

  Result<Config> read() {
    read_sections();
    refuse_other_sections();
    TILLSYNC_TRY(errors_.result());
    return std::move(config_);
  }

  // Reads every section as if it were there and empty.
  ConfigErrors::KeysRead keys() {
    reads_absent_ = true;
    read_sections();
    return errors_.keys_read();
  }

 private:
  void read_sections() {
    section("terminal", [&](TableReader in) { read_terminal(std::move(in), config_.terminal); });
    list("database", config_.databases, read_database);
    list("assets", config_.assets, read_assets);
    section("store", [&](TableReader in) { read_store(std::move(in), config_.store); });
    section("keys", [&](TableReader in) { read_keys(std::move(in), config_.keys, config_.store); });
    section("schedule", [&](TableReader in) { read_schedule(std::move(in), config_.schedule); });
    section("retention", [&](TableReader in) { read_retention(std::move(in), config_.retention); });
    section("metrics", [&](TableReader in) { read_metrics(std::move(in), config_.metrics); });
    section("log", [&](TableReader in) { read_log(std::move(in), config_.log); });
    section("limits", [&](TableReader in) { read_limits(std::move(in), config_.limits); });
  }

  template <class Read>
  void section(const char* name, Read read) {
    known_.insert(name);
    const toml::node* node = root_.get(name);
    if (node == nullptr && reads_absent_) read(TableReader(errors_, {}, name));
    if (node == nullptr) return;
    const auto* table = node->as_table();
    if (table == nullptr) return errors_.add(node->source(), name, "expected a section [" + std::string(name) + "]");
    read(TableReader(errors_, *table, name));
  }

  template <class T>
  void list(const char* name, std::vector<T>& out, void (*read_one)(TableReader, T&)) {
    known_.insert(name);
    const toml::node* node = root_.get(name);
    if (node == nullptr && reads_absent_) {
      T unused;
      read_one(TableReader(errors_, {}, name), unused);
    }
    if (node == nullptr) return;
    const auto* array = node->as_array();
    if (array == nullptr || !array->is_array_of_tables())
      return errors_.add(node->source(), name, "expected sections [[" + std::string(name) + "]], with two brackets");
    for (const auto& element : *array) {
      const auto& table = *element.as_table();
      T one;
      read_one(TableReader(errors_, table, name), one);
      for (const auto& other : out)
        if (other.name == one.name)
          errors_.add(table.get("name")->source(), std::string(name) + ".name",
                      "expected a name of its own, \"" + one.name + "\" is there already");
      out.push_back(std::move(one));
    }
  }

  void refuse_other_sections() {
    for (const auto& [key, node] : root_)
      if (!known_.contains(std::string(key.str())))
        errors_.add(
            key.source(), key.str(),
            "unknown section; expected terminal, database, assets, store, keys, schedule, retention, metrics, log "
            "or limits");
  }

  const toml::table& root_;
  ConfigErrors errors_;
  Config config_;
  std::set<std::string> known_;
  bool reads_absent_ = false;
};

}  // namespace

ScheduleConfig::ScheduleConfig() {
  const auto at = [](std::chrono::weekday day, std::chrono::minutes time) {
    return ScheduleRule{ScheduleRule::Kind::at, Milliseconds(0), day, time};
  };
  incremental = ScheduleRule{ScheduleRule::Kind::every, 15min, std::nullopt, 0min};
  full = at(std::chrono::Sunday, 3h);
  verify = at(std::chrono::Monday, 4h);
  drill = at(std::chrono::Monday, 4h + 30min);
}

const DatabaseConfig* Config::find_database(std::string_view name) const {
  for (const auto& database : databases)
    if (database.name == name) return &database;
  return nullptr;
}

bool is_database_name(std::string_view name) { return is_name_part(name); }

bool is_terminal_name(std::string_view name) {
  if (name.size() > 128) return false;
  while (true) {
    const auto slash = name.find('/');
    if (!is_name_part(name.substr(0, slash))) return false;
    if (slash == name.npos) return true;
    name.remove_prefix(slash + 1);
  }
}

std::string config_path(const std::string& given) {
  if (!given.empty()) return given;
  const char* environment = std::getenv("TILLSYNC_CONFIG");
  if (environment != nullptr && *environment != '\0') return environment;
  return std::string(kDefaultConfigPath);
}

Config default_config() {
  Config config;
  char host[65] = "";
  if (gethostname(host, sizeof host - 1) == 0 && is_terminal_name(host))
    config.terminal.name = host;
  else
    config.terminal.name = "till";
  return config;
}

Result<Config> parse_config(std::string_view text, const std::string& file) {
  toml::table root;
  try {
    root = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return Error{ErrorKind::usage, 0,
                 file + ":" + std::to_string(error.source().begin.line) + ": " + std::string(error.description())};
  }
  TILLSYNC_LET(Config config, ConfigReader(root, file).read());
  config.text = text;
  return config;
}

std::map<std::string, std::set<std::string>> config_keys() {
  const toml::table nothing;
  return ConfigReader(nothing, "").keys();
}

Result<Config> load_config(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(path, ignored)) {
    const int code = in ? EISDIR : errno;
    return Error{ErrorKind::usage, code,
                 path + ": can't read the configuration: " + std::generic_category().message(code)};
  }
  std::ostringstream text;
  text << in.rdbuf();
  return parse_config(text.str(), path);
}

Result<void> check_agent_config(const Config& config) {
  if (config.databases.empty())
    return Error{ErrorKind::usage, 0, config.file + ": database: expected at least one [[database]] to follow"};
  if (config.store.url.empty())
    return Error{ErrorKind::usage, 0, config.file + ": store.url: expected file:///folder or s3://bucket/prefix"};
  return {};
}

}  // namespace tillsync
