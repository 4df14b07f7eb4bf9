# The libraries. Sources are globbed, so that a new file needs no edit here.

find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED)  # headers only
find_path(TELPHER_XXHASH_DIR xxhash.h REQUIRED DOC "xxHash, used as a header (libxxhash-dev)")
find_package(ZLIB REQUIRED)
include(telpher_codecs)
set(TELPHER_CODECS "")  # the optional ones that are built in
foreach(codec IN ITEMS zstd libdeflate)
    string(TOUPPER ${codec} option)
    if(TELPHER_${option})
        telpher_find_codec(${codec})
        if(TARGET telpher::${codec})
            list(APPEND TELPHER_CODECS ${codec})
        endif()
    endif()
endforeach()
list(TRANSFORM TELPHER_CODECS PREPEND telpher:: OUTPUT_VARIABLE telpher_codec_targets)
list(TRANSFORM TELPHER_CODECS PREPEND TELPHER_HAS_ OUTPUT_VARIABLE telpher_codec_definitions)
list(TRANSFORM telpher_codec_definitions TOUPPER)

file(GLOB telpher_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/telpher/*.hpp)
file(GLOB telpher_local_sources CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/shm/*.cpp ${PROJECT_SOURCE_DIR}/shm/base/*.cpp)
file(GLOB_RECURSE telpher_src_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.cpp)
list(APPEND telpher_local_sources ${telpher_src_sources})
file(GLOB telpher_bridge_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tcp_bridge/*.cpp)
list(FILTER telpher_bridge_sources EXCLUDE REGEX "/main\\.cpp$")

function(telpher_use_local target)
    target_compile_features(${target} PUBLIC cxx_std_20)
    target_link_libraries(${target}
        PUBLIC Threads::Threads rt ZLIB::ZLIB ${telpher_codec_targets}
        PRIVATE $<BUILD_INTERFACE:telpher_flags> $<BUILD_INTERFACE:telpher_internals>
                $<BUILD_INTERFACE:Boost::headers>)
    target_compile_definitions(${target} PRIVATE ${telpher_codec_definitions})
    target_sources(${target} PUBLIC
        FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${telpher_headers})
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
endfunction()

add_library(telpher_local STATIC ${telpher_local_sources})
add_library(telpher::local ALIAS telpher_local)
telpher_use_local(telpher_local)
telpher_unity(telpher_local LIBRARY)
set_target_properties(telpher_local PROPERTIES EXPORT_NAME local VERIFY_INTERFACE_HEADER_SETS ON)

# The same sources with the kill points of shm/base/step.hpp; built only when a crash test asks for it.
add_library(telpher_steps STATIC EXCLUDE_FROM_ALL ${telpher_local_sources})
telpher_use_local(telpher_steps)
telpher_unity(telpher_steps TESTS)
target_compile_definitions(telpher_steps PUBLIC TELPHER_STEPS=1)
# Where it stops is the same; it compiles in half the time.
target_compile_options(telpher_steps PRIVATE $<$<CONFIG:Release>:-O1>)

add_library(telpher_full INTERFACE)
add_library(telpher::telpher ALIAS telpher_full)
set_target_properties(telpher_full PROPERTIES EXPORT_NAME telpher)
target_link_libraries(telpher_full INTERFACE telpher_local)

# The bridge adds its schemes to connect() through a static object that nothing names. A linker drops such an
# object from an archive, never from the command line: hence its object files, in the build and installed.
set(TELPHER_HAS_BRIDGE OFF)
if(telpher_bridge_sources)
    set(TELPHER_HAS_BRIDGE ON)
    find_package(OpenSSL 3 REQUIRED)
    find_path(TELPHER_ASIO_DIR asio.hpp REQUIRED DOC "Asio, standalone (libasio-dev)")
    add_library(telpher_bridge OBJECT ${telpher_bridge_sources})
    telpher_unity(telpher_bridge LIBRARY)
    set_target_properties(telpher_bridge PROPERTIES
        EXPORT_NAME bridge_objects CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(telpher_bridge
        PUBLIC telpher_local OpenSSL::SSL
        PRIVATE $<BUILD_INTERFACE:telpher_flags> $<BUILD_INTERFACE:telpher_internals>
                $<BUILD_INTERFACE:Boost::headers>)
    target_sources(telpher_full INTERFACE
        $<BUILD_INTERFACE:$<TARGET_OBJECTS:telpher_bridge>>
        $<INSTALL_INTERFACE:$<TARGET_OBJECTS:telpher::bridge_objects>>)
    target_link_libraries(telpher_full INTERFACE OpenSSL::SSL)
endif()
