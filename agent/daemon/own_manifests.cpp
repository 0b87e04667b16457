#include "agent/daemon/own_manifests.h"

#include <set>

#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr uint64_t kManifestMax = 512 << 20;
constexpr std::string_view kSuffix = ".manifest";
// The newest of each database, its newest FULL, and what is being made.
constexpr const char* kMayGoOn =
    "SELECT uuid FROM snapshots s WHERE NOT is_complete OR damage IS NULL AND (NOT EXISTS (SELECT 1 FROM snapshots n "
    "WHERE "
    "n.database_id=s.database_id AND n.is_complete AND n.damage IS NULL AND n.sequence>s.sequence) OR "
    "(snapshot_type='FULL' AND NOT EXISTS (SELECT 1 FROM snapshots n WHERE n.database_id=s.database_id AND "
    "n.is_complete "
    "AND n.damage IS NULL AND n.snapshot_type='FULL' AND n.sequence>s.sequence)))";

Result<std::set<std::string>> may_go_on(const Services& services) {
  std::set<std::string> uuids;
  auto db = services.state->lease();
  TILLSYNC_LET(auto query, db->prepare(kMayGoOn));
  while (true) {
    TILLSYNC_LET(bool row, query.step());
    if (!row) return uuids;
    uuids.insert(query.text(0));
  }
}

}  // namespace

Result<Manifest> read_own_manifest(const Services& services, const Lineage& lineage, const Uuid& snapshot) {
  if (!services.is_write_only()) return read_manifest(*services.store, lineage, snapshot);
  const std::string key = keys::manifest(prefix_of(lineage), snapshot);
  auto there = read_object(*services.store, key, kManifestMax);
  if (!there) return std::move(there).error().with(key);
  TILLSYNC_LET(const Bytes here,
               read_file(*services.files, services.manifests_folder() + "/" + snapshot.str() + std::string(kSuffix),
                         kManifestMax));
  Lineage clear = lineage;
  clear.keys.reset();
  TILLSYNC_LET(Manifest manifest, Manifest::decode(here, key, clear));
  manifest.lineage = lineage;
  manifest.checksum = sha256(*there);
  return manifest;
}

Result<void> keep_own_manifest(const Services& services, const Manifest& manifest) {
  if (!services.is_write_only()) return {};
  FileSystem& files = *services.files;
  const std::string folder = services.manifests_folder();
  TILLSYNC_TRY(files.make_directories(folder));
  TILLSYNC_LET(auto needed, may_go_on(services));
  TILLSYNC_LET(const auto entries, files.list(folder));
  for (auto& entry : entries)
    if (!entry.name.ends_with(kSuffix) || !needed.contains(entry.name.substr(0, entry.name.size() - kSuffix.size())))
      (void)files.remove(folder + "/" + entry.name).has_value();
  Manifest clear = manifest;
  clear.lineage.keys.reset();
  TILLSYNC_LET(auto file, PendingFile::create(files, folder + "/" + manifest.uuid.str() + std::string(kSuffix), 0));
  TILLSYNC_TRY(file.append(clear.encode(*services.random)));
  return file.commit();
}

}  // namespace tillsync
