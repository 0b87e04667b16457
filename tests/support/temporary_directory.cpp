#include "support/temporary_directory.h"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace tillsync::test {

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tillsync-test-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("no temporary folder: " + pattern);
  path_ = pattern;
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
