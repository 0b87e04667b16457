#include "restore/moment.h"
#include "restore/outcome_json.h"

namespace tillsync {

Result<RestoreMoment> parse_moment(const Json& params) {
  RestoreMoment moment;
  int given = 0;
  auto text = [&](const char* key) -> Result<std::optional<std::string>> {
    if (!params.contains(key) || params.at(key).is_null()) return std::optional<std::string>();
    if (!params.at(key).is_string()) return Error{ErrorKind::usage, 0, std::string(key) + ": a text was expected"};
    given++;
    return std::optional(params.at(key).get<std::string>());
  };
  auto number = [&](const char* key) -> Result<std::optional<uint64_t>> {
    if (!params.contains(key) || params.at(key).is_null()) return std::optional<uint64_t>();
    if (!params.at(key).is_number_integer() || params.at(key) < 0)
      return Error{ErrorKind::usage, 0, std::string(key) + ": a number from 0 on was expected"};
    given++;
    return std::optional(params.at(key).get<uint64_t>());
  };
  TILLSYNC_LET(auto snapshot, text("snapshot"));
  TILLSYNC_LET(auto at, text("at"));
  TILLSYNC_LET(moment.sequence, number("sequence"));
  TILLSYNC_LET(moment.transaction, number("transaction"));
  if (snapshot) {
    TILLSYNC_LET(moment.snapshot, Uuid::parse(*snapshot));
  }
  if (at) {
    TILLSYNC_LET(moment.at, parse_rfc3339(*at));
  }
  if (given > 1)
    return Error{ErrorKind::usage, 0, "only one of snapshot, at, sequence and transaction can name the moment"};
  return moment;
}

Json outcome_json(const RestoreOutcome& outcome, std::string note) {
  if (!outcome.note.empty()) note += (note.empty() ? "" : "; ") + outcome.note;
  Json tables = Json::array();
  for (auto& table : outcome.tables)
    tables.push_back({{"name", table.name}, {"rows", table.rows}, {"digest_ok", table.digest_ok}});
  Json document{{"sequence", outcome.sequence}, {"transaction", outcome.transaction},           {"tables", tables},
                {"bytes", outcome.bytes},       {"actions_replayed", outcome.actions_replayed}, {"elapsed_ms", 0},
                {"proven", outcome.proven}};
  if (outcome.page_level) document["page_level"] = true;
  if (!note.empty()) document["note"] = note;
  if (!outcome.failures.empty()) {
    document["failures"] = Json::array();
    for (auto& f : outcome.failures)
      document["failures"].push_back(
          {{"sequence", f.sequence}, {"table", f.table}, {"entity_id", f.entity}, {"reason", f.reason}});
  }
  return document;
}

}  // namespace tillsync
