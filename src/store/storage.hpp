#pragma once
// The files of one folder, as a log uses them: what a disk does, and nothing else. The log is written against this
// interface, so that tests can put a disk behind it that tears, reorders and forgets (tests/unit/store/simulated_disk.hpp).
//
//   Names        of files in the folder, no paths.
//   Durability   what was written is on disk once sync() of its file has returned, and a name once sync_names() has:
//                before that any part of it, in any order, may be missing after a power loss.
//   Errors       storage_failed with the errno and "what PATH: why", unless said otherwise.
//   Threads      one at a time for each object; files of one storage are independent of each other.

#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::store {

using Bytes = std::span<const std::byte>;

class File {
  public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File() = default;

    // Reads from `offset` on until `out` is full or the file ends; returns how much it was.
    virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) = 0;
    // Writes all parts, one behind the other. After an error any of it may be there.
    virtual Result<void> write(std::uint64_t offset, std::span<const Bytes> parts) = 0;
    // Makes the file at least that long, with room on the disk for every byte; what is new is 0. Error with ENOSPC: full.
    virtual Result<void> reserve(std::uint64_t size_bytes) = 0;
    // Cuts the file to that length.
    virtual Result<void> truncate(std::uint64_t size_bytes) = 0;
    virtual Result<void> sync() = 0;
    virtual Result<std::uint64_t> size_bytes() = 0;
};

enum class Access : std::uint8_t { read, write };

class Storage {
  public:
    Storage() = default;
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
    virtual ~Storage() = default;

    // Keeps every other holder out until this object ends. Error: not_permitted while another one holds the folder.
    virtual Result<void> lock() = 0;
    // Keeps those out that lock, and lets those in that share; in place of our own lock() if there was one. Error:
    // not_permitted while another one has locked the folder.
    virtual Result<void> share() { return lock(); }
    // A new, empty file. Error: already_exists.
    virtual Result<std::unique_ptr<File>> create(const std::string& name) = 0;
    // Error: bad_request for what is no regular file.
    virtual Result<std::unique_ptr<File>> open(const std::string& name, Access access) = 0;
    // Every name in the folder, in no order.
    virtual Result<std::vector<std::string>> list() = 0;
    // Takes the place of a file of the new name.
    virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
    virtual Result<void> remove(const std::string& name) = 0;
    virtual Result<void> sync_names() = 0;
    // Where a person finds that file.
    [[nodiscard]] virtual std::string path_of(std::string_view name) const = 0;
};

}  // namespace telpher::store
