// A year of a till's schedule, pruned every day: what the windows keep restores and proves, and nothing else is left.
#include "actionlog/log_verifier.h"
#include "restore/prune_fixture.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

using std::chrono::days;
using std::chrono::hours;

size_t kept_for(const PrunePlan& plan, const std::string& reason) {
  size_t count = 0;
  for (auto& [uuid, reasons] : plan.kept)
    count += std::any_of(reasons.begin(), reasons.end(), [&](auto& r) { return r.starts_with(reason); });
  return count;
}

void check_everything(PrunedTill& till, const std::map<TransactionNo, Timestamp>& sold, size_t months) {
  const PrunePlan plan = till.plan();
  REQUIRE(plan.problems.empty());
  CHECK(kept_for(plan, "last ") == 3);
  CHECK(kept_for(plan, "hourly ") == 24);
  CHECK(kept_for(plan, "daily ") == 7);
  CHECK(kept_for(plan, "weekly ") == 5);
  CHECK(kept_for(plan, "monthly ") == std::min<size_t>(12, months));
  // Nothing left to do, so what is there is what the plan keeps.
  const LineagePrune& lineage = plan.lineages.at(0);
  CHECK(lineage.manifests.empty());
  CHECK(lineage.packs.empty());
  CHECK(lineage.log.empty());
  CHECK(plan.young_packs == 0);
  CHECK(till.keys_with(".manifest").size() == lineage.keep.size());
  CHECK(till.keys_with(".anchor").size() <= 1);

  for (auto& point : lineage.keep) till.check_snapshot(point.uuid);
  SnapshotVerifier verifier(till.store, till.lineage, till.files, till.vfs.name(), till.folder.path() + "/verify.db");
  for (size_t i = 0; i < lineage.keep.size(); i += 9) {
    auto proven = must(verifier.prove(lineage.keep[i].uuid, nullptr));
    if (proven.error) FAIL_CHECK(proven.error->context);
  }
  till.check_log();

  // Every moment of the last 90 days (each fifth here, and those at the edge); before that, snapshots alone.
  const Timestamp since = till.clock.now() - days(90);
  std::set<TransactionNo> snapshots;
  for (auto& point : lineage.keep) snapshots.insert(till.taken.at(point.uuid));
  const Sequence log_begins = must(LogReader(till.store, till.lineage).list()).front().first;
  size_t within = 0, refused_moments = 0;
  for (auto& [transaction, at] : sold) {
    if (at >= since) {
      if (within++ % 5 == 0) till.check_moment(transaction);
    } else if (at < since - days(40) && !snapshots.contains(transaction) && transaction < log_begins &&
               refused_moments < 40) {
      RestoreMoment moment;
      moment.at = at;
      auto outcome = till.try_restore(moment);
      REQUIRE_FALSE(outcome);
      CHECK(outcome.error().kind == ErrorKind::not_found);
      refused_moments++;
    }
  }
  CHECK(within >= 350);
  if (till.store.keys().size() > 0 && log_begins > 1) CHECK(refused_moments > 0);
}

}  // namespace

TEST_SUITE_BEGIN("restore");

TEST_CASE("prune: a year of incrementals every six hours and a FULL a week, pruned every day") {
  PrunedTill till(RetentionPolicy{});
  std::map<TransactionNo, Timestamp> sold;
  const Timestamp start = till.clock.now();  // a Thursday
  for (int step = 1; step <= 365 * 4; step++) {
    till.clock.jump_to(start + hours(6 * step));
    till.sell_one();
    sold[till.capturer->status().transaction] = *till.capturer->status().last_capture_at;
    const auto day = std::chrono::floor<days>(till.clock.now());
    const bool sunday = std::chrono::weekday(day) == std::chrono::Sunday && step % 4 == 0;
    till.take(sunday ? SnapshotType::full : SnapshotType::incremental);
    if (step % 4 == 0) must(till.try_prune());
    // Transactions of a hundred days ago need no copy, unless a snapshot of them may be kept.
    if (step == 365 * 2) check_everything(till, sold, 7);
  }
  check_everything(till, sold, 13);
  // What a year leaves: 14 months' last chains at most, and 90 days of log that begin at a kept snapshot.
  MESSAGE("kept after a year: " << till.keys_with(".manifest").size() << " of " << till.taken.size() << " snapshots, "
                                << till.keys_with(".pack").size() << " packs, " << till.keys_with(".seg").size()
                                << " of " << till.segments.size() << " segments");
  CHECK(till.keys_with(".manifest").size() < till.taken.size() / 3);
  CHECK(till.keys_with(".seg").size() < till.segments.size() / 2);
}

TEST_SUITE_END();
