#include "snapshot/epochs.h"

#include <algorithm>

#include "ports/object_keys.h"

namespace tillsync {

Result<std::vector<Lineage>> list_epochs(ObjectStore& store, const TerminalRef& terminal, const std::string& database) {
  std::vector<Lineage> lineages;
  TILLSYNC_LET(auto folders, list_folders(store, keys::terminal_prefix(terminal) + keys::escaped(database) + "/"));
  for (auto& folder : folders) {
    if (const auto epoch = keys::epoch_of_folder(folder))
      lineages.push_back({terminal.id, database, *epoch, terminal.keys});
  }
  std::sort(lineages.begin(), lineages.end());
  return lineages;
}

Result<std::vector<Lineage>> epochs_before(ObjectStore& store, const Lineage& lineage) {
  TILLSYNC_LET(auto all, list_epochs(store, {lineage.terminal, lineage.keys}, lineage.database));
  std::erase_if(all, [&](auto& other) { return other.epoch >= lineage.epoch; });
  std::reverse(all.begin(), all.end());
  return all;
}

Result<Manifest> find_manifest(ObjectStore& store, const Lineage& lineage, const Uuid& snapshot) {
  auto manifest = read_manifest(store, lineage, snapshot);
  if (manifest || manifest.error().kind != ErrorKind::not_found) return manifest;
  TILLSYNC_LET(const auto older, epochs_before(store, lineage));
  for (auto& epoch : older) {
    auto found = read_manifest(store, epoch, snapshot);
    if (found || found.error().kind != ErrorKind::not_found) return found;
  }
  return manifest;
}

}  // namespace tillsync
