# The command line, left at the top of the build folder: build/release/telpher.

# What it understands of numbers, sizes and durations, without its parser: the unit tests reach it.
add_library(telpher_units STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tools/telpher/units.cpp)
set_target_properties(telpher_units PROPERTIES CXX_EXTENSIONS OFF)
target_link_libraries(telpher_units PUBLIC telpher_local telpher_flags telpher_internals)

if(TELPHER_CLI)
    find_package(CLI11 CONFIG REQUIRED)
    find_package(nlohmann_json CONFIG REQUIRED)
    file(GLOB_RECURSE telpher_cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/telpher/*.cpp)
    list(REMOVE_ITEM telpher_cli_sources ${PROJECT_SOURCE_DIR}/tools/telpher/units.cpp)
    add_executable(telpher ${telpher_cli_sources})
    set_target_properties(telpher PROPERTIES
        CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
    target_compile_definitions(telpher PRIVATE TELPHER_VERSION="${PROJECT_VERSION}")
    target_link_libraries(telpher PRIVATE
        telpher_units telpher::telpher telpher_flags telpher_internals CLI11::CLI11 nlohmann_json::nlohmann_json)
    # Parsing and printing: what must be fast lies in the library. Most of the time to compile it goes into these headers.
    target_compile_options(telpher PRIVATE $<$<CONFIG:Release>:-O1>)
    target_precompile_headers(telpher PRIVATE <CLI/CLI.hpp> <nlohmann/json.hpp>)
endif()
