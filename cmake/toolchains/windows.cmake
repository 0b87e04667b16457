# Windows on x86-64, by mingw-w64 with POSIX threads, on Debian. TILLSYNC_WINDOWS_LIBRARIES: what packaging/windows/libraries.sh made.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_SYSTEM_VERSION 10.0)

# The plain names may be those of another flavour, which has no std::thread.
set(target x86_64-w64-mingw32)
set(CMAKE_C_COMPILER ${target}-gcc-posix)
set(CMAKE_CXX_COMPILER ${target}-g++-posix)
set(CMAKE_RC_COMPILER ${target}-windres)
set(CMAKE_AR ${target}-gcc-ar-posix CACHE FILEPATH "")
set(CMAKE_RANLIB ${target}-gcc-ranlib-posix CACHE FILEPATH "")

# Windows 10, everywhere. NTDDI_VERSION stays unset: winuser.h of mingw-w64 10 does not compile with that of Windows 10.
add_compile_definitions(_WIN32_WINNT=0x0A00 WINVER=0x0A00 WIN32_LEAN_AND_MEAN NOMINMAX UNICODE _UNICODE)
# A program that needs Windows' own libraries and no other.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TILLSYNC_WINDOWS_LIBRARIES)
set(CMAKE_FIND_ROOT_PATH ${TILLSYNC_WINDOWS_LIBRARIES} /usr/${target})
list(PREPEND CMAKE_PREFIX_PATH ${TILLSYNC_WINDOWS_LIBRARIES})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
