#include "assets/asset_capture.h"

#include <algorithm>

#include "base/checks.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr size_t kNotesMax = 20, kSeenBatch = 256, kPlacedMax = 65536;
constexpr uint64_t kFileSizeMax = uint64_t{256} << 30;  // its pieces have to stand in one entry
// Two changes in one tick of the file system's clock look like one (FAT: 2 s), so what changed just now is not trusted.
constexpr int64_t kSettledNs = 2'000'000'000;

NodeInfo identity_of(const NodeInfo& info) {
  NodeInfo same;
  same.type = info.type;
  same.size = info.size;
  same.mtime_ns = info.mtime_ns;
  same.ctime_ns = info.ctime_ns;
  same.inode = info.inode;
  same.device = info.device;
  return same;
}

AssetEntry entry_of(AssetEntryKind kind, uint32_t depth, const std::string& name, const NodeInfo& info) {
  AssetEntry entry;
  entry.kind = kind;
  entry.depth = depth;
  entry.name = name;
  entry.mode = kind == AssetEntryKind::link ? 0 : info.mode;
  entry.mtime_ns = info.mtime_ns;
  entry.owner = info.owner;
  entry.group = info.group;
  return entry;
}

// Of what is read, as against the spool and state.db: the asset goes on without it.
std::string why(const Error& error) { return path_text(error.context); }

}  // namespace

std::string path_text(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    size_t length = lead < 0x80                   ? 1
                    : lead >= 0xc2 && lead < 0xe0 ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
    bool good = length != 0 && i + length <= bytes.size() && lead >= 0x20 && lead != 0x7f;
    for (size_t k = 1; good && k < length; k++) good = (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
    // Overlong forms, surrogates and what is beyond Unicode.
    if (good && length > 2) {
      const auto second = static_cast<unsigned char>(bytes[i + 1]);
      if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
          (lead == 0xf4 && second > 0x8f))
        good = false;
    }
    if (good) {
      out += bytes.substr(i, length);
      i += length;
    } else {
      out += "\\x" + to_hex(as_bytes(bytes.substr(i, 1)));
      i++;
    }
  }
  return out;
}

struct AssetCapture::Open {
  const AssetRequest& request;
  IncludeRules rules;
  AssetReference reference;
  AssetTreeWriter writer;
  std::vector<AssetEntry> pending;                  // folders that are kept only for what comes below them
  std::vector<TreeChunk> chunks;                    // of the tree; those that are made get their names at the end
  std::vector<std::pair<uint32_t, uint32_t>> made;  // index in `chunks`, index in made_
  std::map<Digest, uint32_t> stored_index;
  std::map<uint32_t, uint32_t> made_index;
  std::vector<AssetMemory::FileSeen> seen;
  std::vector<std::string> kept;
  uint64_t notes = 0;

  void note(const std::string& text) {
    if (++notes <= kNotesMax) reference.notes.push_back(text);
  }
};

AssetCapture::AssetCapture(Environment environment)
    : environment_(std::move(environment)),
      writer_(environment_.files, environment_.spool_folder, environment_.terminal, environment_.random) {}

AssetCapture::~AssetCapture() {
  if (finished_) return;
  for (auto& made : made_)
    if (!made.chunk.path.empty()) drop(made.chunk.path);
  for (auto& tree : captured_.trees) drop(tree.path);
}

void AssetCapture::drop(const std::string& path) { (void)environment_.files.remove(path).has_value(); }

Result<void> AssetCapture::tell() {
  if (environment_.progress && !environment_.progress(captured_.files_read, captured_.bytes_read))
    return Error{ErrorKind::cancelled, 0, "cancelled"};
  return {};
}

Result<void> AssetCapture::capture(const AssetRequest& request) {
  AssetReference reference;
  reference.name = request.name;
  reference.path = request.path;
  reference.include = request.include;
  reference.captured_at = environment_.clock.now();
  auto nothing = [&](const Error& error) {
    reference.notes = {why(error)};
    captured_.assets.push_back(reference);
  };
  auto root = environment_.folders.open(request.path);
  auto info = root ? (*root)->info() : Result<NodeInfo>(root.error());
  if (!info) {
    nothing(info.error());
    return {};
  }
  if (environment_.off_limits.contains(*info, "", *info)) {
    nothing(Error{ErrorKind::usage, 0, request.path + ": a folder of tillsync's own is no asset"});
    return {};
  }
  TILLSYNC_LET(auto writer, AssetTreeWriter::create(environment_.files, environment_.spool_folder,
                                                    environment_.terminal, environment_.random));
  Open asset{request, IncludeRules(request.include), reference, std::move(writer), {}, {}, {}, {}, {}, {}, {}, 0};
  auto done = [&]() -> Result<void> {
    TILLSYNC_TRY(asset.writer.add(entry_of(AssetEntryKind::folder, 0, "", *info)));
    asset.reference.folders++;
    TILLSYNC_TRY(walk(asset, **root, "", 0));
    return end_asset(asset);
  }();
  if (done || done.error().kind != ErrorKind::no_space) return done;
  // What was cut short may not be taken for the whole. Pieces of the chunk that had no room are nowhere.
  writer_.discard();
  placed_.clear();
  nothing(std::move(done).error().with("the asset is not in this snapshot"));
  return {};
}

Result<void> AssetCapture::walk(Open& asset, Folder& folder, const std::string& path, uint32_t depth) {
  auto folder_info = folder.info();
  auto names = folder.names();
  if (!names || !folder_info) {
    asset.note(why(names ? folder_info.error() : names.error()));
    return {};
  }
  for (auto& name : *names) {
    TILLSYNC_TRY(tell());
    const std::string below = path.empty() ? name : path + "/" + name;
    auto info = folder.stat(name);
    if (!info) {
      // SQLite removes the log of a database when its last user closes it.
      if (environment_.off_limits.contains(*folder_info, name)) continue;
      const bool wanted = asset.rules.matches(below) || asset.rules.may_match_below(below);
      if (wanted && info.error().kind == ErrorKind::not_found)
        asset.note(path_text(below) + ": it vanished before it was read");
      else if (wanted)
        asset.note(why(info.error()));
      continue;
    }
    if (environment_.off_limits.contains(*folder_info, name, *info)) continue;
    if (info->type == FileType::directory) {
      TILLSYNC_TRY(visit_folder(asset, folder, name, below, *info, depth + 1));
      continue;
    }
    if (!asset.rules.matches(below)) continue;
    if (info->type == FileType::regular) {
      TILLSYNC_TRY(visit_file(asset, folder, name, below, *info, depth + 1));
    } else if (info->type == FileType::symlink) {
      auto target = folder.read_link(name);
      if (!target) {
        asset.note(why(target.error()));
        continue;
      }
      AssetEntry entry = entry_of(AssetEntryKind::link, depth + 1, name, *info);
      entry.target = *target;
      asset.reference.links++;
      TILLSYNC_TRY(emit(asset, std::move(entry)));
    } else {
      asset.note(path_text(below) + ": a pipe, socket or device, left out");
    }
  }
  return {};
}

Result<void> AssetCapture::visit_folder(Open& asset, Folder& parent, const std::string& name, const std::string& path,
                                        const NodeInfo& info, uint32_t depth) {
  const bool matches = asset.rules.matches(path), below = asset.rules.may_match_below(path);
  if (!matches && !below) return {};
  // What it holds would be one deeper.
  if (depth >= kAssetDepthMax) {
    asset.note(path_text(path) + ": deeper than " + std::to_string(kAssetDepthMax) + " folders, left out");
    return {};
  }
  AssetEntry entry = entry_of(AssetEntryKind::folder, depth, name, info);
  if (matches) {
    TILLSYNC_TRY(emit(asset, std::move(entry)));
    asset.reference.folders++;
  } else {
    asset.pending.push_back(std::move(entry));
  }
  if (below) {
    auto folder = parent.open_folder(name);
    if (!folder)
      asset.note(why(folder.error()));
    else
      TILLSYNC_TRY(walk(asset, **folder, path, depth));
  }
  if (!asset.pending.empty() && asset.pending.back().depth == depth) asset.pending.pop_back();
  return {};
}

Result<void> AssetCapture::emit(Open& asset, AssetEntry entry) {
  for (auto& folder : asset.pending) TILLSYNC_TRY(asset.writer.add(folder));
  asset.reference.folders += asset.pending.size();
  asset.pending.clear();
  return asset.writer.add(entry);
}

Result<void> AssetCapture::visit_file(Open& asset, Folder& parent, const std::string& name, const std::string& path,
                                      NodeInfo info, uint32_t depth) {
  if (info.size > kFileSizeMax) {
    asset.note(path_text(path) + ": larger than 256 GiB, left out");
    return {};
  }
  AssetEntry entry;
  std::vector<NamedPlace> pieces;
  TILLSYNC_LET(auto known, unchanged(asset, path, info));
  if (known) {
    pieces = std::move(*known);
    entry.size = info.size;
    asset.kept.push_back(path);
  } else {
    TILLSYNC_LET(const bool there, read_file(asset, parent, name, path, info, entry, pieces));
    if (!there) return {};
  }
  AssetEntry whole = entry_of(AssetEntryKind::file, depth, name, info);
  whole.size = entry.size;
  whole.changed_while_read = entry.changed_while_read;
  for (auto& [place, piece_name] : pieces) {
    uint32_t index = static_cast<uint32_t>(asset.chunks.size());
    const bool is_new = place.made ? asset.made_index.try_emplace(*place.made, index).second
                                   : asset.stored_index.try_emplace(place.stored.sha256, index).second;
    if (is_new) {
      asset.chunks.push_back(place.stored);
      if (place.made) asset.made.emplace_back(index, *place.made);
    } else {
      index = place.made ? asset.made_index.at(*place.made) : asset.stored_index.at(place.stored.sha256);
    }
    whole.pieces.push_back({index, place.range, piece_name});
  }
  asset.reference.files++;
  asset.reference.bytes += whole.size;
  TILLSYNC_TRY(emit(asset, std::move(whole)));
  return flush_seen(asset, kSeenBatch);
}

Result<std::optional<std::vector<AssetCapture::NamedPlace>>> AssetCapture::unchanged(Open& asset,
                                                                                     const std::string& path,
                                                                                     const NodeInfo& info) {
  std::optional<std::vector<NamedPlace>> places;
  if (!environment_.deduplicate) return places;
  TILLSYNC_LET(auto known, environment_.memory.file(asset.request.name, path, info));
  if (!known) return places;
  std::vector<NamedPlace> found;
  uint64_t size = 0;
  for (auto& name : *known) {
    TILLSYNC_LET(auto piece, environment_.memory.piece(name));
    // Not in the store (any more): it is read again.
    if (!piece) return places;
    size += piece->range.raw;
    found.push_back({{std::nullopt, piece->chunk, piece->range}, name});
  }
  if (size == info.size) places = std::move(found);
  return places;
}

Result<bool> AssetCapture::read_file(Open& asset, Folder& parent, const std::string& name, const std::string& path,
                                     NodeInfo& info, AssetEntry& entry, std::vector<NamedPlace>& pieces) {
  auto left_out = [&](const Error& error) {
    const bool vanished = error.kind == ErrorKind::not_found;
    asset.note(vanished ? path_text(path) + ": it vanished while it was read" : why(error));
    return false;
  };
  for (int attempt = 1;; attempt++) {
    const int64_t begun_ns = to_ms(environment_.clock.now()) * 1'000'000;
    auto opened = parent.open_file(name);
    if (!opened) return left_out(opened.error());
    info = opened->info;
    pieces.clear();
    uint64_t at = 0;
    buffer_.resize(kPieceSizeMax);
    while (at < info.size) {
      MutableBytes part(buffer_.data(), std::min<uint64_t>(buffer_.size(), info.size - at));
      auto got = opened->file->read(at, part);
      if (!got) return left_out(got.error());
      if (*got == 0) break;
      TILLSYNC_LET(auto piece, place(ByteView(part).first(*got)));
      pieces.push_back(std::move(piece));
      at += *got;
      captured_.bytes_read += *got;
      TILLSYNC_TRY(tell());
      if (*got < part.size()) break;
    }
    auto after = parent.stat(name);
    if (!after) return left_out(after.error());
    const bool same = at == info.size && identity_of(*after) == identity_of(info);
    if (!same && attempt < kReadsMax && after->type == FileType::regular && after->size <= kFileSizeMax) continue;
    captured_.files_read++;
    entry.size = at;
    entry.changed_while_read = !same;
    if (!same)
      asset.note(path_text(path) + ": it changed each time it was read; kept as it was read last");
    else if (info.ctime_ns + kSettledNs <= begun_ns && info.mtime_ns + kSettledNs <= begun_ns) {
      asset.seen.push_back({path, info, {}});
      for (auto& piece : pieces) asset.seen.back().pieces.push_back(piece.name);
    }
    return true;
  }
}

Result<AssetCapture::NamedPlace> AssetCapture::place(ByteView raw) {
  const Digest name = sha256(raw);
  auto placed = placed_.find(name);
  if (placed != placed_.end()) return NamedPlace{placed->second, name};
  if (environment_.deduplicate) {
    TILLSYNC_LET(auto stored, environment_.memory.piece(name));
    if (stored) return NamedPlace{{std::nullopt, stored->chunk, stored->range}, name};
  }
  if (!writer_.has_room(raw.size())) TILLSYNC_TRY(end_chunk());
  if (writer_.is_empty()) made_.emplace_back();
  Place place;
  place.made = static_cast<uint32_t>(made_.size() - 1);
  place.range = writer_.add(raw, name);
  if (placed_.size() >= kPlacedMax) placed_.clear();
  placed_[name] = place;
  return NamedPlace{place, name};
}

Result<void> AssetCapture::end_chunk() {
  if (writer_.is_empty()) return {};
  TILLSYNC_LET(uint64_t free, environment_.files.free_space(environment_.spool_folder));
  if (free < environment_.free_space_min + kChunkObjectMax)
    return Error{ErrorKind::no_space, 0,
                 environment_.spool_folder + ": only " + std::to_string(free) + " bytes are free for asset chunks"};
  TILLSYNC_LET(made_.back().chunk, writer_.finish());
  return {};
}

Result<void> AssetCapture::end_asset(Open& asset) {
  TILLSYNC_TRY(end_chunk());
  for (auto [index, made] : asset.made) {
    asset.chunks[index] = {made_[made].chunk.sha256, made_[made].chunk.size};
    made_[made].wanted = true;
  }
  TILLSYNC_TRY(flush_seen(asset, 1));
  TILLSYNC_TRY(environment_.memory.forget_unseen(environment_.clock.now()));
  TILLSYNC_LET(auto finished, asset.writer.finish(asset.chunks));
  if (asset.notes > kNotesMax)
    asset.reference.notes.push_back("and " + std::to_string(asset.notes - kNotesMax) + " more");
  std::optional<AssetMemory::KnownTree> known;
  if (environment_.deduplicate) {
    TILLSYNC_LET(known, environment_.memory.tree(asset.request.name));
  }
  if (known && known->content == finished.content) {
    drop(finished.path);
    asset.reference.tree = known->tree;
  } else {
    asset.reference.tree = AssetTreeRef{finished.sha256, finished.size};
    captured_.trees.push_back({keys::asset_tree(environment_.terminal, finished.sha256), finished.path, finished.size});
    captured_.content.emplace_back(asset.request.name, AssetMemory::KnownTree{finished.content, *asset.reference.tree});
  }
  captured_.assets.push_back(std::move(asset.reference));
  return {};
}

Result<void> AssetCapture::flush_seen(Open& asset, size_t at_least) {
  const Timestamp now = environment_.clock.now();
  if (asset.seen.size() >= at_least) {
    TILLSYNC_TRY(environment_.memory.remember(asset.request.name, asset.seen, now));
    asset.seen.clear();
  }
  if (asset.kept.size() >= at_least) {
    TILLSYNC_TRY(environment_.memory.keep(asset.request.name, asset.kept, now));
    asset.kept.clear();
  }
  return {};
}

Result<CapturedAssets> AssetCapture::finish() {
  for (auto& [chunk, wanted] : made_) {
    if (chunk.path.empty()) continue;
    // Of a file that changed while it was read, or of an asset that was given up.
    if (!wanted)
      drop(chunk.path);
    else
      captured_.chunks.push_back({keys::asset_chunk(environment_.terminal, chunk.sha256), chunk.path, chunk.size});
  }
  finished_ = true;
  return std::move(captured_);
}

}  // namespace tillsync
