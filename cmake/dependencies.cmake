# Third-party libraries. Everything is a Debian 12 package, except SQLite where the system's is too old.

find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto SSL)
find_package(CURL REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(libsystemd REQUIRED IMPORTED_TARGET libsystemd)  # sd-bus, for the tray
find_package(Boost 1.81 REQUIRED)  # Asio is header-only

# What is installed needs nothing of the system but its C library and its OpenSSL, which are to get their updates from there.
add_library(tillsync_spdlog INTERFACE)
if(TILLSYNC_INSTALLED)
  target_compile_definitions(tillsync_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
  set_target_properties(PkgConfig::tomlplusplus PROPERTIES INTERFACE_LINK_LIBRARIES "" INTERFACE_COMPILE_OPTIONS ""
    INTERFACE_COMPILE_DEFINITIONS TOML_HEADER_ONLY=1)
  find_library(ZSTD_ARCHIVE libzstd.a REQUIRED)
  set_target_properties(PkgConfig::zstd PROPERTIES INTERFACE_LINK_LIBRARIES ${ZSTD_ARCHIVE})
  add_link_options(-static-libstdc++ -static-libgcc)
else()
  target_link_libraries(tillsync_spdlog INTERFACE spdlog::spdlog)
endif()
