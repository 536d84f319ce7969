# `make install`: the program; the library with its headers; find_package(pgcascade) and pkg-config.
# Everything installed finds its neighbours relative to itself, so PREFIX can be chosen, and changed, at the end.
include(CMakePackageConfigHelpers)

# The folders that the public headers need, as one archive with the libraries that they link.
set(library_folders base protocol pgoutput postgres stream)
add_library(pgcascade_library STATIC)
foreach(folder ${library_folders})
    target_sources(pgcascade_library PRIVATE $<TARGET_OBJECTS:${folder}>)
    get_target_property(libraries ${folder} INTERFACE_LINK_LIBRARIES)
    list(FILTER libraries INCLUDE REGEX "^[A-Za-z]+::")
    target_link_libraries(pgcascade_library PRIVATE ${libraries})
endforeach()
target_compile_features(pgcascade_library PUBLIC cxx_std_20)
target_include_directories(pgcascade_library INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(pgcascade_library PROPERTIES
    OUTPUT_NAME pgcascade EXPORT_NAME pgcascade LINKER_LANGUAGE CXX)

set(config_directory ${CMAKE_INSTALL_LIBDIR}/cmake/pgcascade)
configure_package_config_file(cmake/pgcascade-config.cmake.in ${PROJECT_BINARY_DIR}/pgcascade-config.cmake
    INSTALL_DESTINATION ${config_directory})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pgcascade-config-version.cmake COMPATIBILITY SameMinorVersion)
configure_file(cmake/pgcascade.pc.in ${PROJECT_BINARY_DIR}/pgcascade.pc @ONLY)

install(TARGETS pgcascade RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS pgcascade_library EXPORT pgcascade-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/pgcascade DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT pgcascade-targets NAMESPACE pgcascade:: DESTINATION ${config_directory})
install(FILES ${PROJECT_BINARY_DIR}/pgcascade-config.cmake ${PROJECT_BINARY_DIR}/pgcascade-config-version.cmake
    DESTINATION ${config_directory})
install(FILES ${PROJECT_BINARY_DIR}/pgcascade.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
