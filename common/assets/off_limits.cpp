#include "assets/off_limits.h"

#include <filesystem>

namespace tillsync {

namespace {

// Windows does not tell large letters from small ones; a file that is there is known by more than its name.
std::string folded(std::string name) {
#ifdef _WIN32
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
#endif
  return name;
}

}  // namespace

void OffLimits::add_database(Folders& folders, FileSystem& files, const std::string& path) {
  std::error_code failed;
  const auto real = std::filesystem::weakly_canonical(path, failed);
  const std::string base = failed ? path : real.generic_string();
  auto folder = folders.open(directory_of(base));
  auto there = folder ? (*folder)->info() : Result<NodeInfo>(std::move(folder).error());
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (there) names_[{there->device, there->inode}].insert(folded(base.substr(base.rfind('/') + 1) + suffix));
    auto node = files.stat(base + suffix);
    if (node) nodes_.insert({node->device, node->inode});
  }
}

void OffLimits::add_folder(Folders& folders, const std::string& path) {
  auto folder = folders.open(path);
  if (!folder) return;
  auto info = (*folder)->info();
  if (info) nodes_.insert({info->device, info->inode});
}

bool OffLimits::contains(const NodeInfo& folder, const std::string& name, const NodeInfo& node) const {
  return nodes_.contains({node.device, node.inode}) || contains(folder, name);
}

bool OffLimits::contains(const NodeInfo& folder, const std::string& name) const {
  auto names = names_.find({folder.device, folder.inode});
  return names != names_.end() && names->second.contains(folded(name));
}

}  // namespace tillsync
