#pragma once
// Addresses set aside for a domain: its segments lie in them one behind the other, at the same
// distances in every process, so that one offset names a byte in any of them.
//
//   Cost    no memory: pages that no file is mapped over may not be touched.
//   Threads map: any number for pieces that do not overlap.
//   Crash   nothing that outlives the process.

#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>

namespace telpher::shm {

class AddressSpace {
  public:
    // Sets `bytes` aside, or as many as this process may have (RLIMIT_AS), but at least `least`.
    // Error: out_of_memory.
    static Result<AddressSpace> reserve(std::uint64_t least, std::uint64_t bytes);

    AddressSpace() = default;
    AddressSpace(AddressSpace&& other) noexcept;
    AddressSpace& operator=(AddressSpace&& other) noexcept;
    AddressSpace(const AddressSpace&) = delete;
    AddressSpace& operator=(const AddressSpace&) = delete;
    ~AddressSpace();

    // Maps the first `bytes` of a file at offset `at`, a multiple of the page. Errors:
    // out_of_memory (also: beyond what was set aside).
    [[nodiscard]] Result<void> map(int descriptor, std::uint64_t at, std::uint64_t bytes) noexcept;
    // The same for addresses that are known to be inside. 0 or errno.
    [[nodiscard]] static int map_at(std::byte* address,
                                    int descriptor,
                                    std::uint64_t bytes) noexcept;
    [[nodiscard]] std::byte* base() const noexcept { return base_; }
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return bytes_; }

  private:
    std::byte* base_ = nullptr;
    std::uint64_t bytes_ = 0;
};

}  // namespace telpher::shm
