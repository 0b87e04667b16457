#include "support/temporary_directory.h"

#include <filesystem>
#include <random>
#include <stdexcept>

namespace tillsync::test {

TemporaryDirectory::TemporaryDirectory() {
  // As mkdtemp() makes one, which not every system has.
  std::random_device random;
  const auto folder = std::filesystem::temp_directory_path();
  for (int tries = 0; tries < 100; tries++) {
    std::string name = "tillsync-test-";
    for (int i = 0; i < 8; i++) name += "abcdefghijklmnopqrstuvwxyz"[random() % 26];
    path_ = (folder / name).generic_string();
    if (std::filesystem::create_directory(path_)) {
      std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
      return;
    }
  }
  throw std::runtime_error("no temporary folder: " + path_);
}

TemporaryDirectory::TemporaryDirectory(const std::string& kept) : path_(kept), is_kept_(true) {
  std::filesystem::create_directories(path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  if (is_kept_) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tillsync::test
