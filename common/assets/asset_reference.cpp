#include "assets/asset_reference.h"

#include <algorithm>
#include <set>

#include "ports/object_keys.h"

namespace tillsync {

namespace {

// As the configuration has them: it becomes the name of a folder where assets are restored.
bool is_asset_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name != "." && name != ".." &&
         name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == name.npos;
}

std::optional<AssetReference> parse(const Json& json, const Uuid& terminal) {
  AssetReference asset;
  auto text = [&](const Json& in, const char* field, std::string& out) {
    if (!in.is_object() || !in.contains(field) || !in[field].is_string()) return false;
    out = in[field].get<std::string>();
    return true;
  };
  auto number = [&](const Json& in, const char* field, uint64_t& out) {
    if (!in.is_object() || !in.contains(field) || !in[field].is_number_unsigned()) return false;
    out = in[field].get<uint64_t>();
    return true;
  };
  auto texts = [&](const char* field, std::vector<std::string>& out) {
    if (!json.contains(field) || !json[field].is_array()) return false;
    for (auto& each : json[field]) {
      if (!each.is_string()) return false;
      out.push_back(each.get<std::string>());
    }
    return true;
  };
  std::string time;
  if (!text(json, "name", asset.name) || !is_asset_name(asset.name) || !text(json, "path", asset.path) ||
      !text(json, "captured_at", time) || !texts("include", asset.include) || !texts("notes", asset.notes) ||
      !number(json, "files", asset.files) || !number(json, "folders", asset.folders) ||
      !number(json, "links", asset.links) || !number(json, "bytes", asset.bytes) || !json.contains("tree"))
    return std::nullopt;
  auto captured_at = parse_rfc3339(time);
  if (!captured_at) return std::nullopt;
  asset.captured_at = *captured_at;
  const Json& tree = json["tree"];
  if (tree.is_null()) return asset;
  std::string key, sha256;
  AssetTreeRef ref;
  if (!text(tree, "key", key) || !text(tree, "sha256", sha256) || !number(tree, "size", ref.size)) return std::nullopt;
  auto digest = Digest::parse(sha256);
  if (!digest || key != keys::asset_tree(terminal, *digest)) return std::nullopt;
  ref.sha256 = *digest;
  asset.tree = ref;
  return asset;
}

}  // namespace

Json to_json(const AssetReference& asset, const Uuid& terminal) {
  Json tree;
  if (asset.tree)
    tree = {{"key", keys::asset_tree(terminal, asset.tree->sha256)},
            {"sha256", asset.tree->sha256.hex()},
            {"size", asset.tree->size}};
  return {{"name", asset.name},       {"path", asset.path},
          {"include", asset.include}, {"captured_at", to_rfc3339(asset.captured_at)},
          {"tree", std::move(tree)},  {"files", asset.files},
          {"folders", asset.folders}, {"links", asset.links},
          {"bytes", asset.bytes},     {"notes", asset.notes}};
}

Result<std::vector<AssetReference>> assets_from_json(const Json& assets, const Uuid& terminal) {
  std::vector<AssetReference> all;
  std::set<std::string> names;
  if (!assets.is_array()) return Error{ErrorKind::corrupt, 0, "the assets are no list"};
  for (auto& json : assets) {
    auto asset = json.is_object() ? parse(json, terminal) : std::nullopt;
    if (!asset || !names.insert(asset->name).second)
      return Error{ErrorKind::corrupt, 0, "asset " + std::to_string(all.size() + 1) + " of it is of another form"};
    all.push_back(std::move(*asset));
  }
  return all;
}

Result<std::vector<AssetReference>> assets_of(const Manifest& manifest) {
  return assets_from_json(manifest.assets, manifest.lineage.terminal).with("snapshot " + manifest.uuid.str());
}

Result<std::map<Uuid, Secret>> asset_data_keys(ObjectStore& store, const TerminalRef& terminal,
                                               const std::vector<AssetReference>& assets) {
  std::map<Uuid, Secret> opening;
  const Lineage lineage = asset_lineage(terminal);
  auto add = [&](const std::string& key, ObjectKind kind) -> Result<void> {
    Bytes head(ObjectOpener::head_size(lineage));
    auto got = store.read(key, 0, head);
    if (!got) return std::move(got).error().with(key);
    head.resize(*got);
    TILLSYNC_LET(const ObjectOpener object, ObjectOpener::open(head, kind, lineage).with(key));
    if (auto data_key = object.data_key()) opening.insert(std::move(*data_key));
    return {};
  };
  for (auto& asset : assets) {
    if (!asset.tree) continue;
    TILLSYNC_TRY(add(keys::asset_tree(terminal, asset.tree->sha256), ObjectKind::asset_tree));
    TILLSYNC_LET(auto tree, AssetTreeReader::open(store, terminal, asset.tree->sha256, asset.tree->size));
    for (auto& chunk : tree.chunks())
      TILLSYNC_TRY(add(keys::asset_chunk(terminal, chunk.sha256), ObjectKind::asset_chunk));
  }
  return opening;
}

Result<std::vector<std::string>> asset_objects(ObjectStore& store, const Manifest& manifest) {
  const TerminalRef terminal = manifest.lineage;
  std::set<std::string> needed;
  TILLSYNC_LET(auto assets, assets_of(manifest));
  for (auto& asset : assets) {
    if (!asset.tree) continue;
    needed.insert(keys::asset_tree(terminal, asset.tree->sha256));
    TILLSYNC_LET(auto tree, AssetTreeReader::open(store, terminal, asset.tree->sha256, asset.tree->size));
    for (auto& chunk : tree.chunks()) needed.insert(keys::asset_chunk(terminal, chunk.sha256));
  }
  return std::vector<std::string>(needed.begin(), needed.end());
}

}  // namespace tillsync
