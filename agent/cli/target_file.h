// The file a restore goes to: under its name whole and synced, or not at all.
//
// Purpose: open() refuses what is unsafe, then makes FILE.<random>.tillsync-part in the same folder; commit() gives it
// its name. The destructor removes a part that was not committed. Errors: denied for an unsafe target (the command
// line's status 5): a file that is there (without force), something that is no regular file, a live -wal or -journal
// beside it, a database the agent follows; not_found for a missing folder.
#pragma once

#include <string>
#include <vector>

#include "agent/control/unique_fd.h"
#include "base/result.h"

namespace tillsync {

class TargetFile {
 public:
  // followed: databases that may not be replaced this way, even with force.
  static Result<TargetFile> open(const std::string& path, bool force, const std::vector<std::string>& followed);
  TargetFile(TargetFile&& other) noexcept = default;
  TargetFile& operator=(TargetFile&&) = delete;
  ~TargetFile();

  int fd() const { return fd_.get(); }  // empty, readable and writable, mode 0600
  Result<void> commit();

 private:
  TargetFile(std::string path, std::string part, UniqueFd fd, bool force)
      : path_(std::move(path)), part_(std::move(part)), fd_(std::move(fd)), force_(force) {}
  std::string path_, part_;
  UniqueFd fd_;  // also says whether there is a part to remove
  bool force_;
};

}  // namespace tillsync
