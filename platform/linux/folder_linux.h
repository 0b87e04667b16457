// Folders on Linux: the *at() calls, with O_NOFOLLOW everywhere below the path that was given.
//
// Threads: LinuxFolders from any; a Folder by one at a time.
#pragma once

#include "ports/folder.h"

namespace tillsync {

class LinuxFolders : public Folders {
 public:
  Result<std::unique_ptr<Folder>> open(const std::string& path) override;
};

}  // namespace tillsync
