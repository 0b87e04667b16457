#include <cstdio>

#include "agent/cli/render.h"

namespace tillsync {

namespace {

std::string ratio_of(const Json& snapshot) {
  const Json& ratio = member(snapshot, "compression_ratio");
  if (!ratio.is_number()) return "–";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", ratio.get<double>());
  return text;
}

Cell state_of(const Json& snapshot) {
  if (!text_in(snapshot, "damage").empty()) return {"pages of a damaged database", Tone::bad};
  if (flag_in(snapshot, "is_verified")) return {"verified", Tone::good};
  if (flag_in(snapshot, "is_complete")) return {"complete"};
  return {"incomplete", Tone::warning};
}

Tone tone_of_status(const std::string& status) {
  if (status == "COMPLETED") return Tone::good;
  if (status == "FAILED") return Tone::bad;
  if (status == "CANCELLED") return Tone::warning;
  return Tone::plain;
}

std::string error_in(const Json& document) {
  const Json& error = member(document, "error");
  return error.is_object() ? text_in(error, "message") : text_in(document, "error");
}

// The start of a text, at a whole code point.
std::string shortened(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

}  // namespace

std::string render_snapshots(const Json& snapshots, const Style& style) {
  if (snapshots.empty()) return "No snapshots yet.\n";
  TextTable table({{"uuid"},
                   {"type"},
                   {"made"},
                   right("sequence"),
                   right("size"),
                   right("stored"),
                   right("ratio"),
                   {"state"},
                   {"parent"},
                   {"name"}});
  for (const auto& snapshot : snapshots)
    table.add({{text_in(snapshot, "uuid"), Tone::strong},
               {text_in(snapshot, "type")},
               {text_in(snapshot, "created_at")},
               right(human_count(count_in(snapshot, "sequence"))),
               right(human_size(count_in(snapshot, "size"))),
               right(human_size(count_in(snapshot, "stored_bytes"))),
               right(ratio_of(snapshot)),
               state_of(snapshot),
               {text_in(snapshot, "parent_uuid", "–").substr(0, 36), Tone::faint},
               {shortened(text_in(snapshot, "name"), 40)}});
  return table.str(style);
}

std::string render_snapshot_line(const Json& snapshot) {
  return text_in(snapshot, "type", "snapshot") + " at sequence " + human_count(count_in(snapshot, "sequence")) + ", " +
         human_size(count_in(snapshot, "size")) + " of database in " + human_size(count_in(snapshot, "stored_bytes")) +
         ", durable\n";
}

std::string render_action(const Json& action, const Style& style) {
  const std::string kind = text_in(action, "action", "?");
  const bool removes = kind.find("DELETE") != std::string::npos, adds = kind.find("CREATE") != std::string::npos;
  const Json& data = removes ? member(action, "previous_data") : member(action, "data");
  std::string what;
  const Json& before = member(action, "previous_data");
  if (data.is_object()) {
    for (const auto& [column, value] : data.items()) {
      // Of an update only what changed.
      if (!removes && !adds && before.is_object() && before.contains(column) && before[column] == value) continue;
      what += (what.empty() ? "" : " ") + printable(column) + "=" +
              shortened(printable(value.dump(-1, ' ', false, Json::error_handler_t::replace)), 40);
    }
  } else if (!data.is_null()) {
    what = text_in(action, removes ? "previous_data" : "data");
  }
  char head[96];
  std::snprintf(head, sizeof head, "%10llu %8llu  ", static_cast<unsigned long long>(count_in(action, "sequence")),
                static_cast<unsigned long long>(count_in(action, "transaction")));
  const std::string name = text_in(action, "table");
  const auto padded = [](std::string text, size_t width) {
    if (text.size() < width) text.resize(width, ' ');
    return text;
  };
  std::string out = head + text_in(action, "timestamp") + "  ";
  out += toned(style, removes ? Tone::bad : adds ? Tone::good : Tone::warning, padded(kind, 12)) + "  ";
  out += padded(name, 16) + "  " + padded(shortened(text_in(action, "entity_id"), 24), 8) + "  ";
  out += toned(style, Tone::faint, shortened(what, 240));
  // What may have been the same transaction in another database.
  const Json& coincident = member(action, "coincident");
  for (const auto& other : coincident)
    out += "  with " + text_in(other, "database") + " " + human_count(count_in(other, "transaction"));
  return out + "\n";
}

std::string render_restore(const Json& restored, const std::string& file, const Style& style) {
  TextTable table({{"table"}, right("rows"), {"digest"}});
  uint64_t rows = 0;
  const Json& tables = member(restored, "tables");
  for (const auto& one : tables) {
    const bool good = flag_in(one, "digest_ok");
    rows += count_in(one, "rows");
    table.add({{text_in(one, "name")},
               right(human_count(count_in(one, "rows"))),
               {good ? "proven" : "DIFFERS", good ? Tone::good : Tone::bad}});
  }
  std::string out = table.str(style) + "\n" + printable(file) + ": sequence " +
                    human_count(count_in(restored, "sequence")) + ", transaction " +
                    human_count(count_in(restored, "transaction")) + ", " + human_count(rows) + " rows, " +
                    human_size(count_in(restored, "bytes")) + " in " +
                    human_duration(Milliseconds(static_cast<int64_t>(count_in(restored, "elapsed_ms")))) + ". ";
  out += flag_in(restored, "proven")       ? toned(style, Tone::good, "Proven.")
         : flag_in(restored, "page_level") ? toned(style, Tone::warning, "Its pages are as they were read.")
                                           : toned(style, Tone::bad, "NOT PROVEN.");
  out += "\n";
  if (const std::string note = text_in(restored, "note"); !note.empty())
    out += toned(style, Tone::warning, "Note:") + " " + note + "\n";
  const Json& assets = member(restored, "assets");
  for (const auto& asset : assets) {
    const std::string path = text_in(asset, "path");
    out += "Asset " + text_in(asset, "name") + ": ";
    out += path.empty() ? toned(style, Tone::warning, "nothing of it is in this snapshot")
                        : human_count(count_in(asset, "files")) + " files, " + human_size(count_in(asset, "bytes")) +
                              " in " + path;
    out += "\n";
    const Json& notes = member(asset, "notes");
    for (const auto& one : notes)
      if (one.is_string()) out += toned(style, Tone::warning, "Note:") + " " + printable(one.get<std::string>()) + "\n";
  }
  const Json& failures = member(restored, "failures");
  for (const auto& failure : failures)
    out += toned(style, Tone::bad, "Left out:") + " sequence " + human_count(count_in(failure, "sequence")) +
           ", table " + text_in(failure, "table") + ", entity " + text_in(failure, "entity_id") + ": " +
           text_in(failure, "reason") + "\n";
  return out;
}

std::string render_verification(const Json& verification, const Style& style) {
  std::string out;
  for (const char* list : {"snapshots", "segments", "databases"}) {
    const Json& entries = member(verification, list);
    for (const auto& entry : entries) {
      const bool good = flag_in(entry, "ok");
      std::string name = text_in(entry, "uuid", text_in(entry, "key", text_in(entry, "name")));
      out += toned(style, good ? Tone::good : Tone::bad, good ? "ok      " : "FAILED  ") + name;
      if (const auto error = error_in(entry); !error.empty()) out += "  " + error;
      out += "\n";
    }
  }
  const Json& problems = member(verification, "problems");
  for (const auto& problem : problems)
    out += toned(style, Tone::bad, "FAILED  ") +
           (problem.is_string() ? printable(problem.get<std::string>()) : text_in(problem, "text")) + "\n";
  const bool good = flag_in(verification, "ok");
  out += toned(style, good ? Tone::good : Tone::bad, good ? "Verified." : "Verification failed.") + "\n";
  return out;
}

std::string render_workflows(const Json& workflows, const Style& style) {
  if (workflows.empty()) return "No workflows.\n";
  std::string out;
  for (const auto& workflow : workflows) {
    const std::string status = text_in(workflow, "status");
    out += toned(style, Tone::strong, text_in(workflow, "uuid")) + "  " + text_in(workflow, "type") + "  " +
           toned(style, tone_of_status(status), status) + "  " + human_age(member(workflow, "updated_at"), style);
    if (const auto error = error_in(workflow); !error.empty()) out += "\n  " + toned(style, Tone::bad, error);
    out += "\n";
    TextTable table;
    const Json& steps = member(workflow, "steps");
    for (const auto& step : steps) {
      const std::string state = text_in(step, "status");
      const uint64_t attempts = count_in(step, "attempts");
      table.add({{text_in(step, "name")},
                 {state, tone_of_status(state)},
                 {attempts > 1 ? std::to_string(attempts) + " attempts" : ""},
                 {error_in(step), Tone::bad}});
    }
    out += table.str(style, "  ");
  }
  return out;
}

}  // namespace tillsync
