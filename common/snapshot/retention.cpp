#include "snapshot/retention.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <tuple>

namespace tillsync {

namespace {

using std::chrono::days;
using std::chrono::floor;

std::string day_text(std::chrono::sys_days day) {
  const std::chrono::year_month_day ymd(day);
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()),
                static_cast<unsigned>(ymd.day()));
  return text;
}

std::string hour_of(Timestamp t) { return to_rfc3339(floor<std::chrono::hours>(t)).substr(0, 13); }
std::string day_of(Timestamp t) { return day_text(floor<days>(t)); }
std::string week_of(Timestamp t) {
  const auto day = floor<days>(t);
  return day_text(day - (std::chrono::weekday(day) - std::chrono::Monday));
}
std::string month_of(Timestamp t) { return day_of(t).substr(0, 7); }

struct Field {
  const char* name;
  int RetentionPolicy::*count;
};
constexpr Field kFields[] = {{"last", &RetentionPolicy::last},
                             {"hourly", &RetentionPolicy::hourly},
                             {"daily", &RetentionPolicy::daily},
                             {"weekly", &RetentionPolicy::weekly},
                             {"monthly", &RetentionPolicy::monthly}};

}  // namespace

Json to_json(const RetentionPolicy& policy) {
  Json document{{"log_ms", policy.log.count()}};
  for (auto& field : kFields) document[field.name] = policy.*field.count;
  return document;
}

Result<RetentionPolicy> retention_from_json(const Json& document) {
  auto number = [&](const char* name, int64_t most) -> Result<int64_t> {
    if (!document.is_object() || !document.contains(name) || !document[name].is_number_integer() ||
        document[name] < 0 || document[name] > most)
      return Error{ErrorKind::usage, 0, "retention." + std::string(name) + ": a number from 0 on was expected"};
    return document[name].get<int64_t>();
  };
  RetentionPolicy policy;
  for (auto& field : kFields) {
    TILLSYNC_LET(int64_t n, number(field.name, INT32_MAX));
    policy.*field.count = static_cast<int>(n);
  }
  TILLSYNC_LET(int64_t log, number("log_ms", INT64_MAX));
  policy.log = Milliseconds(log);
  return policy;
}

RestorePoint RestorePoint::of(const Manifest& m) {
  return {m.lineage.epoch, m.uuid,     m.predecessor(), m.type == SnapshotType::full, m.is_page_level(), m.created_at,
          m.captured_at,   m.sequence, m.generation};
}

bool RestorePoint::operator<(const RestorePoint& o) const {
  return std::tie(epoch, sequence, generation, created_at, uuid) <
         std::tie(o.epoch, o.sequence, o.generation, o.created_at, o.uuid);
}

RetentionRules::RetentionRules(std::vector<RestorePoint> points) : points_(std::move(points)) {
  std::sort(points_.begin(), points_.end());
  for (size_t i = 0; i < points_.size(); i++) places_[points_[i].uuid] = i;
}

const RestorePoint* RetentionRules::find(const Uuid& uuid) const {
  auto it = places_.find(uuid);
  return it == places_.end() ? nullptr : &points_[it->second];
}

const RestorePoint* RetentionRules::newest() const {
  auto it = std::find_if(points_.rbegin(), points_.rend(), [](auto& p) { return !p.page_level; });
  return it == points_.rend() ? nullptr : &*it;
}

const RestorePoint* RetentionRules::base_at(uint64_t epoch, Timestamp since) const {
  auto it = std::find_if(points_.rbegin(), points_.rend(),
                         [&](auto& p) { return p.epoch == epoch && !p.page_level && p.captured_at <= since; });
  return it == points_.rend() ? nullptr : &*it;
}

void RetentionRules::keep(const Uuid& snapshot, const std::string& reason) { kept_[snapshot].push_back(reason); }

void RetentionRules::window(const RetentionPolicy& policy, bool page_level) {
  const std::string which = page_level ? " of a damaged database" : "";
  int count = 0;
  for (auto p = points_.rbegin(); p != points_.rend() && count < policy.last; ++p)
    if (p->page_level == page_level) keep(p->uuid, "last " + std::to_string(++count) + which);
  struct Window {
    const char* name;
    int count;
    std::string (*bucket)(Timestamp);
  };
  for (const Window& w : {Window{"hourly", policy.hourly, hour_of}, Window{"daily", policy.daily, day_of},
                          Window{"weekly", policy.weekly, week_of}, Window{"monthly", policy.monthly, month_of}}) {
    std::set<std::string> seen;
    for (auto p = points_.rbegin(); p != points_.rend() && seen.size() < static_cast<size_t>(w.count); ++p) {
      if (p->page_level != page_level) continue;
      const std::string bucket = w.bucket(p->created_at);
      if (seen.insert(bucket).second) keep(p->uuid, w.name + (" " + bucket) + which);
    }
  }
}

void RetentionRules::apply_windows(const RetentionPolicy& policy) {
  window(policy, false);
  window(policy, true);
  const RestorePoint* last = newest();
  if (!last) return;
  keep(last->uuid, "the newest moment");
  auto full = std::find_if(points_.rbegin(), points_.rend(),
                           [&](auto& p) { return p.full && !p.page_level && p.epoch == last->epoch; });
  if (full != points_.rend()) keep(full->uuid, "the newest FULL");
}

void RetentionRules::keep_for_log(uint64_t epoch, Timestamp since, const std::vector<Sequence>& barriers) {
  const RestorePoint* base = base_at(epoch, since);
  if (base) keep(base->uuid, "start of retention.log");
  // Where nothing is older than the window, the oldest there is, or all before the next snapshot could not be reached.
  bool wanted = !base;
  Sequence barrier = 0;
  auto next = barriers.begin();
  while (base && next != barriers.end() && *next <= base->sequence) ++next;
  for (auto& p : points_) {
    if (p.epoch != epoch || p.page_level || (base && p.sequence <= base->sequence)) continue;
    for (; next != barriers.end() && *next <= p.sequence; ++next) {
      wanted = true;
      barrier = *next;
    }
    if (!wanted) continue;
    keep(p.uuid, barrier ? "replay goes on from it after the change at sequence " + std::to_string(barrier)
                         : "the oldest within retention.log");
    wanted = false;
  }
}

Result<void> RetentionRules::close_chains() {
  for (auto& p : points_) {
    if (!p.predecessor) continue;
    const RestorePoint* before = find(*p.predecessor);
    // In order, so that what follows comes to an end.
    if (!before || before->epoch != p.epoch || before->page_level || !(*before < p))
      return Error{ErrorKind::corrupt, 0,
                   "snapshot " + p.uuid.str() + " goes on from snapshot " + p.predecessor->str() +
                       (before ? ", which is none that it can go on from" : ", which is not in the store")};
  }
  for (auto p = points_.rbegin(); p != points_.rend(); ++p)
    if (p->predecessor && kept_.contains(p->uuid))
      keep(*p->predecessor, "snapshot " + p->uuid.str() + " goes on from it");
  return {};
}

}  // namespace tillsync
