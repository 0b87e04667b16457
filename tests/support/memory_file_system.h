// A file system in memory that can lose its power.
//
// Fault model of crash(): what the file port does not promise to keep may be gone.
//   - Bytes written since the file's last sync(): each 512-byte block is, independently, as it was at the last sync, as
//   it
//     was at some moment in between, or as it is now; the size likewise. A block never mixes old and new bytes.
//   - Names made, renamed or removed since the folder's last sync_directory(): a prefix of them, in order, happened;
//   the
//     rest did not. A rename inside one folder is one step; across folders it is two, so a file may be seen twice or
//     not.
//   - A file whose name survives and whose content was never synced is there, with any content it could have.
//   - Open files are dead: every call on them fails. Locks are gone.
// crash() without randomness is the strictest: nothing unsynced survives.
//
// cut_power() stops everything at once (for a hook at call N): every call fails until crash() turns the power on again.
// Space: set_capacity() makes writes fail with no_space once the content of all files would exceed it.
// Threads: any, as the port.
#pragma once

#include <map>
#include <mutex>

#include "ports/files.h"
#include "support/seeded_random.h"

namespace tillsync::test {

class MemoryFileSystem : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<void> remove(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override { return move(from, to, false); }
  Result<void> rename_new(const std::string& from, const std::string& to) override { return move(from, to, true); }
  Result<void> link_new(const std::string& from, const std::string& to) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<uint64_t> free_space(const std::string& path) override;

  // A folder that was there before the story begins: durable, with its parents.
  void add_directory(const std::string& path);
  void set_capacity(uint64_t bytes);
  uint64_t used() const;

  void cut_power();
  void crash() { lose_power(nullptr); }
  void crash(SeededRandom& random) { lose_power(&random); }
  // Everything is durable, as after a clean shutdown of the machine.
  void sync_all();
  // Holds what the other one holds now, all of it durable. Nothing may be open here.
  void copy_from(const MemoryFileSystem& other);

 private:
  struct Node;
  struct State;
  class Handle;
  using NodePtr = std::shared_ptr<Node>;
  Result<void> move(const std::string& from, const std::string& to, bool only_if_free);
  void lose_power(SeededRandom* random);
  std::shared_ptr<State> state_;
};

}  // namespace tillsync::test
