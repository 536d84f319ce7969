# Target all_verify_interface_header_sets: compiles every header alone (`make check` builds it).
file(GLOB_RECURSE headers CONFIGURE_DEPENDS include/*.hpp src/*.hpp)
add_library(header_check INTERFACE)
target_sources(header_check INTERFACE FILE_SET HEADERS BASE_DIRS include src FILES ${headers})
target_link_libraries(header_check INTERFACE cli compile_flags)
set_target_properties(header_check PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
