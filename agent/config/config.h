// The configuration of a terminal, as its TOML file says it.
//
// Purpose: plain values with their defaults; whoever holds a Config holds one that was checked. docs/tillsync.toml has
// the file in full.
// Units: durations in milliseconds, sizes in bytes, rates in bytes per second (0: no limit), times of day in local
// time. Errors: usage, with `file:line: key: what was expected`, for a file that can't be read, does not parse, has an
// unknown key, a wrong type or a value out of range. Threads: values; no state.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "schedule/hour_range.h"
#include "schedule/schedule_rule.h"
#include "store/store_settings.h"

namespace tillsync {

struct TerminalConfig {
  std::string name;  // the host's name if not given
  std::string state_dir = "/var/lib/tillsync";
  std::string control = "/run/tillsync/control.sock";
  bool operator==(const TerminalConfig&) const = default;
};

struct DatabaseConfig {
  std::string name;
  std::string path;
  std::map<std::string, std::string> user_column;  // table → column
  Milliseconds scan_interval = std::chrono::seconds(60);
  Milliseconds idle_release = std::chrono::seconds(10);
  std::string schema_version = "PRAGMA user_version";
  std::string app_version;
  std::string migrations;  // folder; empty: none
  bool operator==(const DatabaseConfig&) const = default;
};

struct AssetsConfig {
  std::string name;
  std::string path;
  std::vector<std::string> include = {"**/*"};
  bool operator==(const AssetsConfig&) const = default;
};

struct StoreConfig : StoreSettings {
  std::vector<HourRange> upload_hours;  // empty: always
  bool operator==(const StoreConfig&) const = default;
};

struct KeysConfig {
  std::vector<std::string> recovery;  // files with public keys
  bool write_only = false;
  bool seal = true;
  bool operator==(const KeysConfig&) const = default;
};

struct ScheduleConfig {
  Milliseconds log_flush = std::chrono::seconds(1);
  ScheduleRule incremental, differential, full, verify, drill;
  Milliseconds jitter = std::chrono::minutes(10);
  ScheduleConfig();  // every 15m; off; Sun 03:00; Mon 04:00; Mon 04:30
  bool operator==(const ScheduleConfig&) const = default;
};

struct RetentionConfig {
  int last = 3, hourly = 24, daily = 7, weekly = 5, monthly = 12;
  Milliseconds log = std::chrono::days(90);
  bool operator==(const RetentionConfig&) const = default;
};

struct MetricsConfig {
  std::string listen;    // loopback address:port or unix:PATH; empty: none
  std::string textfile;  // empty: none
  bool operator==(const MetricsConfig&) const = default;
};

struct LogConfig {
  std::string file;  // empty: the journal, or standard error
  uint64_t file_size = uint64_t{10} << 20;
  int files = 3;  // of that size, the newest included
  bool operator==(const LogConfig&) const = default;
};

struct LimitsConfig {
  Milliseconds local_log = std::chrono::days(7);
  uint64_t wal = uint64_t{16} << 20, wal_hard = uint64_t{256} << 20;
  uint64_t min_free = uint64_t{1} << 30, memory = uint64_t{64} << 20;
  bool operator==(const LimitsConfig&) const = default;
};

struct Config {
  std::string file;  // where it came from; empty: defaults
  std::string text;  // the file as it was read; it names files with secrets, and holds none
  TerminalConfig terminal;
  std::vector<DatabaseConfig> databases;
  std::vector<AssetsConfig> assets;
  StoreConfig store;
  KeysConfig keys;
  ScheduleConfig schedule;
  RetentionConfig retention;
  MetricsConfig metrics;
  LogConfig log;
  LimitsConfig limits;

  const DatabaseConfig* find_database(std::string_view name) const;
};

inline constexpr std::string_view kDefaultConfigPath = "/etc/tillsync/tillsync.toml";

// given, else $TILLSYNC_CONFIG, else kDefaultConfigPath.
std::string config_path(const std::string& given);
// What stands when there is no file.
Config default_config();
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view text, const std::string& file);
// Every key there is, as the reader of the file knows them: section → keys.
std::map<std::string, std::set<std::string>> config_keys();
// What only the agent needs: a database to follow and a store. The command line does without, given --store.
Result<void> check_agent_config(const Config& config);

// [A-Za-z0-9._-]+, at most 64, not . or ..: it becomes a part of object keys and file names.
bool is_database_name(std::string_view name);
// Parts like a database's name, joined by '/', at most 128 in all.
bool is_terminal_name(std::string_view name);

}  // namespace tillsync
