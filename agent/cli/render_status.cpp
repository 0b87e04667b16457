#include <algorithm>

#include "agent/cli/render.h"

namespace tillsync {

namespace {

Tone tone_of_mode(const std::string& mode) {
  if (mode == "failed") return Tone::bad;
  if (mode == "paused") return Tone::warning;
  return Tone::good;
}

void add_databases(std::string& out, const Json& databases, const Style& style) {
  TextTable table(
      {{"database"}, {"mode"}, right("sequence"), right("durable"), {"last capture"}, right("lag"), {"SQLite"}});
  std::string problems;
  for (const auto& database : databases) {
    const std::string mode = text_in(database, "mode", "?");
    table.add({{text_in(database, "name", "?"), Tone::strong},
               {mode, tone_of_mode(mode)},
               right(human_count(count_in(database, "sequence"))),
               right(human_count(count_in(database, "durable_sequence"))),
               {human_age(member(database, "last_capture_at"), style)},
               right(human_duration(Milliseconds(static_cast<int64_t>(count_in(database, "lag_ms"))))),
               {text_in(database, "writer_sqlite_version", "–")}});
    const Json& problem = member(database, "problem");
    if (!problem.is_null() && problem != "")
      problems += toned(style, Tone::bad, text_in(database, "name") + ": " + text_in(database, "problem")) + "\n";
  }
  out += "\n" + table.str(style) + problems;
}

void add_store(std::string& out, const Json& status, const Style& style) {
  const Json& store = member(status, "store");
  const Json& transfers = member(status, "transfers");
  const Json& snapshots = member(status, "snapshots");
  const bool reachable = flag_in(store, "reachable");
  TextTable table;
  table.add({{"store", Tone::faint},
             {text_in(store, "url", "none")},
             {reachable ? "reachable" : "not reachable", reachable ? Tone::good : Tone::warning},
             {"last success " + human_age(member(store, "last_success_at"), style)}});
  out += "\n" + table.str(style);
  TextTable more;
  more.add({{"transfers", Tone::faint},
            {human_count(count_in(transfers, "queued")) + " waiting (" +
             human_size(count_in(transfers, "queued_bytes")) + "), " + human_count(count_in(transfers, "active")) +
             " under way at " + human_size(count_in(transfers, "rate_bytes_per_second")) + "/s, " +
             human_size(count_in(transfers, "sent_bytes")) + " sent, " + human_count(count_in(transfers, "errors")) +
             " errors"}});
  const auto age_of = [&](const char* key) {
    const Json& value = member(snapshots, key);
    return human_age(value.is_object() ? member(value, "created_at") : value, style);
  };
  more.add({{"snapshots", Tone::faint},
            {"full " + age_of("last_full") + ", incremental " + age_of("last_incremental") + ", differential " +
             age_of("last_differential") + ", verified " + age_of("last_verified")}});
  const Json& drill = member(status, "drill");
  if (member(drill, "restorable_until").is_string())
    more.add({{"drill", Tone::faint}, {"restorable until " + text_in(drill, "restorable_until")}});
  const Json& workflow = member(status, "workflow");
  if (workflow.is_object()) {
    std::string text = text_in(workflow, "type") + ", " + text_in(workflow, "step") + ", " +
                       std::to_string(std::min<uint64_t>(100, count_in(workflow, "percent"))) + " %";
    if (member(workflow, "eta_ms").is_number())
      text += ", " + human_duration(Milliseconds(static_cast<int64_t>(count_in(workflow, "eta_ms")))) + " left";
    more.add({{"running", Tone::faint}, {text, Tone::strong}});
  }
  out += more.str(style);
}

}  // namespace

std::string render_status(const Json& status, const Style& style) {
  const Json& terminal = member(status, "terminal");
  std::string out =
      toned(style, Tone::strong, text_in(terminal, "name", "?")) + "  " +
      toned(style, Tone::faint, text_in(terminal, "id") + ", tillsync " + text_in(terminal, "version", "?")) + "\n";
  if (member(status, "databases").is_array()) add_databases(out, member(status, "databases"), style);
  add_store(out, status, style);
  const Json& problems = member(status, "problems");
  if (!problems.is_array() || problems.empty()) return out + "\n" + toned(style, Tone::good, "No problems.") + "\n";
  out += "\n";
  for (const auto& problem : problems) {
    const bool advice = text_in(problem, "severity") == "advice";
    out += (advice ? toned(style, Tone::warning, "Note: ") : toned(style, Tone::bad, "Problem: ")) +
           text_in(problem, "text", text_in(problem, "code")) + "\n";
    if (const auto remedy = text_in(problem, "remedy"); !remedy.empty()) out += "  What to do: " + remedy + "\n";
  }
  return out;
}

std::string render_flush(const Json& flushed) {
  std::string out;
  const Json& databases = member(flushed, "databases");
  for (const auto& database : databases) {
    const uint64_t sequence = count_in(database, "sequence"), durable = count_in(database, "durable_sequence");
    out += text_in(database, "name", "?") + ": ";
    out += durable >= sequence
               ? "all of " + human_count(sequence) + " actions durable\n"
               : human_count(durable) + " of " + human_count(sequence) + " actions durable, the rest is on its way\n";
  }
  return out;
}

}  // namespace tillsync
