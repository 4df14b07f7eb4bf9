# telpher_unity(TARGET TESTS|LIBRARY)
#
# Compiles the sources of a target together, those of a folder in groups of up to 12: what takes the compiler most of
# its time, the headers, it then reads once a group. TELPHER_UNITY says where:
#
#   OFF     nowhere; what users build
#   TESTS   the tests and the command line; the library file by file, so that each is seen to include what it needs
#   ALL     everything: builds that look for faults (asan, tsan)
#
# The price: what a file keeps to itself (an unnamed namespace) needs a name that no other file of its folder has.
set(TELPHER_UNITY OFF CACHE STRING "Compile files together: OFF, TESTS or ALL")
set_property(CACHE TELPHER_UNITY PROPERTY STRINGS OFF TESTS ALL)

function(telpher_unity target kind)
    if(NOT (TELPHER_UNITY STREQUAL ALL OR TELPHER_UNITY STREQUAL kind))
        return()
    endif()
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources INCLUDE REGEX "\\.cpp$")
    list(SORT sources)
    set(last_folder "")
    foreach(source IN LISTS sources)
        cmake_path(GET source PARENT_PATH folder)
        if(NOT folder STREQUAL last_folder)
            set(last_folder ${folder})
            set(count 0)
        endif()
        cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE group)
        string(REPLACE "/" "_" group ${group})
        math(EXPR part "${count} / 12")
        math(EXPR count "${count} + 1")
        set_property(SOURCE ${source} PROPERTY UNITY_GROUP ${group}_${part})
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
    # It takes for a header what is included: types of unnamed namespaces are fine here.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()
