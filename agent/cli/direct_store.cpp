#include "agent/cli/direct_store.h"

#include <algorithm>

#include "actionlog/log_reader.h"
#include "actionlog/render.h"
#include "agent/cli/store_contents.h"
#include "agent/cli/text.h"
#include "agent/config/retention_policy.h"
#include "agent/keys/reader_keys.h"
#include "snapshot/epochs.h"
#include "snapshot/verified.h"
#include "store/open_store.h"

namespace tillsync {

namespace {

// What `log` is asked to show.
struct LogFilter {
  Sequence from = 0, to = ~Sequence{0};
  std::optional<Timestamp> since;
  std::string table, entity;

  static Result<LogFilter> of(const Json& params) {
    LogFilter filter;
    filter.table = text_in(params, "table");
    filter.entity = text_in(params, "entity");
    if (member(params, "from").is_number()) filter.from = count_in(params, "from");
    if (member(params, "to").is_number()) filter.to = count_in(params, "to");
    const std::string since = text_in(params, "since");
    if (since.empty()) return filter;
    TILLSYNC_LET(filter.since, parse_rfc3339(since));
    return filter;
  }
  bool shows(const Json& action) const {
    if (!table.empty() && text_in(action, "table") != table) return false;
    return entity.empty() || text_in(action, "entity_id") == entity;
  }
};

// The first segment that holds something captured at or after `since`: times never run backwards within a log.
Result<size_t> first_since(LogReader& reader, const std::vector<SegmentObject>& segments, Timestamp since) {
  size_t low = 0, high = segments.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    TILLSYNC_LET(const Segment segment, reader.read(segments[middle]));
    if (segment.head.last_captured_at < since)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace

Result<std::unique_ptr<StoreCommands>> open_store_directly(const StoreAccess& access) {
  auto direct = std::make_unique<DirectStore>();
  TILLSYNC_TRY(direct->open(access));
  return std::unique_ptr<StoreCommands>(std::move(direct));
}

Result<void> DirectStore::open(const StoreAccess& access) {
  TILLSYNC_LET(store_, make_store(access.config.store, files_, clock_, random_));
  configured_ = policy_of(access.config.retention);
  TILLSYNC_LET(const Uuid terminal, find_terminal(*store_, access.terminal, access.config.terminal.name));
  TILLSYNC_LET(const Keys keys, keys_for_reading(*store_, files_, access.config, access.key, terminal));
  terminal_ = TerminalRef(terminal, keys);
  return {};
}

Result<std::vector<Lineage>> DirectStore::databases(const Json& params) {
  return find_databases(*store_, terminal_, text_in(params, "database"));
}

Result<std::vector<Lineage>> DirectStore::all_epochs(const Json& params) {
  TILLSYNC_LET(const auto newest, databases(params));
  std::vector<Lineage> all;
  for (const auto& lineage : newest) {
    TILLSYNC_LET(const auto epochs, list_epochs(*store_, terminal_, lineage.database));
    all.insert(all.end(), epochs.begin(), epochs.end());
  }
  return all;
}

Result<Lineage> DirectStore::database(const Json& params) {
  return find_database(*store_, terminal_, text_in(params, "database"));
}

Result<Json> DirectStore::snapshots(const Json& params) {
  Json all = Json::array();
  TILLSYNC_LET(const auto lineages, all_epochs(params));
  for (const auto& lineage : lineages) {
    std::vector<Error> bad;
    TILLSYNC_LET(const auto manifests, list_manifests(*store_, lineage, &bad));
    if (!bad.empty()) return std::move(bad.front());
    for (const auto& manifest : manifests) {
      TILLSYNC_LET(const auto mark, read_verified(*store_, manifest));
      all.push_back(to_json(manifest, mark.has_value(), mark ? std::optional(mark->verified_at) : std::nullopt));
    }
  }
  return all;
}

Result<void> DirectStore::log(const Json& params, const Sink& sink) {
  TILLSYNC_LET(const LogFilter filter, LogFilter::of(params));
  TILLSYNC_LET(const Lineage lineage, database(params));
  LogReader reader(*store_, lineage);
  TILLSYNC_LET(const auto all, reader.list());
  std::vector<SegmentObject> chosen;
  for (const auto& segment : all)
    if (segment.last >= filter.from && segment.first <= filter.to) chosen.push_back(segment);
  if (filter.since) {
    TILLSYNC_LET(const size_t first, first_since(reader, chosen, *filter.since));
    chosen.erase(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(first));
  }
  TILLSYNC_TRY(LogReader::check_whole(chosen));
  RenderContext context;
  context.lineage = lineage;
  context.durable_sequence = ~Sequence{0};  // what is in the store is durable
  const std::string since = filter.since ? to_rfc3339(*filter.since) : "";
  for (const auto& object : chosen) {
    TILLSYNC_LET(const Segment segment, reader.read(object));
    auto schema = reader.schema_of(segment, all);
    if (!schema) return std::move(schema).error().with(object.key);
    context.schema = *schema;
    context.user_columns = parse_json(segment.user_columns.empty() ? "{}" : segment.user_columns);
    if (!context.user_columns.is_object())
      return Error{ErrorKind::corrupt, 0, object.key + ": its user columns are not a JSON object"};
    Result<void> told;
    TILLSYNC_TRY(render_segment(segment, context, filter.from, filter.to, [&](const Json& action) {
      // Times have one form, so that text order is time order.
      if (!filter.shows(action) || text_in(action, "timestamp") < since) return true;
      told = sink(action);
      return told.has_value();
    }));
    TILLSYNC_TRY(std::move(told));
  }
  return {};
}

}  // namespace tillsync
