// The file assets of a snapshot, straight from the store.
#include "agent/cli/direct_store.h"
#include "agent/cli/text.h"
#include "snapshot/epochs.h"

namespace tillsync {

Result<AssetSource> DirectStore::assets(const Json& params) {
  TILLSYNC_LET(const Lineage lineage, database(params));
  TILLSYNC_LET(const Uuid snapshot, Uuid::parse(text_in(params, "snapshot")));
  TILLSYNC_LET(const Manifest manifest, find_manifest(*store_, lineage, snapshot));
  AssetSource source;
  source.terminal = terminal_;
  TILLSYNC_LET(source.assets, assets_of(manifest));
  source.store = store_;
  return source;
}

}  // namespace tillsync
