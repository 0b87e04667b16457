// What a manifest says of an asset, and which objects that needs.
//
// Layout: docs/formats.md, "File assets".
// Errors: corrupt, with the snapshot's uuid or the object's key in front; those of the store.
// Threads: any.
#pragma once

#include "assets/asset_tree.h"
#include "snapshot/manifest.h"

namespace tillsync {

struct AssetTreeRef {
  Digest sha256;
  uint64_t size = 0;
  auto operator<=>(const AssetTreeRef&) const = default;
};

struct AssetReference {
  std::string name, path;
  std::vector<std::string> include;
  Timestamp captured_at;
  std::optional<AssetTreeRef> tree;  // nullopt: nothing could be captured
  uint64_t files = 0, folders = 0, links = 0, bytes = 0;
  std::vector<std::string> notes;  // UTF-8
};

Json to_json(const AssetReference& asset, const Uuid& terminal);
// The `assets` of a manifest.
Result<std::vector<AssetReference>> assets_from_json(const Json& assets, const Uuid& terminal);
Result<std::vector<AssetReference>> assets_of(const Manifest& manifest);

// Keys of all asset objects that the snapshot needs: the tree of each asset and every chunk that a tree names. For
// those who prune: what no kept manifest needs may go. In state.db forget_asset_object() goes before it.
Result<std::vector<std::string>> asset_objects(ObjectStore& store, const Manifest& manifest);

// The data keys of these objects, of a sealed terminal: what somebody needs who shall read these assets and nothing
// else.
Result<std::map<Uuid, Secret>> asset_data_keys(ObjectStore& store, const TerminalRef& terminal,
                                               const std::vector<AssetReference>& assets);

}  // namespace tillsync
