// An empty file of the real file system that has no name, as one whose folder is not ours to see.
#pragma once

#include "platform/this_system.h"
#include "support/results.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

inline std::unique_ptr<File> unnamed_file() {
  const TemporaryDirectory folder;
  return must(SystemFiles().open(folder / "gone soon", OpenMode::create_new));
}

}  // namespace tillsync::test
