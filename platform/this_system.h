// The ports of the system that this is built for, by one name on each: for programs and tests. Libraries are given
// ports.
#pragma once

#ifdef _WIN32
#include "platform/windows/file_system_windows.h"
#include "platform/windows/system_clock_windows.h"
#include "platform/windows/system_random_windows.h"
#else
#include "platform/linux/file_system_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#endif

namespace tillsync {

#ifdef _WIN32
using SystemFiles = WindowsFileSystem;
#else
using SystemFiles = LinuxFileSystem;
#endif

}  // namespace tillsync
