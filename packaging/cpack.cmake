# Read by cpack for each kind of package.
if(CPACK_GENERATOR STREQUAL "DEB")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
elseif(CPACK_GENERATOR STREQUAL "TGZ")
  # The same tree below one folder, also what lies outside of /usr.
  set(CPACK_SET_DESTDIR ON)
  set(CPACK_INSTALL_PREFIX /usr)
  list(GET CPACK_INSTALL_CMAKE_PROJECTS 0 build)
  set(CPACK_INSTALL_CMAKE_PROJECTS "${build};tillsync;ALL;/;${build};tillsync;archive;/")
  set(CPACK_PACKAGE_FILE_NAME tillsync-${CPACK_PACKAGE_VERSION}-linux-${CPACK_TILLSYNC_PROCESSOR})
endif()
