#pragma once
// Storage in a folder of this machine: pwritev, fdatasync, rename, fsync of the folder.

#include "src/store/storage.hpp"

#include <memory>
#include <string>

namespace telpher::store {

enum class FolderMode : std::uint8_t {
    existing,  // it must be there
    create,    // it is made with mode 0700 if only its last part is missing
    read,      // it must be there, and nothing is written in it
};

// Opens the folder. Files in it are made with mode 0600, never followed through a symbolic link and never waited on.
// Errors: storage_failed (missing, no folder, not writable), with what to do.
Result<std::unique_ptr<Storage>> open_folder(const std::string& path, FolderMode mode);

}  // namespace telpher::store
