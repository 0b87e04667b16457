# Compiler options of our own code, and the one way to declare a library folder.

set(TILLSYNC_SANITIZE "" CACHE STRING "comma-separated list for -fsanitize, empty for none")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND NOT WIN32)
  add_link_options(-fuse-ld=mold)
endif()

# Line tables are enough for a backtrace, and cost a third of what full debug information does to build.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1")

# Sanitizers apply to everything that is compiled here, SQLite included.
if(TILLSYNC_SANITIZE)
  add_compile_options(-fsanitize=${TILLSYNC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TILLSYNC_SANITIZE})
  # -O0 makes the capture tests too slow to be run often; -O1 keeps traces readable.
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
  set(CMAKE_C_FLAGS_DEBUG "-O1 -g1")
endif()

# What is installed is hardened, and the same bytes from whatever folder it is built in. The tests' own code is not.
set(TILLSYNC_INSTALLED OFF)
if(NOT WIN32 AND NOT TILLSYNC_SANITIZE AND CMAKE_BUILD_TYPE MATCHES "^Rel")
  set(TILLSYNC_INSTALLED ON)
  set(TILLSYNC_HARDENING -ffile-prefix-map=${CMAKE_BINARY_DIR}=. -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.
    -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND TILLSYNC_HARDENING -fcf-protection)
  endif()
  add_link_options(-Wl,-z,relro,-z,now)
endif()

add_library(tillsync_options INTERFACE)
target_compile_options(tillsync_options INTERFACE -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor)
target_include_directories(tillsync_options INTERFACE ${CMAKE_SOURCE_DIR}/common ${CMAKE_SOURCE_DIR})
# In a header of its own: on every command line a new version would mean to compile everything again.
configure_file(${CMAKE_SOURCE_DIR}/cmake/version.h.in ${CMAKE_BINARY_DIR}/generated/version.h @ONLY)
target_include_directories(tillsync_options INTERFACE ${CMAKE_BINARY_DIR}/generated)

# tillsync_library(<folder> SOURCES ... LINKS ...): one folder of common/ or platform/ is one static library.
function(tillsync_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(tillsync_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(tillsync_${name} PUBLIC tillsync_options ${ARG_LINKS})
endfunction()
