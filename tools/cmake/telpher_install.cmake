# Install rules: headers, libraries, a CMake package with both targets, a pkg-config file, the command line.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(telpher_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/telpher)
set(telpher_exported telpher_local telpher_full)
if(TELPHER_HAS_BRIDGE)
    list(APPEND telpher_exported telpher_bridge)
endif()
install(TARGETS ${telpher_exported} EXPORT telpher-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    OBJECTS DESTINATION ${CMAKE_INSTALL_LIBDIR}/telpher
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT telpher-targets NAMESPACE telpher:: DESTINATION ${telpher_package_dir})
if(TARGET telpher)
    install(TARGETS telpher RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(telpher_templates ${PROJECT_SOURCE_DIR}/tools/cmake)
configure_package_config_file(${telpher_templates}/telpher-config.cmake.in telpher-config.cmake
    INSTALL_DESTINATION ${telpher_package_dir})
# Below 1.0 every minor version may break its users.
write_basic_package_version_file(telpher-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/telpher-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/telpher-config-version.cmake
    ${telpher_templates}/telpher_codecs.cmake
    DESTINATION ${telpher_package_dir})

# Relative to the .pc file, so that `cmake --install --prefix` and moved packages work.
set(telpher_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY ${telpher_pc_dir} OUTPUT_VARIABLE TELPHER_PC_INCLUDEDIR)
set(TELPHER_PC_CODECS "")
foreach(codec IN LISTS TELPHER_CODECS)
    string(APPEND TELPHER_PC_CODECS " -l${telpher_codec_library_${codec}}")
endforeach()
configure_file(${telpher_templates}/telpher-local.pc.in telpher-local.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/telpher-local.pc DESTINATION ${telpher_pc_dir})
