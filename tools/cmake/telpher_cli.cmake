# The command line, left at the top of the build folder: build/release/telpher.

# What the unit tests reach of it: what it understands of numbers, sizes and durations, what the demo proves,
# and what it says of a machine.
set(telpher_cli_parts_sources units.cpp demo_account.cpp demo_proof.cpp host_checks.cpp)
list(TRANSFORM telpher_cli_parts_sources PREPEND ${PROJECT_SOURCE_DIR}/tools/telpher/)
add_library(telpher_cli_parts STATIC EXCLUDE_FROM_ALL ${telpher_cli_parts_sources})
set_target_properties(telpher_cli_parts PROPERTIES CXX_EXTENSIONS OFF)
target_link_libraries(telpher_cli_parts PUBLIC telpher_local telpher_flags telpher_internals)

if(TELPHER_CLI)
    find_package(CLI11 CONFIG REQUIRED)
    find_package(nlohmann_json CONFIG REQUIRED)
    file(GLOB_RECURSE telpher_cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/telpher/*.cpp)
    list(REMOVE_ITEM telpher_cli_sources ${telpher_cli_parts_sources})
    add_executable(telpher ${telpher_cli_sources})
    telpher_unity(telpher TESTS)
    set_target_properties(telpher PROPERTIES
        CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
    target_compile_definitions(telpher PRIVATE TELPHER_VERSION="${PROJECT_VERSION}")
    target_link_libraries(telpher PRIVATE
        telpher_cli_parts telpher::telpher telpher_flags telpher_internals CLI11::CLI11 nlohmann_json::nlohmann_json)
    # Parsing and printing: what must be fast lies in the library. Most of the time to compile it goes into these headers.
    target_compile_options(telpher PRIVATE $<$<CONFIG:Release>:-O1>)
    target_precompile_headers(telpher PRIVATE <CLI/CLI.hpp> <nlohmann/json.hpp>)
endif()
