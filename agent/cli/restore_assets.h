// restore --assets DIR: the file assets of the restored snapshot, each in a folder of its own name below DIR.
//
// Purpose: open() refuses a DIR with content (without force) before anything is read; stage() writes every asset beside
// its place, proven; put_in_place() swaps them in. All of it with the rights of who runs the command line: the agent
// only hands out bytes. Owners are restored by root alone.
// Errors: denied for a DIR with content, or that is no folder; those of restore/assets.h.
// Threads: one.
#pragma once

#include "agent/cli/store_commands.h"
#include "agent/control/client.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/folder_linux.h"
#include "platform/linux/system_random_linux.h"
#include "restore/assets.h"

namespace tillsync {

class AssetsTarget {
 public:
  static Result<std::unique_ptr<AssetsTarget>> open(const std::string& folder, bool force);
  Result<void> stage(const AssetSource& source, const StoreCommands::Progress& progress);
  // [{name, path, files, folders, links, bytes, notes}], for the document of the restore.
  Result<Json> put_in_place();

 private:
  explicit AssetsTarget(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;  // absolute
  LinuxFileSystem files_;
  LinuxFolders folders_;
  SystemRandom random_;
  struct Staged {
    AssetReference asset;
    std::optional<StagedAsset> tree;  // nullopt: the snapshot has nothing of it
  };
  std::vector<Staged> staged_;
};

// The assets of a snapshot, read through the agent. The client must outlive the source.
Result<AssetSource> assets_by_agent(ControlClient& agent, const Json& params);

}  // namespace tillsync
