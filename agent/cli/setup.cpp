#include "agent/cli/setup.h"

#include <filesystem>
#include <set>

#include "store/open_store.h"

namespace tillsync {

namespace {

// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (!control) {
      out += c;
      continue;
    }
    constexpr const char* kHex = "0123456789ABCDEF";
    out += std::string("\\u00") + kHex[static_cast<unsigned char>(c) >> 4] + kHex[c & 15];
  }
  return out + '"';
}

class Text {
 public:
  void section(const std::string& name, const std::string& what = "") {
    out_ += "\n" + (what.empty() ? "" : "# " + what + "\n") + name + "\n";
  }
  // Set where it was answered, else a comment with what holds without it.
  void value(const char* key, const std::string& answer, const std::string& otherwise, const char* what = "") {
    line(std::string(answer.empty() ? "# " : "") + key + " = " + (answer.empty() ? otherwise : answer), what);
  }
  void line(const std::string& text, const char* what = "") {
    out_ += text;
    if (*what) out_ += std::string(text.size() < 44 ? 44 - text.size() : 2, ' ') + "# " + what;
    out_ += "\n";
  }
  std::string str() && { return std::move(out_); }

 private:
  std::string out_ =
      "# tillsync: what this till keeps safe, and where. Written by `tillsync init`.\n"
      "# After a change: tillsyncd --check-config, then systemctl reload tillsync (it says what needs a restart).\n"
      "# Every setting: man tillsync.toml\n";
};

std::string text_or_nothing(const std::string& answer) { return answer.empty() ? "" : quoted(answer); }

// Below these nothing is to be seen under ProtectHome.
bool is_in_home(const std::string& path) {
  for (const char* home : {"/home/", "/root/", "/run/user/"})
    if (path.starts_with(home)) return true;
  return false;
}

// As unit files want a path: escaped for their specifiers and blanks.
std::string unit_path(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == '%') out += '%';
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return "\"" + out + "\"";
}

}  // namespace

std::string configuration_text(const Setup& setup) {
  Text out;
  out.section("[terminal]");
  out.line("name = " + quoted(setup.terminal), "its place in the store");
  out.value("state_dir", text_or_nothing(setup.state_dir), "\"/var/lib/tillsync\"", "a copy of the database, the log");
  out.value("control", text_or_nothing(setup.control), "\"/run/tillsync/control.sock\"");

  out.section("[[database]]", "One section for each database that is followed.");
  out.line("name = " + quoted(setup.database_name), "never change it: it is part of every object's name");
  out.line("path = " + quoted(setup.database_path));
  out.value("user_column", "", "{ orders = \"cashier_id\" }", "who did it, by table");
  out.value("scan_interval", "", "\"60s\"", "where it is not in WAL mode");
  out.value("idle_release", "", "\"10s\"", "lets go of the files when nothing comes");
  out.value("schema_version", "", "\"PRAGMA user_version\"", "or a query that gives one number");
  out.value("app_version", "", "\"\"", "a text, or a query");
  out.value("migrations", "", "\"/etc/tillsync/migrations/pos\"", "NNN_name.sql, for restores across versions");

  out.section("# [[assets]]", "Files of the application that belong to its data.");
  out.line("# name = \"media\"");
  out.line("# path = \"/opt/pos/media\"");
  out.line("# include = [\"**/*.png\", \"pos.conf\"]");

  const bool s3 = setup.store_url.starts_with("s3://");
  out.section("[store]");
  out.line("url = " + quoted(setup.store_url));
  out.value("endpoint", text_or_nothing(setup.endpoint), "\"https://s3.example.com\"", "any S3 server but AWS itself");
  out.value("region", text_or_nothing(setup.region), "\"us-east-1\"");
  out.value("path_style", setup.path_style ? "true" : "", "false", "the bucket in the path, not in the host's name");
  out.value("ca_file", text_or_nothing(setup.ca_file), "\"/etc/tillsync/ca.pem\"",
            "of a private certificate authority");
  out.value(
      "credentials", text_or_nothing(setup.credentials), "\"/etc/tillsync/s3.credentials\"",
      s3 ? "else AWS_* of the environment, else systemd's credential" : "AWS shared-credentials format, mode 0600");
  out.value("proxy", "", "\"http://proxy.example.com:3128\"");
  out.value("upload_limit", "", "\"2MiB/s\"", "of all uploads together");
  out.value("upload_hours", "", "[\"22:00-06:00\"]", "snapshots only; the log is never held back");

  out.section("[keys]", "Backups are sealed for this terminal and for whoever holds the recovery key.");
  out.value("recovery", text_or_nothing(setup.recovery), "\"/etc/tillsync/recovery.pub\"", "public half only");
  out.value("write_only", "", "false", "true: this terminal can't read its own backups");

  out.section("[schedule]", "Times are local; \"15m\", \"03:00\", \"Sun 03:00\", or \"\" for never.");
  out.value("log_flush", "", "\"1s\"", "a sale waits at most this long");
  out.value("incremental", "", "\"15m\"");
  out.value("differential", "", "\"\"");
  out.value("full", "", "\"Sun 03:00\"");
  out.value("verify", "", "\"Mon 04:00\"");
  out.value("drill", "", "\"Mon 04:30\"", "a restore without its last step, proven");
  out.value("jitter", "", "\"10m\"", "each terminal its own share of it");

  out.section("[retention]");
  out.value("last", "", "3");
  out.value("hourly", "", "24");
  out.value("daily", "", "7");
  out.value("weekly", "", "5");
  out.value("monthly", "", "12");
  out.value("log", "", "\"90d\"", "how far back every moment can be restored");

  out.section("[metrics]");
  out.value("listen", "", "\"127.0.0.1:9469\"", "Prometheus; or unix:/path");
  out.value("textfile", "", "\"/var/lib/prometheus/node-exporter/tillsync.prom\"");

  out.section("[log]", "Into the journal; a file is for machines without one.");
  out.value("file", "", "\"/var/log/tillsync/agent.log\"");
  out.value("file_size", "", "\"10MiB\"");
  out.value("files", "", "3");

  out.section("[limits]");
  out.value("local_log", "", "\"7d\"");
  out.value("wal", "", "\"16MiB\"");
  out.value("wal_hard", "", "\"256MiB\"");
  out.value("min_free", "", "\"1GiB\"", "of the disk: the till's, never ours");
  out.value("memory", "", "\"64MiB\"");
  return std::move(out).str();
}

std::string service_drop_in(const Config& config, const ServiceUser& user) {
  std::set<std::string> writable, readable;
  for (auto& database : config.databases) writable.insert(std::filesystem::path(database.path).parent_path());
  // Restored in place, they are written.
  for (auto& assets : config.assets) writable.insert(assets.path);
  if (auto folder = folder_of_url(config.store.url)) writable.insert(*folder);
  if (config.terminal.state_dir != "/var/lib/tillsync") writable.insert(config.terminal.state_dir);
  const std::string socket_folder = std::filesystem::path(config.terminal.control).parent_path();
  if (socket_folder != "/run/tillsync") writable.insert(socket_folder);
  if (!config.metrics.textfile.empty()) writable.insert(std::filesystem::path(config.metrics.textfile).parent_path());
  if (!config.log.file.empty()) writable.insert(std::filesystem::path(config.log.file).parent_path());
  for (auto& database : config.databases)
    if (!database.migrations.empty()) readable.insert(database.migrations);
  for (const std::string& file : {config.store.ca_file, config.store.credentials})
    if (!file.empty()) readable.insert(file);
  for (auto& key : config.keys.recovery) readable.insert(key);

  std::string out = "# Written by `tillsync init` from " + config.file +
                    ". After a change of its paths: tillsync init --unit\n[Service]\nUser=" + user.user +
                    "\nGroup=" + user.group + "\n";
  bool home = false;
  for (auto& path : writable) home |= is_in_home(path);
  for (auto& path : readable) home |= is_in_home(path);
  // Homes stay hidden but for these.
  if (home) out += "ProtectHome=tmpfs\n";
  for (auto& path : writable) out += (is_in_home(path) ? "BindPaths=-" : "ReadWritePaths=-") + unit_path(path) + "\n";
  for (auto& path : readable)
    if (is_in_home(path)) out += "BindReadOnlyPaths=-" + unit_path(path) + "\n";
  return out;
}

}  // namespace tillsync
