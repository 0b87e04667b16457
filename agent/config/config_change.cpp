#include "agent/config/config_change.h"

namespace tillsync {

ConfigChange change_of(const Config& running, const Config& wanted) {
  ConfigChange change;
  if (running.store.upload_limit != wanted.store.upload_limit) change.upload_limit = wanted.store.upload_limit;
  if (running.store.upload_hours != wanted.store.upload_hours) change.upload_hours = wanted.store.upload_hours;
  StoreConfig store = wanted.store;
  store.upload_limit = running.store.upload_limit;
  store.upload_hours = running.store.upload_hours;
  const auto note = [&](bool is_same, const char* section) {
    if (!is_same) change.at_next_start.emplace_back(section);
  };
  note(running.terminal == wanted.terminal, "terminal");
  note(running.databases == wanted.databases, "database");
  note(running.assets == wanted.assets, "assets");
  note(running.store == store, "store");
  note(running.keys == wanted.keys, "keys");
  note(running.schedule == wanted.schedule, "schedule");
  note(running.retention == wanted.retention, "retention");
  note(running.metrics == wanted.metrics, "metrics");
  note(running.log == wanted.log, "log");
  note(running.limits == wanted.limits, "limits");
  return change;
}

std::string in_words(const ConfigChange& change) {
  std::string now, later;
  if (change.upload_limit) now += "store.upload_limit";
  if (change.upload_hours) now += (now.empty() ? "" : ", ") + std::string("store.upload_hours");
  for (auto& section : change.at_next_start) later += (later.empty() ? "[" : ", [") + section + "]";
  std::string words;
  if (!now.empty()) words = "changed from now on: " + now;
  if (!later.empty()) words += (words.empty() ? "" : "; ") + ("changed, and needs a restart of the agent: " + later);
  return words.empty() ? "nothing has changed" : words;
}

}  // namespace tillsync
