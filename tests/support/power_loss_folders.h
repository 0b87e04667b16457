// Real folders whose changes the power takes back, down to what was made durable.
//
// Model: a change of names (make, rename, exchange, add name, remove) or attributes is durable after sync() of every
// folder whose names it changed, or after sync_all(); what a file holds, after its sync() or sync_all(). What is not
// durable is undone, newest first, as a file system with a journal of its changes does it. What a removed name had is
// kept aside until then. Changes that are not made through these folders are durable.
// Threads: one.
#pragma once

#include <functional>
#include <list>
#include <map>

#include "platform/linux/folder_linux.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

class PowerLossFolders : public Folders {
 public:
  Result<std::unique_ptr<Folder>> open(const std::string& path) override;
  // How many of the newest changes go, and how much of each file, is up to `loss`.
  void lose_power(SeededRandom& loss);
  // Nothing stays that need not.
  void lose_power();
  // Changes that a loss would undo now.
  size_t at_risk() const { return changes_.size(); }

 private:
  friend class PowerLossFolder;
  friend class PowerLossFile;
  struct Change {
    std::vector<uint64_t> folders;  // inodes: those that have to be synced yet
    std::function<void()> undo;
  };
  void synced(uint64_t folder);
  void synced_all();
  void undo(size_t kept);

  LinuxFolders inner_;
  std::list<Change> changes_;
  std::map<std::shared_ptr<File>, uint64_t> unsynced_;  // with the size at the last sync
  TemporaryDirectory aside_;
  std::shared_ptr<Folder> removed_;  // aside_, opened
  uint64_t removals_ = 0;
};

}  // namespace tillsync::test
