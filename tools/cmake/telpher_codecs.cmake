# The optional compression libraries: telpher_find_codec(NAME) makes the target telpher::NAME where NAME (zstd or
# libdeflate) is installed. Installed beside telpher-config.cmake, too: what was built with one links to it.

set(telpher_codec_header_zstd zstd.h)
set(telpher_codec_library_zstd zstd)
set(telpher_codec_header_libdeflate libdeflate.h)
set(telpher_codec_library_libdeflate deflate)

macro(telpher_find_codec name)
    find_path(TELPHER_${name}_INCLUDE ${telpher_codec_header_${name}})
    find_library(TELPHER_${name}_LIBRARY ${telpher_codec_library_${name}})
    mark_as_advanced(TELPHER_${name}_INCLUDE TELPHER_${name}_LIBRARY)
    if(TELPHER_${name}_INCLUDE AND TELPHER_${name}_LIBRARY AND NOT TARGET telpher::${name})
        add_library(telpher::${name} UNKNOWN IMPORTED GLOBAL)
        set_target_properties(telpher::${name} PROPERTIES
            IMPORTED_LOCATION ${TELPHER_${name}_LIBRARY}
            INTERFACE_INCLUDE_DIRECTORIES ${TELPHER_${name}_INCLUDE})
    endif()
endmacro()
