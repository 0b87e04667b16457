// An empty file of the real file system that has no name, as one whose folder is not ours to see.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>

#include <filesystem>

#include "platform/linux/file_system_linux.h"

namespace tillsync::test {

inline std::unique_ptr<File> unnamed_file() {
  const int descriptor = ::open(std::filesystem::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  REQUIRE(descriptor >= 0);
  return adopt_file(descriptor, "a file without a name");
}

}  // namespace tillsync::test
