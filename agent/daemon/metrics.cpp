#include "agent/daemon/metrics.h"

#include <charconv>

#include "base/ids.h"

namespace tillsync {

namespace {

using Labels = std::vector<std::pair<const char*, std::string>>;

std::string escaped(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? "\\n" : std::string(1, c);
  }
  return out;
}

std::string number(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

// The samples of a metric come one after the other, below its type.
class Page {
 public:
  enum class Type { gauge, counter };
  void metric(const char* name, Type type, const char* help) {
    name_ = name;
    out_ += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name +
            (type == Type::counter ? " counter\n" : " gauge\n");
  }
  void sample(double value, const Labels& labels = {}) {
    out_ += name_;
    for (size_t i = 0; i < labels.size(); i++)
      out_ += std::string(i ? "," : "{") + labels[i].first + "=\"" + escaped(labels[i].second) + "\"";
    out_ += (labels.empty() ? " " : "} ") + number(value) + "\n";
  }
  std::string str() && { return std::move(out_); }

 private:
  std::string name_, out_;
};

constexpr auto kGauge = Page::Type::gauge, kCounter = Page::Type::counter;

// nullopt for null.
std::optional<double> seconds_at(const Json& time) {
  if (!time.is_string()) return std::nullopt;
  auto parsed = parse_rfc3339(time.get<std::string>());
  if (!parsed) return std::nullopt;
  return static_cast<double>(to_ms(*parsed)) / 1000;
}

void add_databases(Page& page, const Json& databases) {
  const auto each = [&](const char* name, Page::Type type, const char* help, auto value) {
    page.metric(name, type, help);
    for (auto& database : databases)
      if (const std::optional<double> now = value(database))
        page.sample(*now, {{"database", database.at("name").get<std::string>()}});
  };
  const auto field = [](const char* key, double unit = 1) {
    return [key, unit](const Json& database) { return std::optional(database.at(key).get<double>() * unit); };
  };
  each("tillsync_capture_up", kGauge, "1 while the database is captured.", [](const Json& database) {
    const auto mode = database.at("mode").get<std::string>();
    return std::optional(mode == "wal" || mode == "idle" || mode == "scan" ? 1.0 : 0.0);
  });
  each("tillsync_captured_sequence", kGauge, "Newest action in the local log.", field("sequence"));
  each("tillsync_durable_sequence", kGauge, "Newest action that is in the store.", field("durable_sequence"));
  each("tillsync_lag_seconds", kGauge, "Age of the oldest action that is not in the store.", field("lag_ms", 0.001));
  each("tillsync_last_capture_timestamp_seconds", kGauge, "When something was captured last.",
       [](const Json& database) { return seconds_at(database.at("last_capture_at")); });
  each("tillsync_wal_bytes", kGauge, "Size of the application's write-ahead log.", field("wal_bytes"));
  each("tillsync_database_bytes", kGauge, "Size of the database.", [](const Json& database) {
    return std::optional(database.at("page_size").get<double>() * database.at("page_count").get<double>());
  });
  each("tillsync_pos_blocked_seconds_total", kCounter,
       "Time in which the application's writers had to wait for tillsync.", field("pos_blocked_ms", 0.001));
  each("tillsync_pos_blocked_seconds_max", kGauge, "The longest of those times.", field("pos_blocked_ms_max", 0.001));
  each("tillsync_catch_ups_total", kCounter, "Gaps in the log that only a scan could close.", field("catch_ups"));
}

void add_store(Page& page, const Json& status, const StoreCounts& counts) {
  const Json& store = status.at("store");
  const Json& transfers = status.at("transfers");
  page.metric("tillsync_store_reachable", kGauge, "1 if the store answered when it was asked last.");
  page.sample(store.at("reachable").get<bool>());
  page.metric("tillsync_store_last_success_timestamp_seconds", kGauge, "When the store answered last.");
  if (auto at = seconds_at(store.at("last_success_at"))) page.sample(*at);
  page.metric("tillsync_store_requests_total", kCounter, "Calls to the store.");
  for (size_t i = 0; i < kStoreOperations; i++)
    page.sample(static_cast<double>(counts.calls[i]),
                {{"operation", std::string(to_string(static_cast<StoreOperation>(i)))}});
  page.metric("tillsync_store_errors_total", kCounter, "Calls to the store that failed.");
  constexpr const char* kClasses[] = {"validation", "schema", "storage", "network", "timeout"};
  for (size_t i = 0; i < counts.errors.size(); i++)
    page.sample(static_cast<double>(counts.errors[i]), {{"class", kClasses[i]}});
  page.metric("tillsync_store_sent_bytes_total", kCounter, "Bytes of objects that were stored.");
  page.sample(static_cast<double>(counts.sent_bytes));
  page.metric("tillsync_store_received_bytes_total", kCounter, "Bytes of objects that were read back.");
  page.sample(static_cast<double>(counts.received_bytes));
  page.metric("tillsync_queue_objects", kGauge, "Objects that wait to be sent.");
  page.sample(transfers.at("queued").get<double>());
  page.metric("tillsync_queue_bytes", kGauge, "Bytes that wait to be sent.");
  page.sample(transfers.at("queued_bytes").get<double>());
}

void add_safety(Page& page, const Json& status) {
  page.metric("tillsync_snapshot_timestamp_seconds", kGauge, "When the newest snapshot of its type was made.");
  for (const char* type : {"full", "incremental", "differential"}) {
    const Json& newest = status.at("snapshots").at(std::string("last_") + type);
    if (!newest.is_null())
      if (auto at = seconds_at(newest.at("created_at"))) page.sample(*at, {{"type", type}});
  }
  page.metric("tillsync_verified_snapshot_timestamp_seconds", kGauge,
              "When the newest snapshot that was proven was made.");
  const Json& verified = status.at("snapshots").at("last_verified");
  if (!verified.is_null())
    if (auto at = seconds_at(verified.at("created_at"))) page.sample(*at);
  const Json& drill = status.at("drill");
  page.metric("tillsync_restorable_until_timestamp_seconds", kGauge, "The newest moment that a restore drill proved.");
  if (auto at = seconds_at(drill.at("restorable_until"))) page.sample(*at);
  page.metric("tillsync_drill_ok", kGauge, "1 if the last restore drill of every database succeeded.");
  if (drill.at("last_run_at").is_string()) page.sample(drill.at("last_result") == "ok");
  page.metric("tillsync_workflow_running", kGauge, "1 while a backup, a restore or a drill runs.");
  page.sample(!status.at("workflow").is_null());
  page.metric("tillsync_paused", kGauge, "1 while a person has paused capture.");
  page.sample(!status.at("paused").is_null());
  page.metric("tillsync_problems", kGauge, "Problems in the status.");
  double problems = 0, advice = 0;
  for (auto& problem : status.at("problems")) (problem.at("severity") == "problem" ? problems : advice)++;
  page.sample(problems, {{"severity", "problem"}});
  page.sample(advice, {{"severity", "advice"}});
}

}  // namespace

std::string metrics_text(const Json& status, const StoreCounts& counts, const ProcessFigures& process) {
  Page page;
  const Json& terminal = status.at("terminal");
  page.metric("tillsync_build_info", kGauge, "Which tillsync runs on which terminal.");
  page.sample(1, {{"version", terminal.at("version").get<std::string>()},
                  {"terminal", terminal.at("id").get<std::string>()},
                  {"name", terminal.at("name").get<std::string>()}});
  page.metric("tillsync_epoch", kGauge, "The terminal's epoch in the store.");
  page.sample(terminal.at("epoch").get<double>());
  add_databases(page, status.at("databases"));
  add_store(page, status, counts);
  add_safety(page, status);
  page.metric("process_resident_memory_bytes", kGauge, "Resident memory size in bytes.");
  page.sample(static_cast<double>(process.resident_bytes));
  page.metric("process_virtual_memory_bytes", kGauge, "Virtual memory size in bytes.");
  page.sample(static_cast<double>(process.virtual_bytes));
  page.metric("process_cpu_seconds_total", kCounter, "Total user and system CPU time spent in seconds.");
  page.sample(process.cpu_seconds);
  page.metric("process_open_fds", kGauge, "Number of open file descriptors.");
  page.sample(static_cast<double>(process.open_files));
  page.metric("process_threads", kGauge, "Number of threads.");
  page.sample(static_cast<double>(process.threads));
  page.metric("process_start_time_seconds", kGauge, "Start time of the process since unix epoch in seconds.");
  page.sample(static_cast<double>(to_ms(process.started_at)) / 1000);
  return std::move(page).str();
}

}  // namespace tillsync
