// A listening Unix socket under a name of the file system.
//
// Errors: usage for a path that is too long; conflict where somebody answers there, or it is no socket; denied,
// no_space, internal. Threads: any.
#pragma once

#include <sys/types.h>

#include <string>

#include "agent/control/unique_fd.h"
#include "base/result.h"

namespace tillsync {

// Makes its folder where that is missing. A socket nobody answers on is replaced. Close-on-exec, non-blocking.
Result<UniqueFd> listen_on_unix_socket(const std::string& path, mode_t mode);

}  // namespace tillsync
