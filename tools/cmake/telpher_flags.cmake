# Two INTERFACE targets that stay inside the project: neither is exported.
#
#   telpher_flags       warnings; errors only where a preset says so, since a user's compiler may know more of them
#   telpher_internals   what code that includes shm/ and src/ needs: the root as include folder, the instructions

add_library(telpher_flags INTERFACE)
target_compile_options(telpher_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
    -Wnon-virtual-dtor -Woverloaded-virtual
    # gcc 12 takes `"text" + string` for an overlapping copy (its bug 105651).
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
    $<$<BOOL:${TELPHER_WERROR}>:-Werror>)

add_library(telpher_internals INTERFACE)
target_include_directories(telpher_internals INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(telpher_internals INTERFACE
    -UNDEBUG)  # assert() guards against programming mistakes in every build type
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(telpher_internals INTERFACE
        -mcx16      # 16-byte compare-and-swap in place, not through libatomic
        -mprfchw)   # prefetch for writing
endif()
