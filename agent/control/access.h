// Who may ask the agent for what.
//
// Purpose: a till operator sees how things are and backs up; rows, restores and prunes are for whoever administers the
// till. Root and the agent's own user may do everything. Everybody else is known by groups, which the kernel tells of
// the process at the other end. Errors: internal, when the groups can't be looked up. Threads: values.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/result.h"

namespace tillsync {

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;  // beside gid
};

enum class Access {
  operate,     // group tillsync, and who may administer
  administer,  // group tillsync-admin
};

// nullopt: there is no such group on this machine.
struct ControlGroups {
  std::optional<gid_t> operators, administrators;
  bool any() const { return operators || administrators; }
};
Result<ControlGroups> find_control_groups();

bool is_allowed(const Peer& peer, Access access, uid_t own, const ControlGroups& groups);

}  // namespace tillsync
