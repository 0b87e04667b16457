// What a person sees of a prune: what stays and why, what goes and why.
#include <map>

#include "agent/cli/render.h"

namespace tillsync {

namespace {

std::string counted(uint64_t number, const std::string& what) {
  return human_count(number) + " " + what + (number == 1 ? "" : "s");
}

std::string what_of(const Json& entry) {
  if (!member(entry, "first_sequence").is_null())
    return "sequences " + human_count(count_in(entry, "first_sequence")) + " to " +
           human_count(count_in(entry, "last_sequence"));
  const std::string key = text_in(entry, "key");
  const auto slash = key.rfind('/');
  return slash == std::string::npos ? key : key.substr(slash + 1);
}

std::string kept_table(const Json& keep, const Style& style) {
  TextTable table({{"stays"}, {"made"}, {"why"}});
  for (const auto& snapshot : keep) {
    const Json& reasons = member(snapshot, "reasons");
    std::string why;
    size_t shown = 0;
    for (const auto& reason : reasons)
      if (shown < 3 && reason.is_string()) why += (shown++ ? ", " : "") + printable(reason.get<std::string>());
    if (reasons.size() > shown) why += " and " + std::to_string(reasons.size() - shown) + " more";
    table.add({{text_in(snapshot, "uuid")}, {text_in(snapshot, "created_at")}, {why}});
  }
  return table.str(style);
}

std::string removed_table(const Json& remove, const Style& style) {
  TextTable table({{"goes"}, {"what"}, right("size"), {"why"}});
  for (const auto& entry : remove) {
    const uint64_t count = count_in(entry, "count");
    table.add({{(count > 1 ? human_count(count) + " " : "") + text_in(entry, "kind") + (count > 1 ? "s" : "")},
               {what_of(entry)},
               right(human_size(count_in(entry, "bytes"))),
               {text_in(entry, "reason")}});
  }
  return table.str(style);
}

}  // namespace

std::string render_prune(const Json& pruned, const Style& style) {
  const bool dry_run = flag_in(pruned, "dry_run");
  std::string out;
  for (const auto& database : member(pruned, "databases")) {
    const Json& keep = member(database, "keep");
    const Json& remove = member(database, "remove");
    out += toned(style, Tone::strong, text_in(database, "database")) + ": " + counted(keep.size(), "snapshot") +
           (keep.size() == 1 ? " stays, " : " stay, ") + counted(count_in(database, "objects"), "object") + " of " +
           human_size(count_in(database, "bytes")) + (dry_run ? " would go" : " removed") + ".\n";
    if (dry_run && !keep.empty()) out += "\n" + kept_table(keep, style);
    if (!remove.empty()) {
      if (dry_run) {
        out += "\n" + removed_table(remove, style);
      } else {
        std::map<std::string, std::pair<uint64_t, uint64_t>> sums;
        for (const auto& entry : remove) {
          auto& [count, bytes] = sums[text_in(entry, "kind")];
          count += count_in(entry, "count");
          bytes += count_in(entry, "bytes");
        }
        for (auto& [kind, sum] : sums)
          out += "  " + human_count(sum.first) + " " + kind + (sum.first == 1 ? "" : "s") + ", " +
                 human_size(sum.second) + "\n";
      }
    }
    for (const auto& log : member(database, "logs"))
      out += "  The log " + std::string(dry_run ? "would begin" : "begins") + " at sequence " +
             human_count(count_in(log, "first_sequence")) + ".\n";
    const uint64_t young = count_in(member(database, "young_packs"), "count");
    if (young > 0)
      out += "  " + counted(young, "pack") + " without a snapshot " + (young == 1 ? "stays" : "stay") +
             " for now: a backup may be under way.\n";
    for (const auto& note : member(database, "notes"))
      out += "  " + (note.is_string() ? printable(note.get<std::string>()) : std::string()) + ".\n";
    for (const auto& problem : member(database, "problems"))
      out += toned(style, Tone::bad, "LEFT AS IT IS  ") +
             (problem.is_string() ? printable(problem.get<std::string>()) : std::string()) + "\n";
    out += "\n";
  }
  const Json& assets = member(pruned, "assets");
  if (count_in(assets, "objects") > 0)
    out += toned(style, Tone::strong, "file assets") + ": " + counted(count_in(assets, "objects"), "object") + " of " +
           human_size(count_in(assets, "bytes")) + (dry_run ? " would go" : " removed") + ".\n\n";
  for (const auto& problem : member(assets, "problems"))
    out += toned(style, Tone::bad, "LEFT AS IT IS  ") +
           "file assets: " + (problem.is_string() ? printable(problem.get<std::string>()) : std::string()) + "\n\n";
  if (out.empty()) return "Nothing to prune.\n";
  out.pop_back();
  return out;
}

}  // namespace tillsync
