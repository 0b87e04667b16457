// The local action log, page by page, as `tillsync log` shows it.
//
// Errors: what state.db reports. Threads: any; holds state.db for one page at a time.
#pragma once

#include "actionlog/render.h"
#include "state/state_db.h"

namespace tillsync {

struct LogFilter {
  std::optional<std::string> table, entity;
  std::optional<Sequence> from, to;  // inclusive
  std::optional<Timestamp> since;
  Sequence after = 0;  // exclusive
  size_t limit = 1000;
};

struct LogPage {
  std::vector<Json> actions;
  std::optional<Sequence> next;  // ask again after this one; nothing: the log ends here
};

Result<LogPage> query_log(StateDb& state, int64_t database_id, const Lineage& lineage, const Json& user_columns,
                          const LogFilter& filter);

}  // namespace tillsync
