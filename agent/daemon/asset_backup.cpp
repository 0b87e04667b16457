#include "agent/daemon/asset_backup.h"

#include "agent/logging/log.h"
#include "assets/asset_capture.h"
#include "assets/asset_verifier.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

Json objects_json(const std::vector<SpooledAssetObject>& objects) {
  Json all = Json::array();
  for (auto& object : objects) all.push_back({{"key", object.key}, {"path", object.path}, {"size", object.size}});
  return all;
}

struct SentChunk {
  TreeChunk chunk;
  std::vector<ChunkPiece> pieces;
};

}  // namespace

OffLimits off_limits_of(const Services& services) {
  const Config& config = *services.config;
  OffLimits off_limits;
  for (auto& database : config.databases) off_limits.add_database(*services.folders, *services.files, database.path);
  off_limits.add_folder(*services.folders, config.terminal.state_dir);
  if (config.store.url.starts_with("file://")) off_limits.add_folder(*services.folders, config.store.url.substr(7));
  return off_limits;
}

Result<void> AssetBackup::capture(StepContext& context, bool deduplicate, Json& result) {
  result["assets"] = Json::array();
  result["asset_objects"] = Json::array();
  result["asset_content"] = Json::array();
  const Config& config = *services_.config;
  if (config.assets.empty()) return {};
  AssetMemory memory(*services_.state);
  AssetCapture capture({.folders = *services_.folders,
                        .files = *services_.files,
                        .spool_folder = services_.spool_folder(),
                        .memory = memory,
                        .random = *services_.random,
                        .clock = *services_.clock,
                        .terminal = services_.terminal,
                        .off_limits = off_limits_of(services_),
                        .deduplicate = deduplicate,
                        .free_space_min = config.limits.min_free,
                        .progress = [&](uint64_t files, uint64_t bytes) {
                          context.progress(files, bytes, 0);
                          return !context.cancelled();
                        }});
  for (auto& asset : config.assets) TILLSYNC_TRY(capture.capture({asset.name, asset.path, asset.include}));
  TILLSYNC_LET(auto captured, capture.finish());
  for (auto& asset : captured.assets) result["assets"].push_back(to_json(asset, services_.terminal));
  auto objects = std::move(captured.chunks);
  objects.insert(objects.end(), captured.trees.begin(), captured.trees.end());
  result["asset_objects"] = objects_json(objects);
  for (auto& [asset, known] : captured.content)
    result["asset_content"].push_back({{"asset", asset},
                                       {"content", known.content.hex()},
                                       {"sha256", known.tree.sha256.hex()},
                                       {"size", known.tree.size}});
  if (auto text = note(result); !text.empty()) log::warn("{}", text);
  return {};
}

// Of a chunk in the spool. A write-only terminal can't open it: it has the index beside it, unless it was started anew.
Result<std::vector<ChunkPiece>> AssetBackup::pieces_of(const std::string& key, const std::string& path) {
  if (services_.is_write_only()) {
    auto index = read_file(*services_.files, chunk_index_path(path), kChunkObjectMax);
    if (!index) return std::vector<ChunkPiece>();
    return parse_chunk_index(*index).with(path);
  }
  TILLSYNC_LET(Bytes bytes, read_file(*services_.files, path, kChunkObjectMax));
  return read_chunk_index(bytes, key, services_.terminal);
}

void AssetBackup::queue(const Json& captured, int64_t database_id, std::vector<Transfer>& transfers) {
  for (auto& object : captured.at("asset_objects"))
    transfers.push_back({.lane = Lane::assets,
                         .database_id = database_id,
                         .key = object.at("key"),
                         .path = object.at("path"),
                         .size = object.at("size")});
}

Result<void> AssetBackup::check_sent(const Json& captured) {
  if (captured.at("assets").empty()) return {};
  TILLSYNC_LET(auto assets, assets_from_json(captured.at("assets"), services_.terminal));
  TILLSYNC_LET(const auto missing, missing_asset_objects(*services_.store, services_.terminal, assets));
  if (missing.empty()) return {};
  auto db = services_.state->lease();
  TILLSYNC_LET(auto transaction, Transaction::begin(*db));
  for (auto& object : missing) TILLSYNC_TRY(forget_asset_object(*db, object));
  TILLSYNC_TRY(transaction.commit());
  return Error{ErrorKind::corrupt, 0,
               std::to_string(missing.size()) +
                   " asset object(s) of earlier snapshots are no longer in the store, the first is " +
                   missing.front().hex() + "; the next backup sends them again"};
}

Result<void> AssetBackup::remember_sent(StepContext& context, const Json& captured) {
  if (captured.at("assets").empty()) return {};
  auto chunks = std::make_shared<std::vector<SentChunk>>();
  for (auto& object : captured.at("asset_objects")) {
    const std::string key = object.at("key"), path = object.at("path");
    if (!key.ends_with(".chunk")) continue;
    TILLSYNC_LET(auto pieces, pieces_of(key, path));
    // Without them its pieces are sent again with the next backup, and that is all.
    if (pieces.empty()) continue;
    chunks->push_back({{*keys::sha256_of_asset(key), object.at("size").get<uint64_t>()}, std::move(pieces)});
  }
  context.on_commit([chunks, content = captured.at("asset_content")](Connection& db) -> Result<void> {
    for (auto& sent_chunk : *chunks) TILLSYNC_TRY(remember_chunk(db, sent_chunk.chunk, sent_chunk.pieces));
    for (auto& tree : content) {
      AssetMemory::KnownTree known;
      TILLSYNC_LET(known.content, Digest::parse(tree.at("content").get<std::string>()));
      TILLSYNC_LET(known.tree.sha256, Digest::parse(tree.at("sha256").get<std::string>()));
      known.tree.size = tree.at("size").get<uint64_t>();
      TILLSYNC_TRY(remember_tree(db, tree.at("asset").get<std::string>(), known));
    }
    return {};
  });
  return {};
}

void AssetBackup::remove_spooled(const Json& captured) {
  for (auto& object : captured.at("asset_objects")) {
    const auto path = object.at("path").get<std::string>();
    (void)services_.files->remove(path).has_value();
    if (services_.is_write_only()) (void)services_.files->remove(chunk_index_path(path)).has_value();
  }
}

std::string AssetBackup::note(const Json& captured) {
  std::string text;
  for (auto& asset : captured.at("assets"))
    for (auto& each : asset.at("notes"))
      text += (text.empty() ? "" : "; ") + ("asset '" + asset.at("name").get<std::string>() + "': ") +
              each.get<std::string>();
  return text;
}

}  // namespace tillsync
