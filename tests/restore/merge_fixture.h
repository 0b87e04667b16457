// A till whose segments are merged as it goes.
#pragma once

#include "actionlog/log_merger.h"
#include "restore/prune_fixture.h"

namespace tillsync::test {

struct MergedTill : PrunedTill {
  std::vector<std::string> left_out;

  MergedTill() : PrunedTill(RetentionPolicy{1000, 0, 0, 0, 0, std::chrono::days(365)}) { sell_one(); }
  void sell_some(int count) {
    for (int i = 0; i < count; i++) sell_one();
  }
  // A snapshot, as state.db knows it once it is complete; all that was sealed is in the store.
  void cover() {
    const Manifest made = take(SnapshotType::incremental);
    must(
        state->lease()->execute("UPDATE segments SET durable_at=1; INSERT OR REPLACE INTO snapshots(uuid, "
                                "database_id, epoch, name, snapshot_type, sequence, transaction_no, generation, "
                                "captured_at, schema_version, app_version, is_complete, manifest_key, created_at, "
                                "updated_at) VALUES('" +
                                made.uuid.str() + "', 1, 1, 'n', 'INCREMENTAL', " + std::to_string(made.sequence) +
                                ", 0, 1, 0, 0, '', 1, 'k', 0, 0)"));
  }
  std::optional<MergedSegment> build() {
    LogMerger merger(*state, 1, lineage, random);
    auto merged = must(merger.build());
    for (auto& what : merger.left_out()) left_out.push_back(what);
    if (merged) must(merger.record(*state->lease(), *merged));
    return merged;
  }
  void put(const MergedSegment& merged) {
    BytesSource source(merged.object);
    must(store.put(merged.key, source));
  }
  // All that can be; says how many there were.
  size_t merge() {
    size_t count = 0;
    while (auto merged = build()) {
      put(*merged);
      auto db = state->lease();
      auto transaction = must(Transaction::begin(*db));
      must(LogMerger::stored(*db, merged->key, clock.now()));
      must(transaction.commit());
      count++;
    }
    return count;
  }
  void drop_parts() {
    for (auto& part : must(list_log(store, lineage)).parts) store.erase(part.key);
  }
  void check_all_moments() {
    for (auto& [transaction, content] : copies) check_moment(transaction);
  }
};

}  // namespace tillsync::test
