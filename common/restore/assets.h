// Restores one asset tree: beside its place, proven, then in its place at once.
//
// Purpose: stage() writes the tree into a new folder beside the target (`<name>.<8 hex digits>.tillsync-new`), every
// piece compared with its SHA-256, everything made durable; swap() gives it the target's name. Whoever opens the target
// finds the old content or the new. Where the file system can exchange two names that is one step; else the old content
// is renamed to `….tillsync-old` first and back if the second rename fails. The old content is removed when the swap is
// complete, and not before. A StagedAsset that is not swapped removes what it made.
// What is kept: with AssetRestoreOptions::keep_others everything below the target that the asset's `include` does not
// match stays, and so do special files and what is off limits (followed databases): it gets a second name in the new
// tree before the swap (the same file, for who has it open, too), and what could not, or came meanwhile, is moved after
// it. A target that is gone because an earlier restore ended between its renames is taken back first; what one left
// that ended after them becomes `….tillsync-older`. A folder of
// tillsync's own or another file system below the target is a reason to refuse: conflict. Without keep_others the
// target afterwards holds the asset and nothing else.
// Attributes: mode and mtime always; owner and group if `owners`. Links are made as they were and never followed: each
// name is one part, looked up in a folder that was made in this restore (ports/folder.h, assets/asset_tree.h).
// Memory: one section of the tree, one piece and what is read ahead.
// Errors: corrupt or not_found with the object's key and the file, no_space, denied, cancelled; after an error of
// stage() or before the renames of swap() the target is as it was. Threads: one at a time.
#pragma once

#include <functional>

#include "assets/asset_reference.h"
#include "assets/off_limits.h"
#include "ports/folder.h"

namespace tillsync {

struct AssetRestoreOptions {
  bool owners = false;                                                                 // needs root
  bool keep_others = false;                                                            // for a restore in place
  OffLimits off_limits;                                                                // with keep_others
  std::function<bool(uint64_t files, uint64_t bytes, uint64_t bytes_total)> progress;  // false: stop
};

struct AssetRestored {
  uint64_t files = 0, folders = 0, links = 0, bytes = 0;
  std::vector<std::string> notes;  // what could not be kept or removed, and where it is
};

class StagedAsset {
 public:
  // target: an absolute path whose folder exists; itself a folder, not there, or else a conflict (also a link: resolve
  // it first). asset: with a tree.
  static Result<StagedAsset> stage(ObjectStore& store, Folders& folders, FileSystem& files, Random& random,
                                   const TerminalRef& terminal, const AssetReference& asset, const std::string& target,
                                   AssetRestoreOptions options);
  StagedAsset(StagedAsset&& other) noexcept;
  StagedAsset& operator=(StagedAsset&&) = delete;
  ~StagedAsset();
  // Once.
  Result<AssetRestored> swap();

 private:
  StagedAsset(std::unique_ptr<Folder> parent, std::string name, std::string staged, std::string old,
              const AssetReference& asset, bool keep_others, OffLimits off_limits)
      : parent_(std::move(parent)),
        name_(std::move(name)),
        staged_(std::move(staged)),
        old_(std::move(old)),
        include_(asset.include),
        keep_others_(keep_others),
        off_limits_(std::move(off_limits)) {}
  Result<std::string> put_in_place();
  std::unique_ptr<Folder> parent_;
  std::string name_, staged_, old_;  // in parent_
  std::vector<std::string> include_;
  bool keep_others_;
  OffLimits off_limits_;
  AssetRestored restored_;
  bool swapped_ = false;
};

// stage() and swap().
Result<AssetRestored> restore_asset(ObjectStore& store, Folders& folders, FileSystem& files, Random& random,
                                    const TerminalRef& terminal, const AssetReference& asset, const std::string& target,
                                    AssetRestoreOptions options);

}  // namespace tillsync
