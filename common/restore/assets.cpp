#include "restore/assets.h"

#include "assets/asset_capture.h"
#include "assets/include_rules.h"
#include "base/checks.h"
#include "ports/object_keys.h"

namespace tillsync {

namespace {

constexpr size_t kNotesMax = 20;
// Beside the target: <name>.<digits>.tillsync-new
constexpr size_t kTagDigits = 8;
constexpr std::string_view kNew = ".tillsync-new", kOld = ".tillsync-old", kOlder = "er";

NodeAttributes attributes_of(const AssetEntry& entry, bool owners) {
  NodeAttributes attributes{entry.mode, entry.mtime_ns, {}};
  if (owners) attributes.owner.emplace(entry.owner, entry.group);
  return attributes;
}

// Writes the entries of a tree into a new, empty folder of ours.
class TreeBuilder {
 public:
  TreeBuilder(ObjectStore& store, const TerminalRef& terminal, const AssetReference& asset,
              const AssetRestoreOptions& options)
      : terminal_(terminal), asset_(asset), options_(options), pieces_(store, terminal) {}

  // holder, name: where `root` is, so that it can get its own attributes at the end.
  Result<AssetRestored> build(AssetTreeReader& tree, Folder& holder, const std::string& name,
                              std::unique_ptr<Folder> root) {
    root_holder_ = &holder;
    root_name_ = name;
    TILLSYNC_LET(auto first, tree.next());
    if (!first) return Error{ErrorKind::internal, 0, "a tree without an entry"};
    open_.push_back({std::move(root), std::move(*first)});
    restored_.folders++;
    while (true) {
      TILLSYNC_LET(auto entry, tree.next());
      if (!entry) break;
      // The reader has seen to it that this folder is there, is a folder, and was made here.
      TILLSYNC_CHECK(entry->depth >= 1 && entry->depth <= open_.size());
      TILLSYNC_TRY(close_down_to(entry->depth));
      TILLSYNC_TRY(add(std::move(*entry), tree));
    }
    TILLSYNC_TRY(close_down_to(0));
    return restored_;
  }

 private:
  struct OpenFolder {
    std::unique_ptr<Folder> folder;
    AssetEntry entry;
  };

  Result<void> add(AssetEntry entry, AssetTreeReader& tree) {
    Folder& in = *open_.back().folder;
    if (options_.progress && !options_.progress(restored_.files, restored_.bytes, asset_.bytes))
      return Error{ErrorKind::cancelled, 0, "cancelled"};
    switch (entry.kind) {
      case AssetEntryKind::folder: {
        TILLSYNC_LET(auto folder, in.make_folder(entry.name));
        restored_.folders++;
        // Attributes come when it is full: its time would move, and its mode may forbid to write in it.
        open_.push_back({std::move(folder), std::move(entry)});
        return {};
      }
      case AssetEntryKind::link: {
        TILLSYNC_TRY(in.make_link(entry.name, entry.target));
        restored_.links++;
        return in.set_attributes(entry.name, attributes_of(entry, options_.owners));
      }
      case AssetEntryKind::file: {
        TILLSYNC_TRY(write(in, entry, tree).with("file '" + path_text(tree.path()) + "'"));
        restored_.files++;
        return in.set_attributes(entry.name, attributes_of(entry, options_.owners));
      }
    }
    return {};
  }

  Result<void> write(Folder& in, const AssetEntry& entry, AssetTreeReader& tree) {
    TILLSYNC_LET(auto file, in.make_file(entry.name));
    uint64_t at = 0;
    for (auto& piece : entry.pieces) {
      const TreeChunk& chunk = tree.chunks()[piece.chunk];
      TILLSYNC_LET(ByteView raw,
                   pieces_.read(keys::asset_chunk(terminal_, chunk.sha256), chunk.size, piece.range, piece.name));
      TILLSYNC_TRY(file->write(at, raw));
      at += raw.size();
      restored_.bytes += raw.size();
      if (options_.progress && !options_.progress(restored_.files, restored_.bytes, asset_.bytes))
        return Error{ErrorKind::cancelled, 0, "cancelled"};
    }
    return {};
  }

  Result<void> close_down_to(size_t depth) {
    while (open_.size() > depth) {
      OpenFolder done = std::move(open_.back());
      open_.pop_back();
      done.folder.reset();
      Folder& holder = open_.empty() ? *root_holder_ : *open_.back().folder;
      const std::string& name = open_.empty() ? root_name_ : done.entry.name;
      TILLSYNC_TRY(holder.set_attributes(name, attributes_of(done.entry, options_.owners)));
    }
    return {};
  }

  TerminalRef terminal_;
  const AssetReference& asset_;
  const AssetRestoreOptions& options_;
  PieceReader pieces_;
  Folder* root_holder_ = nullptr;
  std::string root_name_;
  std::vector<OpenFolder> open_;
  AssetRestored restored_;
};

// Takes what is not of the asset from the old tree to the new one, where the name is free.
class Carrier {
 public:
  enum class How { add_name, move };
  Carrier(const IncludeRules& rules, const OffLimits& off_limits, How how, std::vector<std::string>& notes)
      : rules_(rules), off_limits_(off_limits), how_(how), notes_(notes) {}

  // Folders keep their times, whatever is put into them.
  Result<void> carry(Folder& from, Folder& to, const std::string& path) {
    TILLSYNC_LET(auto names, from.names());
    TILLSYNC_LET(const NodeInfo folder, from.info());
    for (auto& name : names) {
      const std::string below = path.empty() ? name : path + "/" + name;
      auto info = from.stat(name);
      if (!info && info.error().kind == ErrorKind::not_found) continue;
      if (!info) return std::move(info).error();
      const bool forbidden = off_limits_.contains(folder, name, *info);
      if (info->type == FileType::directory) {
        if (forbidden || info->device != folder.device)
          return Error{ErrorKind::conflict, 0,
                       path_text(below) + (forbidden ? ": a folder of tillsync's own" : ": another file system") +
                           " is in the folder that would be replaced; restore the asset to another place"};
        TILLSYNC_TRY(carry_folder(from, to, name, below, *info));
      } else if (forbidden || info->type == FileType::other || !rules_.matches(below)) {
        auto done = how_ == How::add_name ? from.add_name(name, to, name)
                                          : from.rename(name, to, name, Folder::Rename::to_free_name);
        // conflict: it was carried before, or the asset has something else under this name.
        const bool later = !done && how_ == How::add_name && done.error().kind == ErrorKind::usage;
        if (!done && !later && done.error().kind != ErrorKind::conflict && done.error().kind != ErrorKind::not_found)
          return done;
        if (!done && how_ == How::move && done.error().kind == ErrorKind::conflict && !same(from, to, name))
          note(path_text(below) + ": not kept, the asset has something else under this name");
      }
    }
    return {};
  }

 private:
  static bool same(Folder& from, Folder& to, const std::string& name) {
    auto a = from.stat(name), b = to.stat(name);
    return a && b && a->inode == b->inode && a->device == b->device;
  }

  Result<void> carry_folder(Folder& from, Folder& to, const std::string& name, const std::string& path,
                            const NodeInfo& info) {
    TILLSYNC_LET(auto inner, from.open_folder(name));
    auto there = to.stat(name);
    if (there && there->type != FileType::directory) {
      note(path_text(path) + ": not kept, the asset has something else under this name");
      return {};
    }
    if (!there && there.error().kind != ErrorKind::not_found) return std::move(there).error();
    if (!there) {
      // A folder that was of the asset and is not in it any more goes, unless something in it stays.
      if (rules_.matches(path) && !holds_others(*inner, path)) return {};
      TILLSYNC_TRY(to.make_folder(name));
    }
    TILLSYNC_LET(auto target, to.open_folder(name));
    TILLSYNC_TRY(carry(*inner, *target, path));
    target.reset();
    NodeAttributes attributes;
    if (there) {
      attributes.mode = there->mode;
      attributes.mtime_ns = there->mtime_ns;
      attributes.owner.emplace(there->owner, there->group);
    } else {
      attributes.mode = info.mode;
      attributes.mtime_ns = info.mtime_ns;
      attributes.owner.emplace(info.owner, info.group);
    }
    return to.set_attributes(name, attributes);
  }

  bool holds_others(Folder& folder, const std::string& path) {
    auto names = folder.names();
    if (!names) return true;
    auto holder = folder.info();
    if (!holder) return true;
    for (auto& name : *names) {
      const std::string below = path + "/" + name;
      auto info = folder.stat(name);
      if (!info && info.error().kind == ErrorKind::not_found) continue;
      if (!info) return true;
      if (!rules_.matches(below) || info->type == FileType::other || off_limits_.contains(*holder, name, *info))
        return true;
      if (info->type != FileType::directory) continue;
      auto inner = folder.open_folder(name);
      if (!inner || holds_others(**inner, below)) return true;
    }
    return false;
  }

  void note(std::string text) {
    if (notes_.size() < kNotesMax) notes_.push_back(std::move(text));
  }

  const IncludeRules& rules_;
  const OffLimits& off_limits_;
  How how_;
  std::vector<std::string>& notes_;
};

// Contents before of earlier restores.
Result<std::vector<std::string>> old_contents(Folder& parent, const std::string& name) {
  TILLSYNC_LET(auto names, parent.names());
  std::erase_if(names, [&](const std::string& one) {
    return !one.starts_with(name + ".") || !one.ends_with(kOld) ||
           one.size() != name.size() + 1 + kTagDigits + kOld.size();
  });
  return names;
}

// Where two names can't change places, an end between the renames of swap() left the content before under its other
// name and nothing under its own: it goes back, for what is to stay of it. Of several nobody knows which it was.
Result<void> take_back(Folder& parent, const std::string& name) {
  auto there = parent.stat(name);
  if (there || there.error().kind != ErrorKind::not_found) return {};
  TILLSYNC_LET(auto old, old_contents(parent, name));
  if (old.size() != 1) return {};
  return parent.rename(old[0], parent, name, Folder::Rename::to_free_name);
}

// Before the target becomes the one that would be taken back: what an earlier restore left beside it, which ended after
// its renames, is not.
Result<void> set_apart_older(Folder& parent, const std::string& name) {
  TILLSYNC_LET(auto old, old_contents(parent, name));
  for (auto& one : old)
    TILLSYNC_TRY(parent.rename(one, parent, one + std::string(kOlder), Folder::Rename::to_free_name));
  return {};
}

}  // namespace

Result<StagedAsset> StagedAsset::stage(ObjectStore& store, Folders& folders, FileSystem& files, Random& random,
                                       const TerminalRef& terminal, const AssetReference& asset,
                                       const std::string& target, AssetRestoreOptions options) {
  TILLSYNC_CHECK(asset.tree.has_value());
  const auto slash = target.rfind('/');
  if (slash == target.npos || slash + 1 == target.size())
    return Error{ErrorKind::usage, 0, target + ": an absolute path of a folder was expected"};
  const std::string name = target.substr(slash + 1), holder = slash == 0 ? "/" : target.substr(0, slash);
  TILLSYNC_LET(auto parent, folders.open(holder));
  if (options.keep_others) TILLSYNC_TRY(take_back(*parent, name));
  auto there = parent->stat(name);
  if (there && there->type != FileType::directory)
    return Error{ErrorKind::conflict, 0, target + ": it is no folder, so no asset is put in its place"};
  TILLSYNC_LET(const uint64_t free, files.free_space(holder));
  if (free < asset.bytes)
    return Error{ErrorKind::no_space, 0,
                 holder + ": asset '" + asset.name + "' needs " + std::to_string(asset.bytes) + " bytes, " +
                     std::to_string(free) + " are free"};
  std::array<uint8_t, kTagDigits / 2> bits;
  random.fill(bits);
  const std::string beside = name + "." + to_hex(bits);
  StagedAsset staged(std::move(parent), name, beside + std::string(kNew), beside + std::string(kOld), asset,
                     options.keep_others, options.off_limits);
  auto build = [&]() -> Result<void> {
    TILLSYNC_TRY(check_tree_object(store, terminal, asset.tree->sha256, asset.tree->size));
    TILLSYNC_LET(auto tree, AssetTreeReader::open(store, terminal, asset.tree->sha256, asset.tree->size));
    TILLSYNC_LET(auto root, staged.parent_->make_folder(staged.staged_));
    TreeBuilder builder(store, terminal, asset, options);
    TILLSYNC_LET(staged.restored_, builder.build(tree, *staged.parent_, staged.staged_, std::move(root)));
    return staged.parent_->sync_all();
  }();
  if (!build) return std::move(build).error().with("asset '" + asset.name + "'");
  return staged;
}

StagedAsset::StagedAsset(StagedAsset&& other) noexcept
    : parent_(std::move(other.parent_)),
      name_(std::move(other.name_)),
      staged_(std::move(other.staged_)),
      old_(std::move(other.old_)),
      include_(std::move(other.include_)),
      keep_others_(other.keep_others_),
      off_limits_(std::move(other.off_limits_)),
      restored_(std::move(other.restored_)),
      swapped_(other.swapped_) {}

StagedAsset::~StagedAsset() {
  if (parent_ && !swapped_) (void)remove_tree(*parent_, staged_).has_value();
}

// Answers under which name the old content is afterwards; empty: there was none.
Result<std::string> StagedAsset::put_in_place() {
  auto there = parent_->stat(name_);
  if (!there && there.error().kind != ErrorKind::not_found) return std::move(there).error();
  if (!there) {
    TILLSYNC_TRY(parent_->rename(staged_, *parent_, name_, Folder::Rename::to_free_name));
    swapped_ = true;
    return std::string();
  }
  auto exchanged = parent_->rename(staged_, *parent_, name_, Folder::Rename::exchange);
  if (exchanged) {
    swapped_ = true;
    return staged_;
  }
  if (exchanged.error().kind != ErrorKind::usage) return std::move(exchanged).error();
  TILLSYNC_TRY(set_apart_older(*parent_, name_));
  TILLSYNC_TRY(parent_->rename(name_, *parent_, old_, Folder::Rename::to_free_name));
  auto placed = parent_->rename(staged_, *parent_, name_, Folder::Rename::to_free_name);
  if (!placed) {
    auto back = parent_->rename(old_, *parent_, name_, Folder::Rename::to_free_name);
    if (!back) return std::move(placed).error().with("the content before is in " + old_);
    return std::move(placed).error();
  }
  swapped_ = true;
  return old_;
}

Result<AssetRestored> StagedAsset::swap() {
  TILLSYNC_CHECK(parent_ && !swapped_);
  const IncludeRules rules(include_);
  auto target = keep_others_ ? parent_->stat(name_) : Result<NodeInfo>(Error{ErrorKind::not_found, 0, ""});
  // What can't be looked at may hold what has to stay.
  if (!target && target.error().kind != ErrorKind::not_found) return std::move(target).error();
  const bool keeps = target && target->type == FileType::directory;
  auto carry = [&](const std::string& old, const std::string& fresh, Carrier::How how) -> Result<void> {
    TILLSYNC_LET(auto info, parent_->stat(fresh));
    TILLSYNC_LET(auto from, parent_->open_folder(old));
    TILLSYNC_LET(auto to, parent_->open_folder(fresh));
    TILLSYNC_TRY(Carrier(rules, off_limits_, how, restored_.notes).carry(*from, *to, ""));
    to.reset();
    return parent_->set_attributes(fresh, {info.mode, info.mtime_ns, std::pair(info.owner, info.group)});
  };
  if (keeps) {
    TILLSYNC_TRY(carry(name_, staged_, Carrier::How::add_name));
    TILLSYNC_TRY(parent_->sync_all());
  }
  TILLSYNC_LET(const std::string old, put_in_place());
  // From here on the asset is restored; what goes wrong now is a note, and nothing of the old content is lost by it.
  auto synced = parent_->sync();
  if (!synced) restored_.notes.push_back(synced.error().context);
  if (old.empty()) return restored_;
  if (keeps) {
    auto carried = carry(old, name_, Carrier::How::move);
    if (!carried) {
      restored_.notes.push_back("the content before is kept as " + old + ": " + carried.error().context);
      return restored_;
    }
  }
  if (!synced) return restored_;
  auto removed = remove_tree(*parent_, old);
  if (!removed) restored_.notes.push_back("a rest of the content before is in " + old + ": " + removed.error().context);
  return restored_;
}

Result<AssetRestored> restore_asset(ObjectStore& store, Folders& folders, FileSystem& files, Random& random,
                                    const TerminalRef& terminal, const AssetReference& asset, const std::string& target,
                                    AssetRestoreOptions options) {
  TILLSYNC_LET(auto staged,
               StagedAsset::stage(store, folders, files, random, terminal, asset, target, std::move(options)));
  return staged.swap();
}

}  // namespace tillsync
