# SQLite for the agent: at least 3.51.3, because earlier checkpointers can lose committed frames (the WAL-reset bug,
# see docs/architecture.md), with SQLITE_ENABLE_DBPAGE_VTAB. The system's is taken when it is new enough and has what
# is needed; else the amalgamation that ./dev put below .cache/sqlite.

set(TILLSYNC_SQLITE_MINIMUM 3.51.3)
set(TILLSYNC_SQLITE_AMALGAMATION ${CMAKE_SOURCE_DIR}/.cache/sqlite CACHE PATH "folder with sqlite3.c and sqlite3.h")

set(use_system_sqlite OFF)
if(NOT WIN32)
  pkg_check_modules(system_sqlite QUIET IMPORTED_TARGET sqlite3)
endif()
if(system_sqlite_FOUND AND system_sqlite_VERSION VERSION_GREATER_EQUAL TILLSYNC_SQLITE_MINIMUM)
  include(CheckCSourceRuns)
  set(CMAKE_REQUIRED_LIBRARIES PkgConfig::system_sqlite)
  check_c_source_runs("
    #include <sqlite3.h>
    int main(void){return !(sqlite3_compileoption_used(\"ENABLE_DBPAGE_VTAB\") && sqlite3_compileoption_used(\"ENABLE_SESSION\"));}"
    SYSTEM_SQLITE_HAS_WHAT_WE_NEED)
  set(use_system_sqlite ${SYSTEM_SQLITE_HAS_WHAT_WE_NEED})
endif()

add_library(tillsync_sqlite3 INTERFACE)
if(use_system_sqlite)
  message(STATUS "SQLite: system ${system_sqlite_VERSION}")
  target_link_libraries(tillsync_sqlite3 INTERFACE PkgConfig::system_sqlite)
else()
  if(NOT EXISTS ${TILLSYNC_SQLITE_AMALGAMATION}/sqlite3.c)
    message(FATAL_ERROR "SQLite ${TILLSYNC_SQLITE_MINIMUM} or newer is needed, the system has '${system_sqlite_VERSION}'. "
      "Run ./dev setup: it fetches the amalgamation to ${TILLSYNC_SQLITE_AMALGAMATION}.")
  endif()
  add_library(sqlite3_amalgamation STATIC ${TILLSYNC_SQLITE_AMALGAMATION}/sqlite3.c)
  target_include_directories(sqlite3_amalgamation SYSTEM PUBLIC ${TILLSYNC_SQLITE_AMALGAMATION})
  target_compile_definitions(sqlite3_amalgamation PRIVATE
    SQLITE_ENABLE_DBPAGE_VTAB SQLITE_ENABLE_FTS3 SQLITE_ENABLE_FTS4 SQLITE_ENABLE_FTS5 SQLITE_ENABLE_RTREE
    SQLITE_ENABLE_GEOPOLY SQLITE_ENABLE_STAT4 SQLITE_ENABLE_MATH_FUNCTIONS SQLITE_ENABLE_UPDATE_DELETE_LIMIT
    SQLITE_ENABLE_COLUMN_METADATA SQLITE_MAX_VARIABLE_NUMBER=250000 SQLITE_LIKE_DOESNT_MATCH_BLOBS
    SQLITE_OMIT_LOAD_EXTENSION SQLITE_DEFAULT_MEMSTATUS=0 SQLITE_THREADSAFE=2 SQLITE_TEMP_STORE=2)
  target_compile_definitions(sqlite3_amalgamation PUBLIC SQLITE_ENABLE_SESSION SQLITE_ENABLE_PREUPDATE_HOOK)
  # ASan sees SQLite misuse of ours; UBSan over 9 MB of its source only costs minutes.
  target_compile_options(sqlite3_amalgamation PRIVATE -w -O2 -fno-sanitize=undefined ${TILLSYNC_HARDENING})
  if(TILLSYNC_FUZZ)
    # It is not what is looked into: its branches would only draw the fuzzer away.
    target_compile_options(sqlite3_amalgamation PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
  target_link_libraries(sqlite3_amalgamation PUBLIC Threads::Threads $<$<NOT:$<BOOL:${WIN32}>>:m>)
  target_link_libraries(tillsync_sqlite3 INTERFACE sqlite3_amalgamation)
endif()
