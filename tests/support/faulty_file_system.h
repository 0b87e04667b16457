// A decorator that counts the calls of the file port and makes one of them go wrong.
//
// Numbering: every call of the file system and of its files is one call, counted from 1. Destructors (close) count not.
// A failing write may have written its first half: the port promises nothing about it.
// Use: run once to learn calls(); then for n = 1 … calls(): fail_at(n, …), run, look that all is well.
// Threads: any; the hook runs in the thread of the call.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "ports/files.h"

namespace tillsync::test {

class FaultyFileSystem : public FileSystem {
 public:
  explicit FaultyFileSystem(FileSystem& inner);

  // Call n (from now on: reset() starts the count anew) fails; with for_good every later one too.
  void fail_at(uint64_t n, ErrorKind kind, bool for_good = false);
  // Runs before call n; what it does to the inner file system the call then meets.
  void at_call(uint64_t n, std::function<void()> hook);
  // Asked before every call, in its words ("sync /state/state.db-wal"): an error it gives is the call's.
  using Watcher = std::function<std::optional<ErrorKind>(const std::string& call)>;
  void on_call(Watcher watcher);
  // A call of another port, counted with these and failed like them.
  Result<void> call(const std::string& what, const std::string& path);
  void reset();
  uint64_t calls() const;
  // What call n was, to say it when a test fails: "sync /state/state.db-wal". Empty before any failed.
  std::string failed_call() const;
  // Of the calls that would fail only those do whose path begins so.
  void fail_only_below(const std::string& prefix);
  // By calls that went well, since reset().
  uint64_t bytes_written(const std::string& prefix) const;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<void> remove(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> rename_new(const std::string& from, const std::string& to) override;
  Result<void> link_new(const std::string& from, const std::string& to) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Result<void> make_directories(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<uint64_t> free_space(const std::string& path) override;

 private:
  struct Plan;
  class Handle;
  FileSystem& inner_;
  std::shared_ptr<Plan> plan_;
};

}  // namespace tillsync::test
