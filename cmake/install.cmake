# The program, the library (libpgcascade.a holds every folder that the public headers need), find_package and pkg-config.
install(TARGETS pgcascade RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
