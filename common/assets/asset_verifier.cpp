#include "assets/asset_verifier.h"

#include <algorithm>

#include "ports/object_keys.h"

namespace tillsync {

namespace {

Error corrupt(const std::string& key, const std::string& why) { return Error{ErrorKind::corrupt, 0, key + ": " + why}; }

// True for what reading again would not change.
bool is_verdict(const Error& error) { return error.kind == ErrorKind::corrupt || error.kind == ErrorKind::not_found; }

Result<std::map<std::string, uint64_t>> list_assets(ObjectStore& store, const TerminalRef& terminal) {
  std::map<std::string, uint64_t> listed;
  TILLSYNC_TRY(for_each_object(store, keys::assets_prefix(terminal), [&](const ObjectInfo& object) -> Result<void> {
    if (keys::sha256_of_asset(object.key)) listed[object.key] = object.size;
    return {};
  }));
  return listed;
}

}  // namespace

Result<void> AssetVerifier::check_tree(const AssetReference& asset) {
  TILLSYNC_LET(auto tree, AssetTreeReader::open(store_, terminal_, asset.tree->sha256, asset.tree->size));
  for (auto& chunk : tree.chunks()) {
    const std::string key = keys::asset_chunk(terminal_, chunk.sha256);
    auto there = listed_->find(key);
    if (there == listed_->end()) return Error{ErrorKind::not_found, 0, key + ": the chunk is missing"};
    if (there->second != chunk.size)
      return corrupt(
          key, "it has " + std::to_string(there->second) + " bytes and the tree says " + std::to_string(chunk.size));
  }
  return {};
}

Result<void> AssetVerifier::check(const Manifest& manifest) {
  TILLSYNC_LET(auto assets, assets_of(manifest));
  for (auto& asset : assets) {
    if (!asset.tree) continue;
    if (!listed_) {
      TILLSYNC_LET(listed_, list_assets(store_, terminal_));
    }
    TILLSYNC_TRY(check_tree(asset).with("asset '" + asset.name + "'"));
  }
  return {};
}

Result<const AssetVerifier::ChunkIndex*> AssetVerifier::chunk(const TreeChunk& wanted) {
  auto known = chunks_.find(wanted.sha256);
  if (known == chunks_.end()) {
    const std::string key = keys::asset_chunk(terminal_, wanted.sha256);
    auto read = [&]() -> Result<ChunkIndex> {
      auto object = read_object(store_, key, kChunkObjectMax);
      if (!object && object.error().kind == ErrorKind::not_found)
        return std::move(object).error().with(key + ": the chunk is missing");
      if (!object) return std::move(object).error().with(key);
      return check_chunk(*object, key, terminal_, true);
    }();
    if (!read && !is_verdict(read.error())) return std::move(read).error();
    known = chunks_.emplace(wanted.sha256, std::move(read)).first;
  }
  if (!known->second) return known->second.error();
  return &*known->second;
}

Result<void> AssetVerifier::prove_tree(const AssetReference& asset, uint64_t& bytes, const Progress& progress) {
  TILLSYNC_TRY(check_tree_object(store_, terminal_, asset.tree->sha256, asset.tree->size));
  TILLSYNC_LET(auto tree, AssetTreeReader::open(store_, terminal_, asset.tree->sha256, asset.tree->size));
  bytes += asset.tree->size;
  for (auto& each : tree.chunks()) {
    TILLSYNC_TRY(chunk(each));
    bytes += each.size;
    if (progress && !progress(bytes)) return Error{ErrorKind::cancelled, 0, "cancelled"};
  }
  while (true) {
    TILLSYNC_LET(auto entry, tree.next());
    if (!entry) return {};
    for (auto& piece : entry->pieces) {
      const TreeChunk& holder = tree.chunks()[piece.chunk];
      TILLSYNC_LET(const ChunkIndex* index, chunk(holder));
      auto found = std::lower_bound(index->begin(), index->end(), piece.range.offset,
                                    [](const ChunkPiece& p, uint32_t offset) { return p.range.offset < offset; });
      if (found == index->end() || found->range != piece.range || found->name != piece.name)
        return corrupt(keys::asset_chunk(terminal_, holder.sha256),
                       "it does not hold what the tree says of the file '" + tree.path() + "'");
    }
  }
}

Result<uint64_t> AssetVerifier::prove(const Manifest& manifest, const Progress& progress) {
  TILLSYNC_LET(auto assets, assets_of(manifest));
  uint64_t bytes = 0;
  for (auto& asset : assets) {
    if (!asset.tree) continue;
    auto known = trees_.find(asset.tree->sha256);
    if (known == trees_.end()) {
      uint64_t read = 0;
      auto outcome = prove_tree(asset, read, [&](uint64_t so_far) { return !progress || progress(bytes + so_far); });
      if (!outcome && !is_verdict(outcome.error())) return std::move(outcome).error();
      known = trees_.emplace(asset.tree->sha256, Proven{std::move(outcome), read}).first;
    }
    bytes += known->second.bytes;
    if (!known->second.outcome) {
      Error error = known->second.outcome.error();
      return std::move(error).with("asset '" + asset.name + "'");
    }
  }
  return bytes;
}

Result<std::vector<Digest>> missing_asset_objects(ObjectStore& store, const TerminalRef& terminal,
                                                  const std::vector<AssetReference>& assets) {
  std::vector<Digest> missing;
  TILLSYNC_LET(const auto listed, list_assets(store, terminal));
  auto look = [&](const std::string& key, const Digest& sha256, uint64_t size) {
    auto there = listed.find(key);
    const bool whole = there != listed.end() && there->second == size;
    if (!whole) missing.push_back(sha256);
    return whole;
  };
  for (auto& asset : assets) {
    if (!asset.tree || !look(keys::asset_tree(terminal, asset.tree->sha256), asset.tree->sha256, asset.tree->size))
      continue;
    auto opened = AssetTreeReader::open(store, terminal, asset.tree->sha256, asset.tree->size);
    // A write-only terminal can't look into its trees.
    if (!opened && opened.error().kind == ErrorKind::denied && terminal.keys) continue;
    TILLSYNC_LET(auto tree, std::move(opened));
    for (auto& chunk : tree.chunks()) look(keys::asset_chunk(terminal, chunk.sha256), chunk.sha256, chunk.size);
  }
  return missing;
}

}  // namespace tillsync
