#include "ports/folder.h"

namespace tillsync {

Result<void> remove_tree(Folder& folder, const std::string& name) {
  auto info = folder.stat(name);
  if (!info && info.error().kind == ErrorKind::not_found) return {};
  if (!info) return std::move(info).error();
  if (info->type == FileType::directory) {
    TILLSYNC_LET(const NodeInfo holder, folder.info());
    if (holder.device != info->device)
      return Error{ErrorKind::conflict, 0, name + ": another file system is mounted there, and was left as it is"};
    // One that may not be written in can't be emptied either, unless by root. If this fails, what follows says why.
    if ((info->mode & 0700) != 0700) (void)folder.set_attributes(name, {0700, info->mtime_ns, {}}).has_value();
    TILLSYNC_LET(auto inner, folder.open_folder(name));
    TILLSYNC_LET(auto names, inner->names());
    for (auto& each : names) TILLSYNC_TRY(remove_tree(*inner, each));
  }
  return folder.remove(name);
}

}  // namespace tillsync
