// The one place where errno becomes an Error.
//
// Errors: ENOENT/ENOTDIR → not_found; EEXIST/ENOTEMPTY → conflict; EACCES/EPERM/EROFS → denied; ENOSPC/EDQUOT/EFBIG →
// no_space; EINTR/EAGAIN/EBUSY/EMFILE/ENFILE/EIO → transient; ENODEV/ENXIO/ESTALE/EHOSTDOWN … → offline (a disk or a
// share that went away); ENAMETOOLONG/ELOOP → usage; ENOMEM throws std::bad_alloc; everything else internal.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tillsync {

// "<doing> <path>: <errno in words>"
Error errno_error(int number, std::string_view doing, std::string_view path);

}  // namespace tillsync
