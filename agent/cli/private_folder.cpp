#include "agent/cli/private_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <filesystem>

#include "platform/linux/errno_linux.h"

namespace tillsync {

namespace fs = std::filesystem;

Result<PrivateFolder> PrivateFolder::make(const std::string& parent) {
  std::error_code ignored;
  std::string pattern = (parent.empty() ? fs::temp_directory_path(ignored).string() : parent) + "/tillsync-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return errno_error(errno, "make a temporary folder", pattern);
  return PrivateFolder(std::move(pattern));
}

PrivateFolder::~PrivateFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

std::string PrivateFolder::parent_for(int fd) {
  if (const char* chosen = ::getenv("TMPDIR"); chosen != nullptr && *chosen != '\0') return chosen;
  std::error_code unknown;
  const fs::path file = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), unknown);
  return unknown || !file.is_absolute() ? std::string() : file.parent_path().string();
}

}  // namespace tillsync
