#include "agent/control/access.h"

#include <grp.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace tillsync {

namespace {

Result<std::optional<gid_t>> group(const char* name) {
  std::string buffer(1024, '\0');
  while (true) {
    struct group entry {};
    struct group* found = nullptr;
    const int error = ::getgrnam_r(name, &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < (size_t{1} << 20)) {
      buffer.resize(buffer.size() * 2);  // a group of many
      continue;
    }
    // Which of these means "there is none" differs between the sources of groups: getgrnam(3).
    if (error != 0 && error != ENOENT && error != ESRCH && error != EBADF && error != EPERM)
      return Error{ErrorKind::internal, error, std::string("look up the group ") + name};
    return found ? std::optional(found->gr_gid) : std::nullopt;
  }
}

bool is_in(const Peer& peer, const std::optional<gid_t>& group) {
  return group &&
         (peer.gid == *group || std::find(peer.groups.begin(), peer.groups.end(), *group) != peer.groups.end());
}

}  // namespace

Result<ControlGroups> find_control_groups() {
  ControlGroups groups;
  TILLSYNC_LET(groups.operators, group("tillsync"));
  TILLSYNC_LET(groups.administrators, group("tillsync-admin"));
  return groups;
}

bool is_allowed(const Peer& peer, Access access, uid_t own, const ControlGroups& groups) {
  if (peer.uid == 0 || peer.uid == own || is_in(peer, groups.administrators)) return true;
  return access == Access::operate && is_in(peer, groups.operators);
}

}  // namespace tillsync
