# The command line, left at the top of the build folder: build/release/telpher. All of it but main() is a
# library, so that the unit tests reach it.

file(GLOB_RECURSE telpher_cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/telpher/*.cpp)
set(telpher_cli_main ${PROJECT_SOURCE_DIR}/tools/telpher/main.cpp)
list(REMOVE_ITEM telpher_cli_sources ${telpher_cli_main})

if((TELPHER_CLI OR TELPHER_TESTS) AND telpher_cli_sources)
    find_package(CLI11 CONFIG REQUIRED)
    find_package(nlohmann_json CONFIG REQUIRED)
    add_library(telpher_cli STATIC EXCLUDE_FROM_ALL ${telpher_cli_sources})
    set_target_properties(telpher_cli PROPERTIES CXX_EXTENSIONS OFF)
    target_compile_definitions(telpher_cli PUBLIC TELPHER_VERSION="${PROJECT_VERSION}")
    target_link_libraries(telpher_cli PUBLIC
        telpher_local telpher_flags telpher_internals CLI11::CLI11 nlohmann_json::nlohmann_json)
endif()

if(TELPHER_CLI AND EXISTS ${telpher_cli_main})
    add_executable(telpher ${telpher_cli_main})
    set_target_properties(telpher PROPERTIES
        CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
    target_link_libraries(telpher PRIVATE $<TARGET_NAME_IF_EXISTS:telpher_cli> telpher::telpher)
endif()
