#include "capture/table_rows.h"

#include <string_view>
#include <unordered_map>

namespace tillsync {

namespace {
constexpr size_t kKeptBytesMax = 4 << 20;
}

TableRows::TableRows(const Table& before, const Table& after, const Table& logged_as, LogWriter& log,
                     const PairingSpill::Place& spill)
    : logged_as_(logged_as),
      log_(log),
      before_(before),
      after_(after),
      by_declared_key_(!after.without_rowid && !after.keyed_by_rowid()),
      place_(spill) {}

Result<void> TableRows::keep(PairingSpill::Side side, ByteView key, int64_t rowid, ByteView record) {
  if (spill_) return spill_->add(side, key, rowid, record);
  auto& rows = side == PairingSpill::Side::removed ? removed_ : created_;
  rows.push_back({to_bytes(key), to_bytes(record), rowid});
  kept_bytes_ += sizeof(Kept) + key.size() + record.size();
  return kept_bytes_ > kKeptBytesMax ? spill() : Result<void>();
}

Result<void> TableRows::spill() {
  TILLSYNC_LET(spill_, PairingSpill::create(place_));
  for (auto* rows : {&removed_, &created_}) {
    auto side = rows == &removed_ ? PairingSpill::Side::removed : PairingSpill::Side::created;
    for (auto& row : *rows) TILLSYNC_TRY(spill_->add(side, row.key, row.rowid, row.record));
    rows->clear();
  }
  return {};
}

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
      return keep(PairingSpill::Side::created, key, change.rowid, change.after);
    }
    case RowAction::remove: {
      TILLSYNC_LET(ByteView key, before_.key(change.rowid, change.before));
      if (!by_declared_key_) return log_row(ActionKind::remove, key, change.rowid, {}, change.before, {});
      return keep(PairingSpill::Side::removed, key, change.rowid, change.before);
    }
    case RowAction::update: {
      TILLSYNC_LET(ByteView key, after_.key(change.rowid, change.after));
      if (by_declared_key_) {
        TILLSYNC_LET(ByteView old_key, before_.key(change.rowid, change.before));
        if (!equal(key, old_key)) {
          TILLSYNC_TRY(keep(PairingSpill::Side::removed, old_key, change.rowid, change.before));
          return keep(PairingSpill::Side::created, key, change.rowid, change.after);
        }
      }
      return log_row(ActionKind::update, key, change.rowid, change.rowid, change.before, change.after);
    }
  }
  return {};
}

Result<void> TableRows::log_pair(ByteView key, int64_t rowid, ByteView record, int64_t old_rowid, ByteView old_record) {
  // Only the rowid differs, after a REPLACE with the same content: an external-content FTS table may refer to it, so
  // a restore must have it. VACUUM leaves the rowids of a table with an index as they are, so it is still no change.
  // Next to a change of schema, where a table is often written anew, nobody needs it: a snapshot follows.
  if (equal(old_record, record) && (log_.transaction_flags() & kSchemaChange)) return {};
  return log_row(ActionKind::update, key, rowid, old_rowid, old_record, record);
}

// Removals first: a key may be taken by a row that another one gave up.
Result<void> TableRows::finish() {
  if (!spill_) return finish_in_memory();
  TILLSYNC_TRY(spill_->each_removed([&](const PairingSpill::Row& row) {
    return log_row(ActionKind::remove, row.key, row.rowid, {}, row.record, {});
  }));
  TILLSYNC_TRY(spill_->each_created([&](const PairingSpill::Row& row, const PairingSpill::Row* old) {
    return old ? log_pair(row.key, row.rowid, row.record, old->rowid, old->record)
               : log_row(ActionKind::create, row.key, row.rowid, {}, {}, row.record);
  }));
  spill_.reset();
  return {};
}

Result<void> TableRows::finish_in_memory() {
  std::unordered_multimap<std::string_view, Kept*> by_key;
  if (!created_.empty())
    for (auto& kept : removed_) by_key.emplace(as_text(kept.key), &kept);
  for (auto& created : created_) {
    auto old = by_key.find(as_text(created.key));
    if (old == by_key.end()) continue;
    created.pair = old->second;
    old->second->paired = true;
    by_key.erase(old);
  }
  for (auto& removed : removed_)
    if (!removed.paired) TILLSYNC_TRY(log_row(ActionKind::remove, removed.key, removed.rowid, {}, removed.record, {}));
  for (auto& created : created_) {
    TILLSYNC_TRY(created.pair
                     ? log_pair(created.key, created.rowid, created.record, created.pair->rowid, created.pair->record)
                     : log_row(ActionKind::create, created.key, created.rowid, {}, {}, created.record));
  }
  return {};
}

}  // namespace tillsync
