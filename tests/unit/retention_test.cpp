// The windows of [retention]: what is kept, how many of each, and what nothing may push out.
#include <doctest/doctest.h>

#include <algorithm>

#include "snapshot/retention.h"
#include "support/results.h"
#include "support/seeded_random.h"

using namespace tillsync;
using namespace tillsync::test;

namespace {

constexpr int64_t kStart = 1767225600000;  // 2026-01-01T00:00:00Z, a Thursday

// A schedule's snapshots, one after the other.
struct Schedule {
  SeededRandom random{7};
  std::vector<RestorePoint> points;

  RestorePoint& add(Timestamp at, bool full = true, std::optional<Uuid> predecessor = std::nullopt) {
    RestorePoint p;
    std::array<uint8_t, 10> bits;
    random.fill(bits);
    p.uuid = uuid_v7(at, bits);
    p.full = full;
    p.predecessor = predecessor;
    p.created_at = p.captured_at = at;
    p.generation = static_cast<uint32_t>(points.size() + 1);
    p.sequence = points.size() * 10;
    return points.emplace_back(p);
  }
  void every(std::chrono::minutes step, std::chrono::hours how_long) {
    for (auto at = std::chrono::minutes(0); at < how_long; at += step) add(from_ms(kStart) + at);
  }
};

Timestamp at(const char* text) { return must(parse_rfc3339(text)); }

size_t kept_for(const RetentionRules& rules, const std::string& reason) {
  size_t count = 0;
  for (auto& [uuid, reasons] : rules.kept())
    count += std::any_of(reasons.begin(), reasons.end(), [&](auto& r) { return r.starts_with(reason); });
  return count;
}

bool keeps(const RetentionRules& rules, const RestorePoint& p) { return rules.kept().contains(p.uuid); }

}  // namespace

TEST_SUITE_BEGIN("snapshot");

TEST_CASE("retention: each window keeps as many buckets as it says, and the newest of each") {
  Schedule schedule;
  schedule.every(std::chrono::minutes(15), std::chrono::hours(24 * 400));
  RetentionPolicy policy;
  RetentionRules rules(schedule.points);
  rules.apply_windows(policy);
  must(rules.close_chains());
  CHECK(kept_for(rules, "last ") == 3);
  CHECK(kept_for(rules, "hourly ") == 24);
  CHECK(kept_for(rules, "daily ") == 7);
  CHECK(kept_for(rules, "weekly ") == 5);
  CHECK(kept_for(rules, "monthly ") == 12);
  // 400 days from 2026-01-01 end on 2027-02-04; all but the last month end at 23:45 of their last day.
  auto kept_at = [&](const char* text) {
    return std::any_of(schedule.points.begin(), schedule.points.end(),
                       [&](auto& p) { return p.created_at == at(text) && keeps(rules, p); });
  };
  for (const char* end : {"2026-03-31T23:45:00Z", "2026-12-31T23:45:00Z", "2027-01-31T23:45:00Z"}) CHECK(kept_at(end));
  CHECK_FALSE(kept_at("2026-02-28T23:45:00Z"));  // the thirteenth month back
  // Weeks end on Sunday.
  CHECK(kept_at("2027-01-24T23:45:00Z"));
  CHECK_FALSE(kept_at("2027-01-25T23:45:00Z"));
  CHECK(kept_at("2027-02-04T23:15:00Z"));
}

TEST_CASE("retention: windows of nothing keep the last ones alone") {
  Schedule schedule;
  schedule.every(std::chrono::hours(1), std::chrono::hours(100));
  RetentionPolicy policy{2, 0, 0, 0, 0, std::chrono::hours(1)};
  RetentionRules rules(schedule.points);
  rules.apply_windows(policy);
  CHECK(rules.kept().size() == 2);
  CHECK(keeps(rules, schedule.points[99]));
  CHECK(keeps(rules, schedule.points[98]));
}

TEST_CASE("retention: a till that stood still for a year has lost nothing by it") {
  Schedule schedule;
  schedule.every(std::chrono::hours(1), std::chrono::hours(24));
  schedule.add(from_ms(kStart) + std::chrono::hours(24 * 365));
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{1, 24, 0, 0, 0, std::chrono::hours(1)});
  CHECK(rules.kept().size() == 24);
  CHECK_FALSE(keeps(rules, schedule.points[0]));
}

TEST_CASE("retention: a clock that ran backwards does not make old snapshots new ones") {
  Schedule schedule;
  schedule.add(at("2030-01-01T00:00:00Z"));
  RestorePoint newer = schedule.add(at("2026-01-01T00:00:00Z"));
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{1, 0, 0, 0, 0, std::chrono::hours(1)});
  CHECK(keeps(rules, newer));
  CHECK(rules.newest()->uuid == newer.uuid);
}

TEST_CASE("retention: what a kept snapshot goes on from is kept, down to its FULL") {
  Schedule schedule;
  const Uuid full = schedule.add(from_ms(kStart)).uuid;
  Uuid before = full;
  for (int i = 1; i < 10; i++) before = schedule.add(from_ms(kStart) + std::chrono::hours(i), false, before).uuid;
  const Uuid differential = schedule.add(from_ms(kStart) + std::chrono::hours(10), false, full).uuid;
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{1, 0, 0, 0, 0, std::chrono::hours(1)});
  must(rules.close_chains());
  CHECK(rules.kept().size() == 2);
  CHECK(rules.kept().contains(full));
  CHECK(rules.kept().contains(differential));
  RetentionRules two(schedule.points);
  two.apply_windows(RetentionPolicy{2, 0, 0, 0, 0, std::chrono::hours(1)});
  must(two.close_chains());
  CHECK(two.kept().size() == 11);
}

TEST_CASE("retention: with a link of any chain missing nothing is decided") {
  Schedule schedule;
  schedule.add(from_ms(kStart));
  const Uuid gone = uuid_v7(from_ms(kStart), Bytes(10, 9));
  schedule.add(from_ms(kStart) + std::chrono::hours(1), false, gone);
  schedule.add(from_ms(kStart) + std::chrono::hours(2));
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{1, 0, 0, 0, 0, std::chrono::hours(1)});
  const Error error = refused(rules.close_chains());
  CHECK(error.kind == ErrorKind::corrupt);
  CHECK(contains(error.context, gone.str()));
}

TEST_CASE("retention: a damaged database's pages have windows of their own and push out no sound snapshot") {
  Schedule schedule;
  schedule.every(std::chrono::hours(1), std::chrono::hours(50));
  for (int i = 0; i < 60; i++) schedule.add(from_ms(kStart) + std::chrono::hours(50 + i)).page_level = true;
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{3, 24, 0, 0, 0, std::chrono::hours(1)});
  rules.keep_for_log(1, at("2026-01-06T00:00:00Z"), {});
  must(rules.close_chains());
  size_t sound = 0, damaged = 0;
  for (auto& p : schedule.points) (p.page_level ? damaged : sound) += keeps(rules, p);
  CHECK(sound == 24);
  CHECK(damaged == 24);
  CHECK(rules.newest()->sequence == 490);
  CHECK(rules.base_at(1, at("2026-01-06T00:00:00Z"))->sequence == 490);
  // Nothing goes on from one.
  schedule.add(from_ms(kStart) + std::chrono::hours(200), false, schedule.points.back().uuid);
  RetentionRules based(schedule.points);
  CHECK(kind_of(based.close_chains()) == ErrorKind::corrupt);
}

TEST_CASE("retention: older epochs share the windows, and the newest sound moment stays") {
  Schedule schedule;
  schedule.every(std::chrono::hours(1), std::chrono::hours(20));
  for (size_t i = 10; i < 20; i++) {
    schedule.points[i].epoch = 2;
    schedule.points[i].sequence = (i - 10) * 10;  // each epoch counts from its begin
  }
  RetentionRules rules(schedule.points);
  rules.apply_windows(RetentionPolicy{1, 12, 0, 0, 0, std::chrono::hours(1)});
  CHECK(rules.newest()->uuid == schedule.points[19].uuid);
  for (size_t i = 0; i < 20; i++) CHECK(keeps(rules, schedule.points[i]) == (i >= 8));
  // A new epoch of which only damaged pages are there yet.
  schedule.add(from_ms(kStart) + std::chrono::hours(30)).page_level = true;
  schedule.points.back().epoch = 3;
  RetentionRules again(schedule.points);
  again.apply_windows(RetentionPolicy{1, 0, 0, 0, 0, std::chrono::hours(1)});
  CHECK(keeps(again, schedule.points[19]));
  CHECK(keeps(again, schedule.points[20]));
}

TEST_CASE("retention: every moment of the log's window has a snapshot that replay reaches it from") {
  const uint64_t seed = SeededRandom::seed_of_this_run();
  INFO("seed " << seed);
  SeededRandom random(seed);
  for (int round = 0; round < 300; round++) {
    // A log of 200 sequences, one a minute; snapshots after some, barriers at some.
    std::vector<Sequence> barriers;
    Schedule schedule;
    for (Sequence s = 1; s <= 200; s++) {
      if (random.chance(4)) barriers.push_back(s);
      if (random.chance(12)) {
        RestorePoint& p = schedule.add(from_ms(kStart) + std::chrono::minutes(s));
        p.sequence = s;
        p.page_level = random.chance(10);
      }
    }
    const Timestamp since = from_ms(kStart) + std::chrono::minutes(random.below(220));
    RetentionRules rules(schedule.points);
    rules.keep_for_log(1, since, barriers);
    auto reaches = [&](Sequence moment, bool kept_only) {
      for (auto& p : schedule.points) {
        if (p.page_level || p.sequence > moment || (kept_only && !keeps(rules, p))) continue;
        if (std::none_of(barriers.begin(), barriers.end(), [&](Sequence b) { return b > p.sequence && b <= moment; }))
          return true;
      }
      return false;
    };
    const auto first = static_cast<Sequence>((since - from_ms(kStart)) / std::chrono::minutes(1));
    for (Sequence moment = std::max<Sequence>(first, 1); moment <= 200; moment++) {
      INFO("round " << round << " moment " << moment);
      REQUIRE(reaches(moment, true) == reaches(moment, false));
    }
    // Not one more than needed: each is the base, the oldest, or the first after a barrier.
    CHECK(rules.kept().size() <= barriers.size() + 1);
  }
}

TEST_CASE("retention: the policy comes back from its document, and another document is refused") {
  RetentionPolicy policy{4, 5, 6, 7, 8, std::chrono::hours(9)};
  CHECK(to_json(must(retention_from_json(to_json(policy)))) == to_json(policy));
  Json document = to_json(policy);
  document["daily"] = "x";
  CHECK(kind_of(retention_from_json(document)) == ErrorKind::usage);
  document.erase("daily");
  CHECK(kind_of(retention_from_json(document)) == ErrorKind::usage);
  CHECK(kind_of(retention_from_json(Json())) == ErrorKind::usage);
}

TEST_SUITE_END();
