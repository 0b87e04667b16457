// A folder of ours alone, mode 0700, that is gone with all it holds when it goes out of scope.
//
// Errors: those of mkdtemp(3). Threads: values.
#pragma once

#include <string>

#include "base/result.h"

namespace tillsync {

class PrivateFolder {
 public:
  // In `parent`, or where temporary files go if that is empty.
  static Result<PrivateFolder> make(const std::string& parent);
  PrivateFolder(PrivateFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateFolder& operator=(PrivateFolder&&) = delete;
  ~PrivateFolder();
  const std::string& path() const { return path_; }

  // Where to make one for what will be written to the open file: $TMPDIR if set, else the file's own folder.
  static std::string parent_for(int fd);

 private:
  explicit PrivateFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace tillsync
