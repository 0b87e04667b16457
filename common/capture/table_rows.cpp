#include "capture/table_rows.h"

#include <string_view>
#include <unordered_map>

namespace tillsync {

TableRows::TableRows(const Table& before, const Table& after, const Table& logged_as, LogWriter& log)
    : logged_as_(logged_as),
      log_(log),
      before_(before),
      after_(after),
      by_declared_key_(!after.without_rowid && !after.keyed_by_rowid()) {}

Result<void> TableRows::log_row(ActionKind action, ByteView key, int64_t rowid, std::optional<int64_t> previous_rowid,
                                ByteView before, ByteView after) {
  LoggedRow row;
  row.action = action;
  if (!logged_as_.without_rowid) {
    row.rowid = rowid;
    if (previous_rowid && *previous_rowid != rowid) row.previous_rowid = previous_rowid;
  }
  row.key = key;
  row.before = before;
  row.after = after;
  return log_.row(logged_as_, row);
}

Result<void> TableRows::row(const RowChange& change) {
  switch (change.action) {
    case RowAction::create: {
      TILLSYNC_LET(ByteView key, after_.key(change.rowid, change.after));
      if (!by_declared_key_) return log_row(ActionKind::create, key, change.rowid, {}, {}, change.after);
      created_.push_back({to_bytes(key), to_bytes(change.after), change.rowid});
      return {};
    }
    case RowAction::remove: {
      TILLSYNC_LET(ByteView key, before_.key(change.rowid, change.before));
      if (!by_declared_key_) return log_row(ActionKind::remove, key, change.rowid, {}, change.before, {});
      removed_.push_back({to_bytes(key), to_bytes(change.before), change.rowid});
      return {};
    }
    case RowAction::update: {
      TILLSYNC_LET(ByteView key, after_.key(change.rowid, change.after));
      if (by_declared_key_) {
        TILLSYNC_LET(ByteView old_key, before_.key(change.rowid, change.before));
        if (!equal(key, old_key)) {
          removed_.push_back({to_bytes(old_key), to_bytes(change.before), change.rowid});
          created_.push_back({to_bytes(key), to_bytes(change.after), change.rowid});
          return {};
        }
      }
      return log_row(ActionKind::update, key, change.rowid, change.rowid, change.before, change.after);
    }
  }
  return {};
}

Result<void> TableRows::finish() {
  std::unordered_multimap<std::string_view, Kept*> by_key;
  if (!created_.empty())
    for (auto& kept : removed_) by_key.emplace(as_text(kept.key), &kept);
  // Removals first: a key may be taken by a row that another one gave up.
  for (auto& created : created_) {
    auto old = by_key.find(as_text(created.key));
    if (old == by_key.end()) continue;
    created.paired = old->second->paired = true;
    by_key.erase(old);
  }
  for (auto& removed : removed_)
    if (!removed.paired) TILLSYNC_TRY(log_row(ActionKind::remove, removed.key, removed.rowid, {}, removed.record, {}));
  for (auto& removed : removed_)
    if (removed.paired) by_key.emplace(as_text(removed.key), &removed);
  for (auto& created : created_) {
    if (!created.paired) {
      TILLSYNC_TRY(log_row(ActionKind::create, created.key, created.rowid, {}, {}, created.record));
      continue;
    }
    auto old = by_key.find(as_text(created.key));
    Kept& removed = *old->second;
    by_key.erase(old);
    // Only the rowid differs, after a REPLACE with the same content: an external-content FTS table may refer to it, so
    // a restore must have it. VACUUM leaves the rowids of a table with an index as they are, so it is still no change.
    // Next to a change of schema, where a table is often written anew, nobody needs it: a snapshot follows.
    if (equal(removed.record, created.record) && (log_.transaction_flags() & kSchemaChange)) continue;
    TILLSYNC_TRY(
        log_row(ActionKind::update, created.key, created.rowid, removed.rowid, removed.record, created.record));
  }
  return {};
}

}  // namespace tillsync
