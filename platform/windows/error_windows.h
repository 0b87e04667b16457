// Errors of Windows, by kind, with Windows' own words. Threads: any.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace tillsync {

// number: of GetLastError(). std::bad_alloc where it says that there is no memory.
Error windows_error(uint32_t number, std::string_view doing, std::string_view path);
// The same of the call before.
Error last_windows_error(std::string_view doing, std::string_view path);

}  // namespace tillsync
