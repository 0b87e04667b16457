// The document of `prune --json`, one database of it.
#include "prune/prune_run.h"

namespace tillsync {

namespace {

// A log may lose a hundred thousand segments at once: neighbours that go for the same reason are one entry.
void add_log(const LineagePrune& one, Json& remove) {
  Json* last = nullptr;
  for (auto& object : one.log) {
    const bool goes_on = last && object.range && last->contains("last_sequence") &&
                         (*last)["last_sequence"].get<Sequence>() + 1 == object.range->first &&
                         (*last)["reason"] == object.reason;
    if (goes_on) {
      (*last)["last_sequence"] = object.range->second;
      (*last)["count"] = (*last)["count"].get<uint64_t>() + 1;
      (*last)["bytes"] = (*last)["bytes"].get<uint64_t>() + object.size;
      continue;
    }
    Json entry{{"kind", to_string(object.kind)}, {"epoch", one.lineage.epoch}, {"key", object.key},
               {"bytes", object.size},           {"reason", object.reason},    {"count", 1}};
    if (object.range) {
      entry["first_sequence"] = object.range->first;
      entry["last_sequence"] = object.range->second;
    }
    remove.push_back(std::move(entry));
    last = &remove.back();
  }
}

}  // namespace

Json to_json(const PrunePlan& plan, bool removed) {
  Json keep = Json::array(), remove = Json::array(), logs = Json::array();
  uint64_t objects = 0, bytes = 0;
  for (auto& one : plan.lineages) {
    for (auto& point : one.keep) {
      Json entry{{"uuid", point.uuid.str()},   {"epoch", point.epoch}, {"created_at", to_rfc3339(point.created_at)},
                 {"sequence", point.sequence}, {"full", point.full},   {"reasons", plan.kept.at(point.uuid)}};
      if (point.page_level) entry["damaged"] = true;
      keep.push_back(std::move(entry));
    }
    for (auto* list : {&one.manifests, &one.packs, &one.log}) {
      objects += list->size();
      for (auto& object : *list) bytes += object.size;
    }
    for (auto* list : {&one.manifests, &one.packs})
      for (auto& object : *list)
        remove.push_back({{"kind", to_string(object.kind)},
                          {"epoch", one.lineage.epoch},
                          {"key", object.key},
                          {"bytes", object.size},
                          {"reason", object.reason},
                          {"count", 1}});
    add_log(one, remove);
    if (one.anchor) logs.push_back({{"epoch", one.lineage.epoch}, {"first_sequence", one.anchor->first_sequence}});
  }
  return {{"database", plan.database},
          {"retention", to_json(plan.policy)},
          {"removed", removed},
          {"keep", std::move(keep)},
          {"remove", std::move(remove)},
          {"objects", objects},
          {"bytes", bytes},
          {"logs", std::move(logs)},
          {"young_packs", {{"count", plan.young_packs}, {"bytes", plan.young_bytes}}},
          {"problems", plan.problems},
          {"notes", plan.notes}};
}

}  // namespace tillsync
