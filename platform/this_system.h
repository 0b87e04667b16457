// The ports of the system that this is built for, by one name on each: for programs and tests. Libraries are given
// ports.
#pragma once

#ifdef _WIN32
#include "platform/windows/change_notifier_windows.h"
#include "platform/windows/file_system_windows.h"
#include "platform/windows/folder_windows.h"
#include "platform/windows/system_clock_windows.h"
#include "platform/windows/system_random_windows.h"
#else
#include "platform/linux/change_notifier_linux.h"
#include "platform/linux/file_system_linux.h"
#include "platform/linux/folder_linux.h"
#include "platform/linux/system_clock_linux.h"
#include "platform/linux/system_random_linux.h"
#endif

namespace tillsync {

#ifdef _WIN32
using SystemFiles = WindowsFileSystem;
using SystemFolders = WindowsFolders;
using SystemChangeNotifiers = WindowsChangeNotifierFactory;
#else
using SystemFiles = LinuxFileSystem;
using SystemFolders = LinuxFolders;
using SystemChangeNotifiers = LinuxChangeNotifierFactory;
#endif

}  // namespace tillsync
